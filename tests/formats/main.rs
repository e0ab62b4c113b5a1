//! Image formats beside the reference: made, written, read, converted and looked at by both tools.
#![forbid(unsafe_code)]

mod encrypted;
mod explain;
mod growth;
mod hyperv;
mod matrix;
mod pairs;
mod read_only;
mod torn;
mod writes;
