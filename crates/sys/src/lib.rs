//! Safe faces of the Linux calls that have none in the crates we use. The only crate of the block tools
//! with `unsafe` in it, one small module a call.
#![deny(unsafe_code)]

pub mod aligned;
pub mod blkdev;
pub mod memory;
pub mod nbd;
pub mod ofd;
pub mod process;
pub mod signals;
pub mod uring;
