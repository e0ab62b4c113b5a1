//! Metadata of an image that stands still, read and written directly.
//!
//! Snapshots and amend touch every table of the image once. They first have the caches written out, work here in large
//! pieces on the file itself, and the image reads its metadata again afterwards. Nothing else may change it meanwhile.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use block_core::{Edge, WriteFlags};

use super::deltas::Deltas;
use crate::qcow2::header::Header;
use crate::qcow2::layout::{COMPRESSED, COPIED, OFFSET_MASK};
use crate::qcow2::refcount::{get, max, set};

/// The metadata's roots and the file they are in.
pub(in crate::qcow2) struct Frozen {
    pub(in crate::qcow2) file: Arc<Edge>,
    pub(in crate::qcow2) header: Header,
    /// The active L1 table.
    pub(in crate::qcow2) l1: Vec<u64>,
    /// Offsets of refcount blocks, 0 where there is none.
    pub(in crate::qcow2) refcount_table: Vec<u64>,
}

impl Frozen {
    /// log2 of the cluster size.
    pub(in crate::qcow2) fn bits(&self) -> u32 {
        self.header.cluster_bits
    }

    /// log2 of the refcounts' width in bits.
    pub(in crate::qcow2) fn order(&self) -> u32 {
        self.header.refcount_order
    }

    fn cluster_size(&self) -> u64 {
        1 << self.bits()
    }

    /// Bytes of the active L1 table.
    pub(in crate::qcow2) fn l1_bytes(&self) -> u64 {
        self.l1.len() as u64 * 8
    }

    /// Entries of one refcount block.
    pub(in crate::qcow2) fn per_block(&self) -> u64 {
        (self.cluster_size() * 8) >> self.order()
    }

    fn block_offset(&self, block: u64) -> Option<u64> {
        let index = usize::try_from(block).ok()?;
        self.refcount_table
            .get(index)
            .copied()
            .filter(|offset| *offset != 0)
    }

    /// A refcount block; zeroes when there is none.
    pub(in crate::qcow2) async fn read_block(&self, block: u64) -> io::Result<Vec<u8>> {
        match self.block_offset(block) {
            Some(offset) => self.read_cluster(offset).await,
            None => Ok(vec![0; 1 << self.bits()]),
        }
    }

    /// The refcount of a cluster (by number).
    pub(in crate::qcow2) async fn refcount(&self, cluster: u64) -> io::Result<u64> {
        let block = self.read_block(cluster / self.per_block()).await?;
        let index = usize::try_from(cluster % self.per_block()).map_err(|_| damaged())?;
        Ok(get(&block, index, self.order()))
    }

    /// The cluster behind the last one with a refcount.
    pub(in crate::qcow2) async fn used_end(&self) -> io::Result<u64> {
        for block in (0..self.refcount_table.len() as u64).rev() {
            if self.block_offset(block).is_none() {
                continue;
            }
            let bytes = self.read_block(block).await?;
            let used = |index: &u64| {
                let index = usize::try_from(*index).unwrap_or(0);
                get(&bytes, index, self.order()) != 0
            };
            if let Some(last) = (0..self.per_block()).rev().find(used) {
                return Ok(block * self.per_block() + last + 1);
            }
        }
        Ok(0)
    }

    /// One cluster of the file.
    pub(in crate::qcow2) async fn read_cluster(&self, offset: u64) -> io::Result<Vec<u8>> {
        self.read(offset, self.cluster_size()).await
    }

    /// Bytes of the file.
    pub(in crate::qcow2) async fn read(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| damaged())?];
        self.file.read(offset, &mut bytes).await?;
        Ok(bytes)
    }

    /// Writes bytes of the file.
    pub(in crate::qcow2) async fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes, WriteFlags::default()).await
    }

    /// An L1 table of `len` entries.
    pub(in crate::qcow2) async fn read_l1(&self, offset: u64, len: u32) -> io::Result<Vec<u64>> {
        let bytes = self.read(offset, u64::from(len) * 8).await?;
        Ok(be_words(&bytes).collect())
    }

    /// The L2 tables of an L1 table, each once.
    pub(in crate::qcow2) fn l2_offsets(&self, l1: &[u64]) -> io::Result<Vec<u64>> {
        let mut seen = HashSet::new();
        let mut offsets = Vec::new();
        for entry in l1 {
            let offset = entry & OFFSET_MASK;
            if offset == 0 {
                continue;
            }
            if !offset.is_multiple_of(self.cluster_size()) || !seen.insert(offset) {
                return Err(damaged());
            }
            offsets.push(offset);
        }
        Ok(offsets)
    }

    /// Words of an L2 entry.
    pub(in crate::qcow2) fn l2_step(&self) -> usize {
        if self.header.extended_l2() { 2 } else { 1 }
    }

    /// Adds to `deltas` what a mapping uses: its L2 tables and all they point to, each `by` times.
    ///
    /// # Errors
    /// `EIO` when the tables are damaged.
    pub(in crate::qcow2) async fn count(
        &self,
        l1: &[u64],
        by: i32,
        deltas: &mut Deltas,
    ) -> io::Result<()> {
        for offset in self.l2_offsets(l1)? {
            deltas.add(offset >> self.bits(), 1, by)?;
            let table = self.read_cluster(offset).await?;
            let mut run = (0, 0);
            for entry in be_words(&table).step_by(self.l2_step()) {
                let (first, clusters) = self.host_clusters(entry)?;
                if clusters == 1 && run.0 + run.1 == first {
                    run.1 += 1;
                } else if clusters != 0 {
                    deltas.add(run.0, run.1, by)?;
                    run = (first, clusters);
                }
            }
            deltas.add(run.0, run.1, by)?;
        }
        Ok(())
    }

    /// Host clusters that an L2 entry uses (first, count).
    fn host_clusters(&self, entry: u64) -> io::Result<(u64, u64)> {
        if entry & COMPRESSED != 0 {
            let bits = 62 - (self.bits() - 8);
            let offset = entry & ((1 << bits) - 1);
            let sectors = ((entry & !(COPIED | COMPRESSED)) >> bits) + 1;
            let end = (offset & !511) + sectors * 512;
            let first = offset >> self.bits();
            return Ok((first, ((end - 1) >> self.bits()) - first + 1));
        }
        let offset = entry & OFFSET_MASK;
        if !offset.is_multiple_of(self.cluster_size()) {
            return Err(damaged());
        }
        Ok((offset >> self.bits(), u64::from(offset != 0)))
    }

    /// Changes refcounts in place. Gives back what nothing uses any more, as runs of bytes. On failure the refcounts are
    /// as before (as far as the file still takes writes).
    ///
    /// # Errors
    /// `EINVAL` when a refcount would not fit its width or fall below zero; nothing has changed then.
    pub(in crate::qcow2) async fn apply(&self, deltas: &Deltas) -> io::Result<Vec<(u64, u64)>> {
        let blocks = deltas.blocks(self.per_block());
        let mut freed = Vec::new();
        for block in &blocks {
            self.block_offset(*block).ok_or_else(invalid)?;
            let mut bytes = self.read_block(*block).await?;
            self.change_block(*block, &mut bytes, deltas, &mut freed)?;
        }
        let mut before = Vec::new();
        for block in blocks {
            let offset = self.block_offset(block).ok_or_else(invalid)?;
            let old = self.read_block(block).await?;
            let mut new = old.clone();
            self.change_block(block, &mut new, deltas, &mut Vec::new())?;
            before.push((offset, old));
            if let Err(error) = self.write(offset, &new).await {
                for (offset, old) in before {
                    // The first failure is what the caller hears of; what cannot be undone is a leak.
                    let _ = self.write(offset, &old).await;
                }
                return Err(error);
            }
        }
        Ok(freed)
    }

    /// Applies changes to one refcount block in memory; clusters that nothing uses any more go to `freed`.
    ///
    /// # Errors
    /// `EINVAL` as [`Frozen::apply`].
    pub(in crate::qcow2) fn change_block(
        &self,
        block: u64,
        bytes: &mut [u8],
        deltas: &Deltas,
        freed: &mut Vec<(u64, u64)>,
    ) -> io::Result<()> {
        let clusters = block * self.per_block()..(block + 1) * self.per_block();
        for (index, cluster) in (0..).zip(clusters) {
            let by = deltas.of(cluster);
            if by == 0 {
                continue;
            }
            let new = get(bytes, index, self.order()).checked_add_signed(i64::from(by));
            let new = new.filter(|new| *new <= max(self.order()));
            let new = new.ok_or_else(invalid)?;
            set(bytes, index, self.order(), new);
            if new == 0 {
                push_run(freed, cluster << self.bits(), self.cluster_size());
            }
        }
        Ok(())
    }
}

fn push_run(runs: &mut Vec<(u64, u64)>, offset: u64, len: u64) {
    match runs.last_mut() {
        Some((at, run)) if *at + *run == offset => *run += len,
        _ => runs.push((offset, len)),
    }
}

/// Big-endian words.
pub(in crate::qcow2) fn be_words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes
        .chunks_exact(8)
        .filter_map(|word| word.try_into().ok())
        .map(u64::from_be_bytes)
}

fn damaged() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(22)
}
