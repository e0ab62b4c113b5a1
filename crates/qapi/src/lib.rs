//! What every tool says and hears: errors with QEMU's words, the dynamic value tree, JSON, option
//! strings, typed records, getopt's reading of words, and dates.
#![forbid(unsafe_code)]

// The derives name this crate from outside; inside it, it has to have that name too.
extern crate self as qapi;

pub mod calendar;
mod error;
pub mod getopt;
mod integer;
pub mod json;
pub mod keyval;
pub mod opts;
pub mod out;
pub mod record;
mod report;
pub mod schema;
mod size;
mod value;

pub use error::{Error, ErrorClass, Result, strerror};
pub use integer::parse_integer;
pub use opts::{OptionDesc, OptionKind};
pub use report::{prog_name, report, stamp, tell, warn};
pub use size::{SizeError, format_size, parse_size, parse_size_unit};
pub use value::{Dict, Value};
