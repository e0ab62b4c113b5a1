//! JSON as QEMU writes and reads it.
//!
//! Writing: pretty form with four spaces (`--output=json`) or one line (QMP), members in the order of QEMU's hash table,
//! all but printable ASCII escaped. Reading: RFC 8259, and single-quoted strings.

mod read;
mod split;
mod write;

pub use read::parse;
pub use split::Splitter;
pub use write::{compact, human_tree, pretty, qemu_order};

#[cfg(test)]
mod tests;
