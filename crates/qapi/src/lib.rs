//! What every tool says and hears: errors with QEMU's words, the dynamic value tree, JSON, option
//! strings, typed records, and the adapter that makes clap speak like getopt.
#![forbid(unsafe_code)]

mod error;
pub mod getopt;
pub mod json;
pub mod opts;
pub mod out;
mod report;
mod size;
mod value;

pub use error::{Error, ErrorClass, Result, strerror};
pub use opts::{OptionDesc, OptionKind};
pub use report::{prog_name, report, warn};
pub use size::{SizeError, format_size, parse_size, parse_size_unit};
pub use value::{Dict, Value};
