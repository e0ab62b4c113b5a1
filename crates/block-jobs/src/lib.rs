//! Long work over whole disks: map, convert, compare, commit, rebase, copy and bench.
//!
//! Engines hold their disks by [`block_core::Root`] and know neither file names nor command lines. Work is cut
//! into pieces; between two pieces an engine tells how far it is and looks whether it was cancelled.
#![forbid(unsafe_code)]

mod bench;
mod chain;
mod commit;
mod compare;
mod convert;
mod desk;
#[cfg(test)]
mod fake;
mod pool;
mod rebase;
mod sparse;
mod turnstile;
mod watch;

pub use bench::{BenchOptions, Flushes, bench};
pub use chain::{ChainStatus, MapEntry, MapWalk, layers, status_above};
pub use commit::{CommitOptions, commit};
pub use compare::{CompareError, CompareOptions, Comparison, Difference, compare};
pub use convert::{
    ConvertError, ConvertOptions, Initial, Method, Order, Source, Zeroes, convert, convert_length,
    make_zero,
};
pub use rebase::{RebaseRequest, rebase};
pub use watch::Watch;
