//! From memory to the file, in an order that makes every crash harmless: see the folder's head.

use std::io;
use std::sync::Arc;

use block_core::{Event, WriteFlags};

use super::header::incompatible;
use super::refcount::contiguous;
use super::slices::Slice;
use super::{Meta, Qcow2};

/// Slices and frees that may wait in memory.
const MAX_DIRTY_BYTES: u64 = 16 << 20;
const MAX_PENDING: usize = 64 << 10;

/// A table as stored.
pub(super) fn words(table: &[u64]) -> Vec<u8> {
    table.iter().flat_map(|word| word.to_be_bytes()).collect()
}

impl Qcow2 {
    /// Whether there is anything that the file does not have.
    pub(super) fn has_changes(&self, meta: &Meta) -> bool {
        !meta.dirty_slices.is_empty()
            || !meta.dirty_l1.is_empty()
            || !meta.pending_free.is_empty()
            || meta.moving.is_some()
            || meta.refcounts.is_dirty()
    }

    /// Whether enough waits to be written now.
    pub(super) fn is_full(&self, meta: &Meta) -> bool {
        meta.dirty_slices.len() as u64 * self.layout.slice_bytes > MAX_DIRTY_BYTES
            || meta.pending_free.len() > MAX_PENDING
    }

    /// Writes everything that the file does not have.
    pub(crate) async fn write_out(&self) -> io::Result<()> {
        let mut meta = self.meta.lock().await;
        while self.has_changes(&meta) {
            self.write_out_locked(&mut meta).await?;
        }
        Ok(())
    }

    /// One round: refcounts, mappings, frees. The frees dirty refcounts again.
    pub(super) async fn write_out_locked(&self, meta: &mut Meta) -> io::Result<()> {
        self.write_refcounts(meta).await?;
        self.write_mapping(meta).await
    }

    /// The mapping without the refcounts that it needs: enough when the image is marked dirty, so that whoever opens
    /// it after a crash counts anew.
    async fn write_mapping(&self, meta: &mut Meta) -> io::Result<()> {
        if !meta.dirty_slices.is_empty() || !meta.dirty_l1.is_empty() {
            self.file.flush().await?;
            if self.layout.data_file {
                self.data.flush().await?;
            }
            self.write_slices(meta).await?;
        }
        if !meta.dirty_l1.is_empty() {
            self.file.flush().await?;
            self.write_l1(meta).await?;
        }
        if !meta.pending_free.is_empty() {
            self.file.flush().await?;
            self.apply_frees(meta).await?;
        }
        Ok(())
    }

    async fn write_slices(&self, meta: &mut Meta) -> io::Result<()> {
        let mut slices: Vec<Arc<Slice>> = meta.dirty_slices.values().cloned().collect();
        slices.sort_unstable_by_key(|s| s.host);
        let places: Vec<(u64, u64)> = slices.iter().map(|s| (s.host, s.number)).collect();
        let mut bytes = Vec::new();
        let mut at = 0;
        while at < slices.len() {
            let run = contiguous(&places[at..], self.layout.slice_bytes);
            bytes.clear();
            for slice in &slices[at..at + run] {
                slice.encode(&mut bytes);
            }
            self.file.event(Event::L2Update).await;
            self.file
                .write(places[at].0, &bytes, WriteFlags::default())
                .await?;
            at += run;
        }
        meta.dirty_slices.clear();
        Ok(())
    }

    /// Sectors of the L1 table that have changed.
    async fn write_l1(&self, meta: &mut Meta) -> io::Result<()> {
        let mut sectors: Vec<usize> = meta.dirty_l1.iter().map(|at| at / 64).collect();
        sectors.dedup();
        for sector in sectors {
            let entries = &meta.l1[sector * 64..meta.l1.len().min(sector * 64 + 64)];
            let bytes = words(entries);
            let offset = meta.header.l1_offset + sector as u64 * 512;
            self.file.event(Event::L1Update).await;
            self.file
                .write(offset, &bytes, WriteFlags::default())
                .await?;
        }
        meta.dirty_l1.clear();
        Ok(())
    }

    async fn apply_frees(&self, meta: &mut Meta) -> io::Result<()> {
        meta.waiting = 0;
        while let Some((first, count)) = meta.pending_free.pop() {
            if let Err(error) = self.free_now(meta, first, count).await {
                // Refcounts that are too low already: leave the rest as it is, for check to find.
                tracing::warn!(first, count, %error, "cannot free clusters");
                continue;
            }
            self.pass_discard(meta, first, count).await?;
        }
        Ok(())
    }

    /// Tells the file about clusters that became free, where the open options want it.
    async fn pass_discard(&self, meta: &mut Meta, first: u64, count: u64) -> io::Result<()> {
        if !self.options.pass_discard && !meta.shrinking {
            return Ok(());
        }
        let mut at = first;
        while at < first + count {
            let free = meta
                .refcounts
                .free_run(&self.file, at, first + count - at)
                .await?;
            if free > 0 {
                let bits = self.layout.cluster_bits;
                self.file.discard(at << bits, free << bits).await?;
            }
            at += free + 1;
        }
        Ok(())
    }

    pub(super) async fn flush_all(&self) -> io::Result<()> {
        if !self.read_only() && self.serving() {
            let mut meta = self.meta.lock().await;
            if meta.header.incompatible & incompatible::DIRTY != 0 {
                self.write_mapping(&mut meta).await?;
            } else if self.has_changes(&meta) {
                self.write_out_locked(&mut meta).await?;
            }
        }
        if self.layout.data_file {
            self.data.flush().await?;
        }
        self.file.event(Event::FlushToDisk).await;
        self.file.flush().await
    }
}
