//! Filters: nodes that pass requests on, changed or not.

mod blkdebug;
mod blkverify;
mod compress;
mod copy_on_read;
mod options;
mod quorum;

use block_core::FilterDriver;

/// Every filter.
pub const FILTERS: &[&FilterDriver] = &[
    &blkdebug::BLKDEBUG,
    &blkverify::BLKVERIFY,
    &compress::COMPRESS,
    &copy_on_read::COPY_ON_READ,
    &quorum::QUORUM,
];
