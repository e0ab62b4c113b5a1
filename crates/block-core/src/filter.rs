//! A filter: a node that passes requests on, changed or not.

use std::io;
use std::sync::Arc;

use qapi::Error;

use crate::{BoxFuture, Edge, EventSink, Perms, Preallocation, Status, WriteFlags, ZeroFlags};

/// What a filter asks of its callers. The node cuts and widens requests until they fit; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilterLimits {
    /// Offsets and lengths are multiples of this power of two.
    pub request_alignment: u32,
    /// Longest read or write in bytes.
    pub max_transfer: u32,
    /// Zeroes are cut at multiples of this many bytes.
    pub zero_alignment: u32,
    /// Longest request for zeroes.
    pub max_zero: u32,
    /// Discards are cut at multiples of this many bytes.
    pub discard_alignment: u32,
    /// Longest discard.
    pub max_discard: u32,
}

/// A node between others. Every method has a default that passes the request to [`Filter::child`]
/// unchanged; raw with an offset, throttling and copy-on-read override what they change.
pub trait Filter: Send + Sync {
    /// The child that requests go to.
    fn child(&self) -> &Arc<Edge>;

    /// All children, [`Filter::child`] first.
    fn children(&self) -> Vec<Arc<Edge>> {
        vec![Arc::clone(self.child())]
    }

    /// What it needs of a child and lets others do there, when its own parents need `used` and share `shared`.
    fn child_perms(&self, _child: &Edge, used: Perms, shared: Perms) -> (Perms, Perms) {
        (used, shared)
    }

    /// What it asks of its callers; `None`: nothing.
    fn limits(&self) -> Option<FilterLimits> {
        None
    }

    /// Unit of requests in bytes that those who serve the disk are to ask for.
    fn unit(&self) -> u32 {
        self.limits().map_or(1, |limits| limits.request_alignment)
    }

    /// Who hears of events that its parents raise.
    fn events(&self) -> Option<&dyn EventSink> {
        None
    }

    /// Whether names in an image that is read through it are relative to the name of its child.
    ///
    /// # Errors
    /// In QEMU's words, when it has no such child.
    fn keeps_folder(&self) -> qapi::Result<()> {
        Ok(())
    }

    /// Whether it shows its first child's content as it is, in the sense of QEMU's filters (quorum does not).
    fn is_transparent(&self) -> bool {
        true
    }

    /// Whether it is there to watch requests (blkdebug, blklogwrites).
    fn is_for_tests(&self) -> bool {
        false
    }

    /// Whether [`Filter::write_compressed`] can do something.
    fn can_compress(&self) -> bool {
        false
    }

    /// Last call before the node goes away; its children are closed by their nodes.
    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

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
