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

use std::any::Any;
use std::sync::Arc;

use block_core::FilterDriver;
use qapi::Dict;

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

/// Makes an object from its options, and takes those it knows.
type ObjectMaker = fn(&mut Dict) -> qapi::Result<Arc<dyn Any + Send + Sync>>;

/// Objects that filters use, by `qom-type`.
pub const OBJECTS: &[(&str, ObjectMaker)] = &[("throttle-group", throttle::create_group)];
