//! Protocols: the leaves of the block graph; and filters, nodes between others.
#![forbid(unsafe_code)]

mod file;
mod filter;
pub mod nbd;
mod null;
mod percent;
pub mod ssh;

pub use filter::{FILTERS, OBJECTS};

use block_core::ProtocolDriver;

/// Every protocol, in the order in which names are looked up.
pub const PROTOCOLS: &[&ProtocolDriver] = &[
    &file::FILE,
    &file::HOST_DEVICE,
    &file::HOST_CDROM,
    &null::NULL_CO,
    &null::NULL_AIO,
    &nbd::NBD,
    &ssh::SSH,
];
