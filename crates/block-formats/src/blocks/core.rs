//! What an open image of blocks keeps: its tables, and where new blocks go.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use block_core::{Edge, Preallocation, WriteFlags};

use super::{EFBIG, EIO, errno};
use crate::tables::Tables;

/// What all formats of this kind keep.
pub(crate) struct Core {
    pub(crate) file: Arc<Edge>,
    pub(crate) size: AtomicU64,
    /// Bytes of a block.
    pub(crate) block: u64,
    pub(crate) tables: Tables,
    /// Where the next new block goes.
    next: Mutex<u64>,
    /// Blocks start before this: the file's end, or what was handed out.
    limit: AtomicU64,
    pub(super) read_only: AtomicBool,
    /// Marks for writers are set.
    pub(super) begun: AtomicBool,
    pub(super) beginning: tokio::sync::Mutex<()>,
    /// Held while a table is given its place.
    pub(super) growing: tokio::sync::Mutex<()>,
}

impl Core {
    /// An open image; `next` is the first byte of the file that nothing uses.
    pub(crate) fn new(
        file: Arc<Edge>,
        tables: Tables,
        (size, block, next): (u64, u64, u64),
        read_write: bool,
    ) -> Self {
        let length = file.node().length().unwrap_or(next);
        Self {
            limit: AtomicU64::new(length.max(next)),
            file,
            size: AtomicU64::new(size),
            block,
            tables,
            next: Mutex::new(next),
            read_only: AtomicBool::new(!read_write),
            begun: AtomicBool::new(false),
            beginning: tokio::sync::Mutex::default(),
            growing: tokio::sync::Mutex::default(),
        }
    }

    /// Whether a block may start at `host`: an entry that points behind the end would make the file grow to wherever
    /// it says.
    pub(crate) fn is_inside(&self, host: u64) -> bool {
        host < self.limit.load(Ordering::Acquire)
    }

    /// Virtual size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Changes it, after a resize.
    pub(crate) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// First byte of the file that nothing uses.
    pub(crate) fn next(&self) -> u64 {
        *self.lock_next()
    }

    /// Sets it, after a repair.
    pub(crate) fn set_next(&self, next: u64) {
        *self.lock_next() = next;
    }

    fn lock_next(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for `bytes` at the end of the file.
    pub(crate) fn allocate(&self, bytes: u64, align: u64) -> io::Result<u64> {
        let mut next = self.lock_next();
        let at = if align > 1 {
            next.checked_next_multiple_of(align)
        } else {
            Some(*next)
        };
        let at = at.ok_or_else(|| errno(EFBIG))?;
        *next = at.checked_add(bytes).ok_or_else(|| errno(EFBIG))?;
        self.limit.fetch_max(*next, Ordering::AcqRel);
        Ok(at)
    }

    /// Gives room back if it is the last.
    pub(crate) fn give_back(&self, at: u64, bytes: u64) {
        let mut next = self.lock_next();
        if *next == at + bytes {
            *next = at;
        }
    }

    /// Writes bytes of metadata.
    pub(crate) async fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(at, bytes, WriteFlags::default()).await
    }

    /// The file is at least as long as what is handed out of it.
    pub(crate) async fn fill_up(&self) -> io::Result<()> {
        let next = self.next();
        if self.file.node().length()? >= next {
            return Ok(());
        }
        let grown = self.file.truncate(next, Preallocation::Off).await;
        grown.map_err(|e| errno(e.errno_value().unwrap_or(EIO)))
    }
}
