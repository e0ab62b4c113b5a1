//! A change of an image that takes effect by one header write.
//!
//! New tables are written behind the end of the file, where the old refcounts do not count them; changed refcount blocks
//! and a new refcount table follow. Until the header points there, the old image is whole, whatever fails; from then on the
//! new one is, and the old refcount structure is all that is left to free.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use block_core::Preallocation;

use super::deltas::Deltas;
use super::frozen::{Frozen, be_words};
use super::plan::Plan;
use crate::qcow2::layout::{COMPRESSED, COPIED, OFFSET_MASK};
use crate::qcow2::refcount;

/// Refcount blocks kept while flags are looked up, in bytes.
const LOOKUP_BYTES: usize = 64 << 20;

/// A change being prepared.
pub(in crate::qcow2) struct Shadow {
    old: Frozen,
    old_length: u64,
    deltas: Deltas,
    next: u64,
    lookup: BTreeMap<u64, Vec<u8>>,
}

/// New refcounts, written and flushed; the header does not name them yet.
pub(in crate::qcow2) struct NewRefcounts {
    /// Where the table is.
    pub(in crate::qcow2) table_offset: u64,
    /// Clusters of the table.
    pub(in crate::qcow2) table_clusters: u32,
    /// Runs of bytes that nothing uses once the header is written.
    pub(in crate::qcow2) freed: Vec<(u64, u64)>,
    /// With the new table and the old header.
    frozen: Frozen,
    /// Refcount blocks that were replaced.
    replaced: Vec<u64>,
}

impl Shadow {
    /// Of an image that stands still and has nothing in its caches.
    pub(in crate::qcow2) async fn new(old: Frozen) -> io::Result<Self> {
        let old_length = old.file.node().length()?;
        let next = old.used_end().await?;
        Ok(Self {
            next: next.max(old_length.div_ceil(1 << old.bits())),
            old_length,
            deltas: Deltas::default(),
            lookup: BTreeMap::new(),
            old,
        })
    }

    /// The image as it is.
    pub(in crate::qcow2) fn old(&self) -> &Frozen {
        &self.old
    }

    /// Counts a mapping's uses (its L2 tables and what they point to) once more, or once less.
    ///
    /// # Errors
    /// `EIO` when the tables are damaged.
    pub(in crate::qcow2) async fn count(&mut self, l1: &[u64], by: i32) -> io::Result<()> {
        self.old.count(l1, by, &mut self.deltas).await
    }

    /// Counts bytes that are not needed any more.
    ///
    /// # Errors
    /// As [`Deltas::add`].
    pub(in crate::qcow2) fn free(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let clusters = len.div_ceil(1 << self.old.bits());
        self.deltas.add(offset >> self.old.bits(), clusters, -1)
    }

    /// Writes bytes to a new place; 0 when there are none.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::qcow2) async fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let offset = self.reserve(bytes.len() as u64)?;
        self.write_at(offset, bytes).await?;
        Ok(offset)
    }

    /// A new place for `len` bytes, to be written with [`Shadow::write_at`]; 0 when there are none.
    ///
    /// # Errors
    /// As [`Deltas::add`].
    pub(in crate::qcow2) fn reserve(&mut self, len: u64) -> io::Result<u64> {
        if len == 0 {
            return Ok(0);
        }
        let clusters = len.div_ceil(1 << self.old.bits());
        let offset = self.next << self.old.bits();
        self.deltas.add(self.next, clusters, 1)?;
        self.next += clusters;
        Ok(offset)
    }

    /// Writes bytes to a place that was reserved for them.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::qcow2) async fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.old.write(offset, bytes).await
    }

    /// Makes the COPIED flags of a mapping, whose uses are counted already, those of its new refcounts. L2 tables that
    /// change get a new place and so belong to this mapping alone; `l1` is changed to lead to them.
    ///
    /// # Errors
    /// What the file says; `EIO` when the tables are damaged.
    pub(in crate::qcow2) async fn fix_copied(&mut self, l1: &mut [u64]) -> io::Result<()> {
        let step = self.old.l2_step();
        for entry in l1 {
            let offset = *entry & OFFSET_MASK;
            if offset == 0 {
                *entry = 0;
                continue;
            }
            let mut table = self.old.read_cluster(offset).await?;
            let mut changed = false;
            for bytes in table.chunks_exact_mut(8 * step) {
                let Some(old) = be_words(bytes).next() else {
                    continue;
                };
                let new = self.flagged(old).await?;
                if new != old {
                    bytes[..8].copy_from_slice(&new.to_be_bytes());
                    changed = true;
                }
            }
            if changed {
                *entry = self.write(&table).await? | COPIED;
                self.free(offset, 1)?;
            } else {
                *entry = self.flagged(offset).await?;
            }
        }
        Ok(())
    }

    async fn flagged(&mut self, entry: u64) -> io::Result<u64> {
        let plain = entry & !COPIED;
        let offset = entry & OFFSET_MASK;
        if entry & COMPRESSED != 0 || offset == 0 {
            return Ok(plain);
        }
        let cluster = offset >> self.old.bits();
        let alone = self
            .refcount(cluster)
            .await?
            .checked_add_signed(i64::from(self.deltas.of(cluster)))
            == Some(1);
        Ok(if alone { plain | COPIED } else { plain })
    }

    async fn refcount(&mut self, cluster: u64) -> io::Result<u64> {
        let block = cluster / self.old.per_block();
        if !self.lookup.contains_key(&block) {
            if self.lookup.len() << self.old.bits() >= LOOKUP_BYTES {
                self.lookup.clear();
            }
            let bytes = self.old.read_block(block).await?;
            self.lookup.insert(block, bytes);
        }
        let index = usize::try_from(cluster % self.old.per_block()).map_err(|_| invalid())?;
        Ok(refcount::get(&self.lookup[&block], index, self.old.order()))
    }

    /// Writes the new refcounts and flushes everything. On failure the file gets its old length back.
    ///
    /// # Errors
    /// `EINVAL` when a refcount would not fit its width or fall below zero.
    pub(in crate::qcow2) async fn finish(mut self) -> io::Result<NewRefcounts> {
        match self.write_refcounts().await {
            Ok(new) => Ok(new),
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Gives the new space back, as far as the file takes it; nothing points there.
    pub(in crate::qcow2) async fn abandon(self) {
        let _ = self
            .old
            .file
            .truncate(self.old_length, Preallocation::Off)
            .await;
    }

    async fn write_refcounts(&mut self) -> io::Result<NewRefcounts> {
        let (per_block, bits) = (self.old.per_block(), self.old.bits());
        let mut wanted = self.deltas.blocks(per_block);
        // The table keeps every block it had.
        wanted.extend(
            self.old
                .refcount_table
                .iter()
                .rposition(|o| *o != 0)
                .map(|i| i as u64),
        );
        let plan = Plan::new(wanted, self.next, per_block, 1 << bits).ok_or_else(invalid)?;
        let own = plan.blocks.len() as u64 + plan.table_clusters;
        self.deltas.add(plan.start, own, 1)?;
        let mut table = self.old.refcount_table.clone();
        let words = usize::try_from(plan.table_clusters << bits).map_err(|_| invalid())? / 8;
        table.resize(words, 0);
        let (mut freed, mut replaced) = (Vec::new(), Vec::new());
        for (at, block) in (plan.start..).zip(&plan.blocks) {
            let mut bytes = self.old.read_block(*block).await?;
            self.old
                .change_block(*block, &mut bytes, &self.deltas, &mut freed)?;
            self.old.write(at << bits, &bytes).await?;
            let slot = usize::try_from(*block).ok().and_then(|b| table.get_mut(b));
            let slot = slot.ok_or_else(invalid)?;
            replaced.extend(Some(*slot).filter(|o| *o != 0));
            *slot = at << bits;
        }
        let table_offset = plan.table_start() << bits;
        let bytes: Vec<u8> = table.iter().flat_map(|o| o.to_be_bytes()).collect();
        self.old.write(table_offset, &bytes).await?;
        self.old.file.flush().await?;
        Ok(NewRefcounts {
            table_offset,
            table_clusters: u32::try_from(plan.table_clusters).map_err(|_| invalid())?,
            freed,
            frozen: Frozen {
                file: Arc::clone(&self.old.file),
                header: self.old.header.clone(),
                l1: Vec::new(),
                refcount_table: table,
            },
            replaced,
        })
    }
}

impl NewRefcounts {
    /// After the header write: frees the old refcount structure and gives all freed space back to the file system.
    ///
    /// # Errors
    /// What the file says; the space is leaked then.
    pub(in crate::qcow2) async fn clean_up(mut self) -> io::Result<()> {
        let bits = self.frozen.bits();
        let mut deltas = Deltas::default();
        for offset in &self.replaced {
            deltas.add(offset >> bits, 1, -1)?;
        }
        let old = &self.frozen.header;
        let clusters = u64::from(old.refcount_table_clusters);
        deltas.add(old.refcount_table_offset >> bits, clusters, -1)?;
        let freed = self.frozen.apply(&deltas).await?;
        self.frozen.file.flush().await?;
        self.freed.extend(freed);
        for (offset, len) in self.freed {
            if self.frozen.file.discard(offset, len).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(22)
}
