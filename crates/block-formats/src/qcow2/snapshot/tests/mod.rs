//! Snapshots: bytes of the table, and whole images beside the reference tool.

pub(in crate::qcow2) mod kit;
mod reference;
mod table;
