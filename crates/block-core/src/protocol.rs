//! A protocol: a leaf that moves bytes.

use std::any::Any;
use std::io;

use qapi::Dict;

use crate::{BoxFuture, Limits, Perms, Preallocation, WriteFlags, ZeroFlags};

/// What a leaf knows of a range without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafStatus {
    /// For how many bytes it holds; never 0, never more than asked.
    pub len: u64,
    /// There are bytes; false: a hole, which takes no space.
    pub data: bool,
    /// The range reads as zeroes.
    pub zero: bool,
}

impl LeafStatus {
    /// Bytes that may be anything.
    pub fn data(len: u64) -> Self {
        Self {
            len,
            data: true,
            zero: false,
        }
    }

    /// Zeroes that take no space.
    pub fn hole(len: u64) -> Self {
        Self {
            len,
            data: false,
            zero: true,
        }
    }
}

/// A leaf of the graph: moves bytes at offsets, and knows nothing of formats.
///
/// The caller ([`crate::Node`]) has checked bounds, alignment to [`Limits::request_alignment`] and
/// permissions. Reads past the end of the file (which its callers allow for the last partial sector) give
/// zeroes. Errors are `io::Error` with an errno.
pub trait Protocol: Send + Sync {
    /// Fills `buf` from `offset`.
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>>;

    /// Writes `buf` at `offset`.
    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>>;

    /// Makes a range read as zeroes without a buffer, or fails with `ENOTSUP`.
    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>>;

    /// Tells that a range is no longer needed. `ENOTSUP` is not an error to callers.
    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>>;

    /// Everything written before is on stable storage after.
    fn flush(&self) -> BoxFuture<'_, io::Result<()>>;

    /// Length in bytes, now.
    fn length(&self) -> io::Result<u64>;

    /// Sets the length. `exact` false: a fixed-size device may stay longer.
    fn truncate(&self, len: u64, preallocation: Preallocation) -> BoxFuture<'_, qapi::Result<()>>;

    /// Data or hole at `offset`. A leaf that cannot tell says data.
    fn status(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<LeafStatus>>;

    /// What it asks of callers.
    fn limits(&self) -> Limits;

    /// Takes the rights its users need and forbids what they do not share; called before the first I/O and
    /// when users change. Locks are taken here; a conflict is an error in QEMU's words.
    fn set_permissions(&self, _used: Perms, _shared: Perms) -> qapi::Result<()> {
        Ok(())
    }

    /// It was opened for writing, but can only be read, and its user has allowed that.
    fn read_only(&self) -> bool {
        false
    }

    /// Bytes of disk it takes, if known.
    fn allocated(&self) -> Option<u64> {
        None
    }

    /// Copies inside the kernel from another leaf; `ENOTSUP` when the two do not fit.
    fn copy_from<'a>(
        &'a self,
        _source: &'a dyn Protocol,
        _source_offset: u64,
        _offset: u64,
        _len: u64,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }

    /// For `copy_from` to find a leaf of its own kind.
    fn as_any(&self) -> &dyn Any;

    /// The `format-specific` data of `info` (empty for most).
    fn info(&self) -> Dict {
        Dict::new()
    }
}
