//! Messages of the NBD protocol, both ends, without sockets (NetworkBlockDevice project, `doc/proto.md`).
//!
//! Every message has a fixed head whose length is a constant here, and a payload whose length the head tells. Reading is:
//! take the head's bytes, decode, check the length against a limit, take the payload, decode that. Nothing here
//! allocates by a number that was not checked.
#![forbid(unsafe_code)]

mod bytes;
pub mod flags;
mod handshake;
mod meta;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;

pub use handshake::{
    ExportInfo, GoRequest, Greeting, Info, OPTION_HEAD, OPTION_REPLY_HEAD, OldExport, OptionHead,
    OptionReplyHead, encode_list_entry, encode_option, encode_option_reply, parse_list_entry,
};
pub use meta::{MetaContext, MetaRequest};
pub use reply::{
    Chunk, ChunkHead, ErrorChunk, Extent, SimpleReply, chunk, decode_extents, encode_chunk_head,
    encode_extents,
};
pub use request::{Command, Request};

/// Longest name or text in bytes.
pub const MAX_STRING: usize = 4096;
/// Longest payload of an option in bytes; QEMU's limit.
pub const MAX_OPTION: u32 = 32 << 20;
/// Longest read or write in bytes; QEMU's limit.
pub const MAX_REQUEST: u32 = 32 << 20;

/// Bytes that are not what the protocol says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtoError(pub String);

impl ProtoError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for ProtoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProtoError {}

/// Result of decoding.
pub type Result<T> = std::result::Result<T, ProtoError>;

/// Errors that a reply can carry, by their number on the wire (those of Linux).
pub mod errno {
    /// Not permitted.
    pub const EPERM: u32 = 1;
    /// Input or output.
    pub const EIO: u32 = 5;
    /// No memory.
    pub const ENOMEM: u32 = 12;
    /// Invalid.
    pub const EINVAL: u32 = 22;
    /// No space.
    pub const ENOSPC: u32 = 28;
    /// Too large for the reply.
    pub const EOVERFLOW: u32 = 75;
    /// Not supported.
    pub const ENOTSUP: u32 = 95;
    /// The server is going away.
    pub const ESHUTDOWN: u32 = 108;

    /// The number that goes out for an error of this host.
    pub fn to_wire(errno: i32) -> u32 {
        match errno {
            1 | 30 => EPERM,
            5 => EIO,
            12 => ENOMEM,
            27 | 28 | 122 => ENOSPC,
            75 => EOVERFLOW,
            95 => ENOTSUP,
            108 => ESHUTDOWN,
            _ => EINVAL,
        }
    }

    /// The error of this host for a number that came in.
    pub fn from_wire(number: u32) -> i32 {
        match number {
            EPERM => 1,
            EIO => 5,
            ENOMEM => 12,
            ENOSPC => 28,
            EOVERFLOW => 75,
            ENOTSUP => 95,
            ESHUTDOWN => 108,
            _ => 22,
        }
    }
}
