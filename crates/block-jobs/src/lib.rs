//! Long work over whole disks: map, convert, compare, commit, rebase, copy and bench.
//!
//! Engines hold their disks by [`block_core::Root`] and know neither file names nor command lines. Work is cut
//! into pieces; between two pieces an engine tells how far it is and looks whether it was cancelled.
#![forbid(unsafe_code)]

mod chain;
mod convert;
#[cfg(test)]
mod fake;
mod pool;
mod sparse;
mod turnstile;
mod watch;

pub use chain::{ChainStatus, MapEntry, MapWalk, layers, status_above};
pub use convert::{ConvertOptions, Initial, Method, Order, convert, convert_length, make_zero};
pub use watch::Watch;
