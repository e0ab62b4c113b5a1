//! The mapping engine: turns requests on a format's node into requests on its children, by asking
//! the format where things are; and fits requests to leaves that want them aligned.

mod enciphered;
mod leaf;
mod packed;
mod read;
mod sieve;
mod status;
#[cfg(test)]
mod tests;
mod vm_state;
mod write;
mod zero;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use qapi::Error;

pub(crate) use leaf::{leaf_discard, leaf_read, leaf_status, leaf_write, leaf_zero};
pub(crate) use sieve::Sieve;
pub(crate) use status::shifted_leaf;

use crate::perm::child_perms;
use crate::{Edge, Event, Format, Perms, RangeLock, Resize, ResizeRequest, Slot, ZeroFlags};

/// How a format's node lets others at its children.
#[derive(Clone, Copy)]
pub(crate) struct Sharing {
    /// The node writes there itself.
    pub(crate) writable: bool,
    /// Others may do anything (`force-share`).
    pub(crate) force: bool,
}

/// A format with its children and what the engine keeps for it.
pub struct Mapped {
    pub(crate) format: Box<dyn Format>,
    pub(crate) edges: Vec<Arc<Edge>>,
    pub(crate) backing: ArcSwapOption<Edge>,
    /// Writes: shared in place, exclusive over clusters when mappings change.
    ranges: RangeLock,
    /// Writes to an enciphered format: shared over whole units, exclusive over parts of them.
    units: Box<RangeLock>,
    /// The cluster unpacked last, with the write count it was read at.
    unpacked: Mutex<Option<Unpacked>>,
    /// Held while a large cluster is unpacked for a part of it.
    unpacking: Box<tokio::sync::Mutex<()>>,
    /// Counts finished writes, so that an unpacked cluster is not served after one.
    writes: AtomicU64,
}

#[derive(Clone)]
struct Unpacked {
    cluster_start: u64,
    writes: u64,
    bytes: Arc<Vec<u8>>,
}

impl Mapped {
    pub(crate) fn new(
        format: Box<dyn Format>,
        edges: Vec<Arc<Edge>>,
        backing: ArcSwapOption<Edge>,
    ) -> Self {
        Self {
            format,
            edges,
            backing,
            ranges: RangeLock::default(),
            units: Box::default(),
            unpacked: Mutex::new(None),
            unpacking: Box::default(),
            writes: AtomicU64::new(0),
        }
    }

    /// The format itself.
    pub fn format(&self) -> &dyn Format {
        &*self.format
    }

    fn child(&self, slot: Slot) -> io::Result<&Arc<Edge>> {
        self.edges
            .get(usize::from(slot.0))
            .ok_or_else(|| io::Error::from_raw_os_error(5))
    }

    /// Tells the main child what is about to be done.
    async fn event(&self, event: Event) {
        if let Some(file) = self.edges.first() {
            file.event(event).await;
        }
    }

    /// Counts a change, so that what was unpacked before is not served any more.
    fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::AcqRel);
    }

    /// Resizes while no write is under way.
    pub(crate) async fn resize(
        &self,
        resize: &dyn Resize,
        request: ResizeRequest,
    ) -> qapi::Result<()> {
        let before = self.format.geometry().size;
        let result = {
            let _all = self.ranges.exclusive(0, u64::MAX).await;
            resize.resize(request).await
        };
        self.wrote();
        result?;
        let hidden = self.hide_backing(before).await;
        if hidden.is_err() {
            let back = ResizeRequest {
                size: before,
                preallocation: crate::Preallocation::Off,
            };
            let _all = self.ranges.exclusive(0, u64::MAX).await;
            resize.resize(back).await?;
        }
        hidden
    }

    /// What a longer backing file holds past the old end must not show up when the disk grows.
    async fn hide_backing(&self, before: u64) -> qapi::Result<()> {
        let failed = |e: io::Error| Error::from_io("Failed to zero out new clusters", &e);
        let Some(backing) = self.backing.load_full() else {
            return Ok(());
        };
        let length = backing.node().length().map_err(failed)?;
        let end = self.format.geometry().size.min(length);
        if before >= end {
            return Ok(());
        }
        // Data of zeroes only where a cluster has other data too: the rest could be any size.
        let unit = u64::from(self.format.geometry().zero_granularity);
        let whole = before.next_multiple_of(unit).min(end);
        self.write_zeroes(before, whole - before, ZeroFlags::default())
            .await
            .map_err(failed)?;
        let cheap = ZeroFlags {
            no_fallback: true,
            ..ZeroFlags::default()
        };
        self.write_zeroes(
            whole,
            end.next_multiple_of(unit).min(self.format.geometry().size) - whole,
            cheap,
        )
        .await
        .map_err(failed)
    }

    /// Tells the children what the parents need.
    pub(crate) fn pass_perms(
        &self,
        sharing: Sharing,
        used: Perms,
        shared: Perms,
    ) -> qapi::Result<()> {
        for edge in self.edges.iter().chain(self.backing.load().iter()) {
            let (used, others) = child_perms(edge.role(), sharing.writable, used, shared);
            let others = if sharing.force { Perms::ALL } else { others };
            edge.set_perms(used, others)?;
        }
        Ok(())
    }
}

/// Whether every byte is 0.
pub fn is_zero(buf: &[u8]) -> bool {
    // Most data shows itself in its first bytes; the rest goes in blocks that the compiler turns into vector code.
    if buf.iter().take(16).any(|b| *b != 0) {
        return false;
    }
    let mut blocks = buf.chunks_exact(256);
    blocks.all(|block| block.iter().fold(0_u8, |all, b| all | b) == 0)
        && blocks.remainder().iter().all(|b| *b == 0)
}

/// `ENOTSUP`, which callers answer with a fallback.
pub(crate) fn unsupported() -> io::Error {
    io::Error::from_raw_os_error(ENOTSUP)
}

/// Whether an error means that the operation is not there, rather than that it failed.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(ENOTSUP)
}

/// A format's answer that breaks its contract becomes an error, never a wrong access.
pub(crate) fn bad_answer() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

const EIO: i32 = 5;
const ENOTSUP: i32 = 95;
