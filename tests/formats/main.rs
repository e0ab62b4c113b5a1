//! Image formats beside the reference: made, written, read, converted and looked at by both tools.
#![forbid(unsafe_code)]

mod matrix;
mod read_only;
mod writes;
