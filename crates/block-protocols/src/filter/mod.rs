//! Filters: nodes that pass requests on, changed or not.

mod blkdebug;
mod blklogwrites;
mod blkverify;
mod compress;
mod copy_on_read;
mod options;
mod preallocate;
mod quorum;
mod throttle;

use block_core::FilterDriver;
use object::ObjectType;

/// Every filter.
pub const FILTERS: &[&FilterDriver] = &[
    &blkdebug::BLKDEBUG,
    &blklogwrites::BLKLOGWRITES,
    &blkverify::BLKVERIFY,
    &compress::COMPRESS,
    &copy_on_read::COPY_ON_READ,
    &preallocate::PREALLOCATE,
    &quorum::QUORUM,
    &throttle::THROTTLE,
];

/// Objects that filters use.
pub const OBJECTS: &[ObjectType] = &[throttle::GROUP];
