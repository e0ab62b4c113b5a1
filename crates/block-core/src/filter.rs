//! A filter: a node that passes requests on, changed or not.

use std::io;
use std::sync::Arc;

use crate::{BoxFuture, Edge, Preallocation, Status, WriteFlags, ZeroFlags};

/// A node between others. Every method has a default that passes the request to [`Filter::child`]
/// unchanged; raw with an offset, throttling and copy-on-read override what they change.
pub trait Filter: Send + Sync {
    /// The child that requests go to.
    fn child(&self) -> &Arc<Edge>;

    /// Length in bytes that parents see.
    fn length(&self) -> io::Result<u64> {
        self.child().node().length()
    }

    /// Fills `buf` from `offset`.
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        self.child().read(offset, buf)
    }

    /// Writes `buf` at `offset`.
    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        self.child().write(offset, buf, flags)
    }

    /// Makes a range read as zeroes.
    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        self.child().write_zeroes(offset, len, flags)
    }

    /// Tells that a range is no longer needed.
    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        self.child().discard(offset, len)
    }

    /// Everything written before is on stable storage after.
    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        self.child().flush()
    }

    /// Sets the length parents see.
    fn truncate(&self, len: u64, preallocation: Preallocation) -> BoxFuture<'_, qapi::Result<()>> {
        self.child().truncate(len, preallocation)
    }

    /// Block status; `len` in the answer is at least 1.
    fn status(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Status>> {
        self.child().status(offset, len)
    }

    /// Writes one whole cluster packed; `ENOTSUP` when the child cannot.
    fn write_compressed<'a>(&'a self, offset: u64, buf: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        self.child().write_compressed(offset, buf)
    }

    /// Offset added to reach the child, when the filter only shifts (raw): lets block status and copies
    /// see through it.
    fn shift(&self) -> Option<u64> {
        None
    }
}
