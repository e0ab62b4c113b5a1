//! What every tool says and hears: errors with QEMU's words, the dynamic value tree, JSON, option
//! strings, typed records, and the adapter that makes clap speak like getopt.
#![forbid(unsafe_code)]

mod error;
mod value;

pub use error::{Error, ErrorClass, Result, strerror};
pub use value::{Dict, Value};
