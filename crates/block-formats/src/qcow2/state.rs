//! The image's state: first write, header changes, corruption, standing still.

use std::io;
use std::sync::atomic::Ordering;

use block_core::WriteFlags;
use qapi::Error;

use super::header::{self, Header};
use super::layout::OFFSET_MASK;
use super::overlap::Occupied;
use super::{Meta, Qcow2, errno};

/// Values of [`Qcow2::holes`].
pub(super) const UNKNOWN: u8 = 0;
pub(super) const NO_HOLES: u8 = 1;
pub(super) const HOLES: u8 = 2;

const EIO: i32 = 5;
const EPERM: i32 = 1;

/// Metadata that could not be written at the end, as QEMU tells it: for each of its caches.
fn lost(number: i32) -> Error {
    let (prog, why) = (qapi::prog_name(), qapi::strerror(number));
    Error::with_errno("Failed to flush the L2 table cache", number).hint(format!(
        "{prog}: Failed to flush the refcount block cache: {why}"
    ))
}

impl Qcow2 {
    /// Before anything changes: the image may be written, its header says that somebody does, and bitmaps know.
    pub(super) async fn begin_write(
        &self,
        meta: &mut Meta,
        offset: u64,
        len: u64,
    ) -> io::Result<()> {
        if self.read_only() {
            return Err(errno(EPERM));
        }
        if !self.serving() {
            return Err(errno(EIO));
        }
        if !self.writing.load(Ordering::Acquire) {
            self.announce(meta).await?;
        }
        if len == 0 || offset >= self.size() {
            return Ok(());
        }
        self.record_write(offset, len).await
    }

    /// Header bits of a writer: unknown autoclear bits go, lazy refcounts make the image dirty.
    async fn announce(&self, meta: &mut Meta) -> io::Result<()> {
        let mut new = meta.header.clone();
        if new.version >= 3 {
            new.autoclear &= header::autoclear::KNOWN;
            if self.options.lazy_refcounts {
                new.incompatible |= header::incompatible::DIRTY;
            }
        }
        if new != meta.header {
            self.store_header(meta, new).await?;
            self.file.flush().await?;
        }
        self.writing.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes a changed header.
    pub(super) async fn store_header(&self, meta: &mut Meta, new: Header) -> io::Result<()> {
        let bytes = new
            .encode()
            .map_err(|e| errno(e.errno_value().unwrap_or(EIO)))?;
        self.file.write(0, &bytes, WriteFlags::default()).await?;
        meta.header = new;
        Ok(())
    }

    /// Marks the image corrupt, tells so once, and serves nothing any more.
    pub(super) async fn corrupt(&self, meta: &mut Meta, what: &str) {
        if self.broken.load(Ordering::Acquire) {
            return;
        }
        if self.read_only() {
            if !meta.told_corrupt {
                eprintln!(
                    "qcow2: Image is corrupt: {what}; further non-fatal corruption events will be suppressed"
                );
                meta.told_corrupt = true;
            }
            return;
        }
        eprintln!(
            "qcow2: Marking image as corrupt: {what}; further corruption events will be suppressed"
        );
        self.broken.store(true, Ordering::Release);
        if meta.header.version >= 3 {
            let mut new = meta.header.clone();
            new.incompatible |= header::incompatible::CORRUPT;
            if let Err(error) = self.store_header(meta, new).await {
                tracing::error!(%error, "cannot mark the image corrupt");
            }
        }
    }

    /// The same for a caller without the lock.
    pub(super) async fn tell_corrupt(&self, what: &str) {
        let mut meta = self.meta.lock().await;
        self.corrupt(&mut meta, what).await;
    }

    /// What metadata is at a cluster, if any.
    pub(super) async fn metadata_at(&self, cluster: u64) -> Option<&'static str> {
        self.meta.lock().await.occupied.name(cluster)
    }

    /// Finds out, once, whether data may lie in holes of the file: it has fewer bytes than the refcounts say.
    pub(super) async fn find_holes(&self, meta: &mut Meta) -> io::Result<()> {
        if self.holes.load(Ordering::Relaxed) != UNKNOWN {
            return Ok(());
        }
        let node = self.file.node();
        let length = node.length()?;
        let allocated = node
            .protocol()
            .and_then(block_core::Protocol::allocated)
            .unwrap_or(u64::MAX);
        let real = allocated >> self.layout.cluster_bits;
        // Some slack: file systems account for their own metadata, and for the ends of extents.
        let threshold = (real.saturating_mul(10) / 9).max(real.saturating_add(2));
        // Most images have no room for so many, and their refcounts need not be read.
        let most = length.div_ceil(self.layout.cluster_size());
        let holes = allocated < length
            && most >= threshold
            && self.used_clusters(meta, length).await? >= threshold;
        if self.read_only() {
            // Nobody looks at them again.
            meta.refcounts.forget_clean();
        }
        self.holes
            .store(if holes { HOLES } else { NO_HOLES }, Ordering::Relaxed);
        Ok(())
    }

    async fn used_clusters(&self, meta: &mut Meta, length: u64) -> io::Result<u64> {
        let bits = self.layout.cluster_bits;
        let (mut used, mut at, end) = (0, 0, length.div_ceil(1 << bits));
        while at < end {
            let free = meta.refcounts.free_run(&self.file, at, end - at).await?;
            at += free;
            let next = meta.refcounts.next_free(&self.file, at).await?.min(end);
            used += next - at;
            at = next;
        }
        Ok(used)
    }

    /// [`block_core::Format::close`].
    pub(super) async fn close_image(&self) -> qapi::Result<()> {
        if self.read_only() || !self.serving() {
            return Ok(());
        }
        let failed = |e: io::Error| Error::from_io("Could not close the image", &e);
        // Without bitmaps the disk is still whole: its metadata must not be lost with them.
        let stored = self.store_bitmaps().await;
        let mut meta = self.meta.lock().await;
        let settled = self.settle(&mut meta).await;
        stored.and(settled.map_err(|e| e.raw_os_error().map_or_else(|| failed(e), lost)))
    }

    /// Everything is in the file, and the dirty bit is off.
    pub(super) async fn settle(&self, meta: &mut Meta) -> io::Result<()> {
        while self.has_changes(meta) {
            self.write_out_locked(meta).await?;
        }
        let mut new = meta.header.clone();
        new.incompatible &= !header::incompatible::DIRTY;
        if self.writing.swap(false, Ordering::AcqRel) && new != meta.header {
            self.file.flush().await?;
            self.store_header(meta, new).await?;
        }
        self.data.flush().await?;
        self.file.flush().await
    }

    pub(super) async fn change_mode(&self, read_only: bool) -> qapi::Result<()> {
        if read_only && !self.read_only() {
            self.store_bitmaps().await?;
        }
        let mut meta = self.meta.lock().await;
        if read_only {
            let failed = |e: io::Error| Error::from_io("Could not write the image out", &e);
            self.settle(&mut meta).await.map_err(failed)?;
        } else if meta.header.incompatible & header::incompatible::CORRUPT != 0 {
            return Err(Error::new("Can't make image read-write: it is marked corrupt").errno(13));
        }
        self.read_only.store(read_only, Ordering::Release);
        Ok(())
    }

    /// Knows anew where metadata is, after tables have moved.
    pub(super) fn survey(meta: &mut Meta) {
        meta.occupied = Occupied::new(&meta.header, &meta.l1, meta.refcounts.table());
    }

    /// Offset of the L2 table of an L1 entry.
    pub(super) fn l2_table(entry: u64) -> u64 {
        entry & OFFSET_MASK
    }
}
