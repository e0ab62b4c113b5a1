//! Changing the virtual size.

use std::io;
use std::sync::atomic::Ordering;

use block_core::{Event, Preallocation, ResizeRequest};
use qapi::{Error, Result};

use super::header::{self, MAX_L1_BYTES, l1_entries};
use super::layout::{Bitmap, COPIED, Entry, OFFSET_MASK};
use super::write_out::words;
use super::{Meta, Qcow2, errno};

const EINVAL: i32 = 22;
const ENOTSUP: i32 = 95;
const EFBIG: i32 = 27;
const SECTOR: u64 = 512;
/// Reserved space that is written with zeroes when it is no longer than this.
const MAX_WRITTEN: u64 = 1 << 20;

fn failed(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |e| Error::from_io(what, &e)
}

impl Qcow2 {
    /// [`block_core::Resize::resize`]; the engine keeps writes away meanwhile.
    pub(super) async fn change_size(&self, request: ResizeRequest) -> Result<()> {
        let size = request.size;
        if !size.is_multiple_of(SECTOR) {
            return Err(
                Error::new(format!("The new size must be a multiple of {SECTOR}")).errno(EINVAL),
            );
        }
        self.prepare_bitmaps_for_resize().await?;
        let mut meta = self.meta.lock().await;
        let meta = &mut *meta;
        if meta.header.nb_snapshots > 0 && meta.header.version < 3 {
            return Err(Error::new("Can't resize a v2 image which has snapshots").errno(ENOTSUP));
        }
        let old = self.size();
        self.begin_write(meta, 0, 0)
            .await
            .map_err(failed("Could not write to the image"))?;
        if size < old {
            if request.preallocation != Preallocation::Off {
                return Err(
                    Error::new("Preallocation can't be used for shrinking an image").errno(EINVAL),
                );
            }
            meta.shrinking = true;
            let shrunk = self.shrink(meta, old, size).await;
            meta.shrinking = false;
            shrunk?;
        } else {
            self.grow(meta, old, request).await?;
        }
        self.store_size(meta, size)
            .await
            .map_err(failed("Failed to update the image size"))?;
        self.finish_bitmaps_resize(size);
        Ok(())
    }

    async fn store_size(&self, meta: &mut Meta, size: u64) -> io::Result<()> {
        while self.has_changes(meta) {
            self.write_out_locked(meta).await?;
        }
        self.file.flush().await?;
        let mut new = meta.header.clone();
        new.size = size;
        self.store_header(meta, new).await?;
        self.size.store(size, Ordering::Release);
        self.slices.clear();
        self.file.flush().await
    }

    async fn shrink(&self, meta: &mut Meta, old: u64, size: u64) -> Result<()> {
        let cluster = self.cluster_size();
        let start = size.next_multiple_of(cluster);
        if start < old {
            self.drop_range(meta, start, old.next_multiple_of(cluster))
                .await
                .map_err(failed("Failed to discard cropped clusters"))?;
        }
        self.drop_tables(meta, size)
            .await
            .map_err(failed("Failed to reduce the number of L2 tables"))?;
        self.cut_file(meta)
            .await
            .map_err(failed("Failed to truncate the tail of the image"))
    }

    /// Frees L2 tables that map nothing below `size`.
    async fn drop_tables(&self, meta: &mut Meta, size: u64) -> io::Result<()> {
        let keep = usize::try_from(size.div_ceil(self.layout.l2_coverage())).unwrap_or(usize::MAX);
        self.file.event(Event::L1ShrinkWriteTable).await;
        for index in keep..meta.l1.len() {
            let entry = std::mem::take(&mut meta.l1[index]);
            let table = entry & OFFSET_MASK;
            if entry != 0 {
                meta.dirty_l1.insert(index);
            }
            if table != 0 {
                Self::free_later(meta, table >> self.layout.cluster_bits, 1);
                meta.occupied.remove_l2(table >> self.layout.cluster_bits);
            }
        }
        let end = self
            .layout
            .slice_of(keep as u64 * self.layout.l2_coverage());
        self.file.event(Event::L1ShrinkFreeL2Clusters).await;
        // What these tables hold is free already: nothing of them needs to be written.
        meta.dirty_slices.retain(|number, _| *number < end);
        self.slices.clear();
        while self.has_changes(meta) {
            self.write_out_locked(meta).await?;
        }
        Ok(())
    }

    /// Cuts off what lies behind the last cluster in use.
    async fn cut_file(&self, meta: &mut Meta) -> io::Result<()> {
        let used = meta.refcounts.end(&self.file).await?;
        let end = used << self.layout.cluster_bits;
        if end < self.file.node().length()? {
            let cut = self.file.truncate(end, Preallocation::Off).await;
            if let Err(error) = cut {
                qapi::warn(&format!(
                    "Failed to truncate the tail of the image: {error}"
                ));
            }
        }
        Ok(())
    }

    async fn grow(&self, meta: &mut Meta, old: u64, request: ResizeRequest) -> Result<()> {
        let size = request.size;
        let needed = l1_entries(size, self.layout.cluster_bits, self.layout.extended);
        if needed * 8 > MAX_L1_BYTES {
            return Err(Error::with_errno("Failed to grow the L1 table", EFBIG));
        }
        let entries = usize::try_from(needed).unwrap_or(0);
        if entries > meta.l1.len() {
            self.grow_l1(meta, entries)
                .await
                .map_err(failed("Failed to grow the L1 table"))?;
        }
        let raw_data = meta.header.autoclear & header::autoclear::RAW_DATA_FILE != 0;
        let mode = match request.preallocation {
            Preallocation::Off if self.layout.data_file && raw_data => Preallocation::Metadata,
            mode => mode,
        };
        if self.layout.data_file {
            self.grow_data(size, mode).await?;
        }
        if mode == Preallocation::Off {
            return Ok(());
        }
        self.preallocate(meta, old, size, mode).await?;
        if matches!(mode, Preallocation::Falloc | Preallocation::Full) {
            let failed = failed("Could not preallocate the last cluster");
            self.fill_last(meta, old, size).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The cluster that the disk ended in may be a hole of the file behind its data.
    async fn fill_last(&self, meta: &mut Meta, old: u64, size: u64) -> io::Result<()> {
        let inside = self.layout.in_cluster(old);
        if inside == 0 || self.layout.data_file || self.layout.extended {
            return Ok(());
        }
        let slice = self.slice(meta, self.layout.slice_of(old)).await?;
        let (word, _) = slice.get(self.layout, self.layout.entry_in_slice(old));
        let Entry::Data { host, copied: true } = self.layout.decode(word) else {
            return Ok(());
        };
        let len = (size - old).min(self.cluster_size() - inside);
        let zeroes = vec![0; usize::try_from(len).map_err(|_| errno(EFBIG))?];
        let flags = block_core::WriteFlags::default();
        self.file.write(host + inside, &zeroes, flags).await
    }

    /// The file reaches as far as its clusters do, and new space is there as `mode` says.
    async fn reach_end(&self, meta: &mut Meta, mode: Preallocation) -> Result<()> {
        if self.layout.data_file {
            return Ok(());
        }
        let end = meta
            .refcounts
            .end(&self.file)
            .await
            .map_err(failed("Failed to find the end"))?;
        let end = end << self.layout.cluster_bits;
        let length = self
            .file
            .node()
            .length()
            .map_err(failed("Failed to inquire current file length"))?;
        if length >= end {
            return Ok(());
        }
        if mode == Preallocation::Metadata {
            return self.file.truncate(end, Preallocation::Off).await;
        }
        // A write into a short run that is only reserved cuts it in two, and the list of the file's extents may need a block for that.
        let mode = match mode {
            Preallocation::Falloc if end - length <= MAX_WRITTEN => Preallocation::Full,
            mode => mode,
        };
        let failed = |e: Error| e.prefix("Failed to resize underlying file: ");
        self.file.truncate(end, mode).await.map_err(failed)
    }

    /// The data file covers the disk.
    async fn grow_data(&self, size: u64, mode: Preallocation) -> Result<()> {
        let length = self
            .data
            .node()
            .length()
            .map_err(failed("Failed to inquire current file length"))?;
        if length >= size {
            return Ok(());
        }
        let mode = if mode == Preallocation::Metadata {
            Preallocation::Off
        } else {
            mode
        };
        self.data
            .truncate(size, mode)
            .await
            .map_err(|e| e.prefix("Failed to resize data file: "))
    }

    /// Makes the L1 table long enough for an offset in the area for VM state, and half as long again.
    pub(super) async fn reach(&self, meta: &mut Meta, offset: u64) -> io::Result<()> {
        let needed = self.layout.l1_index(offset).saturating_add(1);
        if needed <= meta.l1.len() || offset < self.vm_state_start() {
            return Ok(());
        }
        let mut entries = meta.l1.len().max(1);
        while entries < needed {
            entries = entries.saturating_mul(3).div_ceil(2);
        }
        if entries as u64 > MAX_L1_BYTES / 8 {
            return Err(errno(EFBIG));
        }
        self.grow_l1(meta, entries).await
    }

    /// Puts the L1 table, longer, at a new place.
    async fn grow_l1(&self, meta: &mut Meta, entries: usize) -> io::Result<()> {
        let bits = self.layout.cluster_bits;
        let count = (entries as u64 * 8).div_ceil(self.cluster_size());
        self.file.event(Event::L1GrowAllocTable).await;
        let first = self.allocate(meta, count, "L1 table").await?;
        let mut l1 = meta.l1.clone();
        l1.resize(entries, 0);
        self.write_refcounts(meta).await?;
        self.file.event(Event::L1GrowWriteTable).await;
        self.file
            .write(
                first << bits,
                &words(&l1),
                block_core::WriteFlags::default(),
            )
            .await?;
        self.file.flush().await?;
        let old = (meta.header.l1_offset, u64::from(meta.header.l1_size) * 8);
        let mut new = meta.header.clone();
        new.l1_offset = first << bits;
        new.l1_size = u32::try_from(entries).map_err(|_| errno(EFBIG))?;
        self.file.event(Event::L1GrowActivateTable).await;
        self.store_header(meta, new).await?;
        self.file.flush().await?;
        meta.l1 = l1;
        Self::free_later(meta, old.0 >> bits, old.1.div_ceil(self.cluster_size()));
        Self::survey(meta);
        Ok(())
    }

    /// Maps everything in a range that has no place yet, behind all that is in the file.
    async fn preallocate(
        &self,
        meta: &mut Meta,
        from: u64,
        to: u64,
        mode: Preallocation,
    ) -> Result<()> {
        let failed = || failed("Could not preallocate metadata");
        let cluster = self.cluster_size();
        // A cluster that the disk ended in shows the backing file: it gets a place when something is written there.
        let shows_backing = meta.header.backing.is_some() && !self.layout.extended;
        let from = if shows_backing {
            from.next_multiple_of(cluster)
        } else {
            self.layout.start_of_cluster(from)
        };
        let mut at = from;
        // Tables first, so that new data lies in one piece behind them, except where data stays a hole.
        while at < to && mode != Preallocation::Metadata {
            self.writable_slice(meta, at).await.map_err(failed())?;
            at = (at / self.layout.l2_coverage() + 1) * self.layout.l2_coverage();
        }
        let length = self.file.node().length().map_err(failed())?;
        let mut behind = length.div_ceil(cluster);
        at = from;
        while at < to {
            if self.is_full(meta) {
                self.reach_end(meta, mode).await?;
                self.write_out_locked(meta).await.map_err(failed())?;
            }
            at = self
                .preallocate_run(meta, at, to, &mut behind)
                .await
                .map_err(failed())?;
        }
        self.reach_end(meta, mode).await
    }

    /// One run of clusters of a slice; gives the end of it.
    async fn preallocate_run(
        &self,
        meta: &mut Meta,
        at: u64,
        to: u64,
        behind: &mut u64,
    ) -> io::Result<u64> {
        let (layout, cluster) = (self.layout, self.cluster_size());
        let slice = self.writable_slice(meta, at).await?;
        let end = layout
            .slice_guest(slice.number + 1)
            .min(to.next_multiple_of(cluster));
        let is_free = |at| slice.get(layout, layout.entry_in_slice(at)).0 == 0;
        let mut run = 0;
        while at + run * cluster < end && is_free(at + run * cluster) {
            run += 1;
        }
        if run == 0 {
            return Ok(at + cluster);
        }
        let host = if layout.data_file {
            at
        } else {
            let first = self
                .allocate_from(meta, *behind, run, "data cluster")
                .await?;
            *behind = first + run;
            first * cluster
        };
        for n in 0..run {
            let word = (host + n * cluster) | COPIED;
            slice.set(
                layout,
                layout.entry_in_slice(at + n * cluster),
                word,
                Bitmap::default(),
            );
        }
        Self::changed(meta, slice);
        Ok(at + run * cluster)
    }
}
