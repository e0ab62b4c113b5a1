//! The flag of L1 and L2 entries that says that a cluster has one use and may be overwritten.

use std::collections::HashMap;
use std::io;

use super::walk::Kind;
use super::{Run, TABLE_RESERVED};
use crate::qcow2::layout::{COPIED, OFFSET_MASK};
use crate::qcow2::refcount::get;
use crate::qcow2::snapshot::frozen::{Frozen, be_words};

/// Memory for refcount blocks in bytes.
const BUDGET: usize = 16 << 20;

/// Refcounts as the file has them.
struct Lookup {
    blocks: HashMap<u64, Option<Vec<u8>>>,
}

impl Lookup {
    /// The refcount of a cluster; `None` when it cannot be told.
    async fn get(&mut self, frozen: &Frozen, cluster: u64) -> Option<u64> {
        let block = cluster / frozen.per_block();
        if !self.blocks.contains_key(&block) {
            if self.blocks.len() << frozen.bits() >= BUDGET {
                self.blocks.clear();
            }
            let index = usize::try_from(block).unwrap_or(usize::MAX);
            let entry = frozen.refcount_table.get(index).copied().unwrap_or(0);
            let offset = entry & !TABLE_RESERVED;
            let bytes = match offset {
                0 => Some(Vec::new()),
                _ if !offset.is_multiple_of(1 << frozen.bits()) => None,
                _ => frozen.read_cluster(offset).await.ok(),
            };
            self.blocks.insert(block, bytes);
        }
        let bytes = self.blocks.get(&block)?.as_ref()?;
        if bytes.is_empty() {
            return Some(0);
        }
        let index = usize::try_from(cluster % frozen.per_block()).ok()?;
        Some(get(bytes, index, frozen.order()))
    }
}

impl Run<'_> {
    /// Compares flags with refcounts, repairing them when that is safe.
    pub(super) async fn check_copied(&mut self) -> io::Result<()> {
        let report = &self.report;
        let sound = report.check_errors == 0 && report.corruptions == 0 && report.leaks == 0;
        let repair = self.fix.errors || (self.fix.leaks && sound);
        let verb = if repair { "Repairing" } else { "ERROR" };
        let mut lookup = Lookup {
            blocks: HashMap::new(),
        };
        let (offset, len) = (self.frozen.header.l1_offset, self.frozen.header.l1_size);
        let l1 = self.frozen.read_l1(offset, len).await?;
        for (index, entry) in l1.into_iter().enumerate() {
            let table = entry & OFFSET_MASK;
            if table == 0 {
                continue;
            }
            let Some(refcount) = lookup.get(&self.frozen, table >> self.bits()).await else {
                continue;
            };
            if (refcount == 1) != (entry & COPIED != 0) {
                self.corrupt(&format!(
                    "{verb} OFLAG_COPIED L2 cluster: l1_index={index} l1_entry={entry:x} refcount={refcount}"
                ));
                if repair {
                    let at = offset + index as u64 * 8;
                    self.repaired(at, &(entry ^ COPIED).to_be_bytes(), 1)
                        .await?;
                }
            }
            self.check_table(table, repair, &mut lookup).await?;
        }
        Ok(())
    }

    async fn check_table(
        &mut self,
        table: u64,
        repair: bool,
        lookup: &mut Lookup,
    ) -> io::Result<()> {
        let verb = if repair { "Repairing" } else { "ERROR" };
        let mut bytes = match self.frozen.read_cluster(table).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(5);
                self.say(&format!(
                    "ERROR: Could not read L2 table: {}",
                    qapi::strerror(errno)
                ));
                self.report.check_errors += 1;
                return Err(error);
            }
        };
        let reader = self.reader();
        let mut changed = 0;
        for chunk in bytes.chunks_exact_mut(8 * reader.step()) {
            let Some(entry) = be_words(&chunk[..8]).next().filter(|e| *e != 0) else {
                continue;
            };
            if reader.kind(entry) != Kind::Placed {
                continue;
            }
            let refcount = if reader.data_file {
                1
            } else {
                let cluster = (entry & OFFSET_MASK) >> self.bits();
                match lookup.get(&self.frozen, cluster).await {
                    Some(refcount) => refcount,
                    None => continue,
                }
            };
            if (refcount == 1) != (entry & COPIED != 0) {
                self.corrupt(&format!(
                    "{verb} OFLAG_COPIED data cluster: l2_entry={entry:x} refcount={refcount}"
                ));
                if repair {
                    chunk[..8].copy_from_slice(&(entry ^ COPIED).to_be_bytes());
                    changed += 1;
                }
            }
        }
        if changed > 0 {
            self.repaired(table, &bytes, changed).await?;
        }
        Ok(())
    }

    /// Writes a repair of so many errors.
    async fn repaired(&mut self, at: u64, bytes: &[u8], errors: u64) -> io::Result<()> {
        if let Err(error) = self.frozen.write(at, bytes).await {
            self.report.check_errors += 1;
            return Err(error);
        }
        self.report.corruptions -= errors;
        self.report.corruptions_fixed += errors;
        Ok(())
    }
}
