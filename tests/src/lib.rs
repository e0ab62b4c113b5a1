//! Harness of the end-to-end tests: finds our tools and the reference tools, runs them in private
//! folders with limits, and compares what they print, return and write.
//!
//! A test that lacks what it needs says so through [`skip!`] or [`require!`]; `cargo xtask test`
//! counts it as skipped.
#![forbid(unsafe_code)]

pub mod bytes;
pub mod foreign;
pub mod guest;
pub mod hyperv;
pub mod normal;
pub mod pair;
pub mod qcow2;
pub mod qmp;
pub mod rng;
pub mod run;
pub mod skip;
pub mod tools;
pub mod watch;
pub mod words;

pub use pair::Pair;
pub use rng::Rng;
pub use run::{Limits, Output};
pub use tools::{Scratch, Tool, ours, qemu_io, reference};
