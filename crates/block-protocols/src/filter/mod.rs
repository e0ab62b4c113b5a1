//! Filters: nodes that pass requests on, changed or not.

mod blkdebug;
mod options;

use block_core::FilterDriver;

/// Every filter.
pub const FILTERS: &[&FilterDriver] = &[&blkdebug::BLKDEBUG];
