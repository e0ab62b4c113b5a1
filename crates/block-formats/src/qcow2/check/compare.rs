//! Refcounts against counted uses.

use std::io;
use std::sync::Arc;

use block_core::Fix;

use super::reader::TableReader;
use super::{Run, TABLE_RESERVED};
use crate::qcow2::overlap::hex;
use crate::qcow2::refcount::{get, set};

/// A refcount block as read.
enum Block {
    /// All zero.
    Absent,
    Bytes(u64, Vec<u8>),
    /// Cannot be read: an errno.
    Bad(i32),
}

impl Run<'_> {
    /// Compares all clusters, repairing what `fix` allows; gives the last cluster in use.
    pub(super) async fn compare(&mut self, fix: Fix) -> io::Result<u64> {
        let per_block = self.frozen.per_block();
        let blocks = self.counts.clusters().div_ceil(per_block);
        let mut highest = 0;
        let mut tables = self.block_reader(blocks, fix != Fix::default());
        for number in 0..blocks {
            let clusters =
                number * per_block..((number + 1) * per_block).min(self.counts.clusters());
            match self.block(number, &mut tables).await {
                Block::Absent => {
                    if !self.counts.surely_unused(clusters.start, clusters.end) {
                        self.compare_block(clusters, &mut Vec::new(), fix, &mut highest);
                    }
                }
                Block::Bytes(offset, mut bytes) => {
                    let freed = self.compare_block(clusters, &mut bytes, fix, &mut highest);
                    if let Some(freed) = freed {
                        self.frozen.write(offset, &bytes).await?;
                        self.let_go(freed).await?;
                    }
                }
                Block::Bad(errno) => {
                    for cluster in clusters {
                        self.say(&format!(
                            "Can't get refcount for cluster {cluster}: {}",
                            qapi::strerror(errno)
                        ));
                        self.report.check_errors += 1;
                    }
                }
            }
        }
        Ok(highest)
    }

    /// Reads the blocks that [`Run::block`] asks for.
    fn block_reader(&self, blocks: u64, lazy: bool) -> TableReader {
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        let (cluster, mask) = (self.cluster_size(), !TABLE_RESERVED);
        let table = self.frozen.refcount_table.iter().take(blocks);
        let there = |entry: &u64| entry & mask != 0 && (entry & mask).is_multiple_of(cluster);
        let list = Arc::new(table.copied().filter(there).collect());
        TableReader::new(&self.frozen.file, cluster, (list, mask), lazy)
    }

    async fn block(&mut self, number: u64, tables: &mut TableReader) -> Block {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let entry = self.frozen.refcount_table.get(index).copied().unwrap_or(0);
        let offset = entry & !TABLE_RESERVED;
        if offset == 0 {
            return Block::Absent;
        }
        if !offset.is_multiple_of(self.cluster_size()) {
            let what = format!(
                "Refblock offset {} unaligned (reftable index: {})",
                hex(offset),
                hex(number)
            );
            self.image.tell_corrupt(&what).await;
            return Block::Bad(5);
        }
        match tables.next().await {
            Ok(bytes) => Block::Bytes(offset, bytes.to_vec()),
            Err(error) => {
                // An offset that no file can have.
                let errno = error.raw_os_error().filter(|errno| *errno != 22);
                Block::Bad(errno.unwrap_or(5))
            }
        }
    }

    /// Compares the clusters of one block (no bytes: all zero). `Some` if the block has changed, with what became free.
    fn compare_block(
        &mut self,
        clusters: std::ops::Range<u64>,
        bytes: &mut [u8],
        fix: Fix,
        highest: &mut u64,
    ) -> Option<Vec<u64>> {
        let order = self.frozen.order();
        if let Some(last) = self.equal(&clusters, bytes) {
            *highest = last.unwrap_or(*highest);
            return None;
        }
        let mut changed = None;
        for (index, cluster) in clusters.enumerate() {
            let stored = if bytes.is_empty() {
                0
            } else {
                get(bytes, index, order)
            };
            let used = self.counts.get(cluster);
            if stored > 0 || used > 0 {
                *highest = cluster;
            }
            if stored == used {
                continue;
            }
            let leak = stored > used;
            let mends = stored > 0 && if leak { fix.leaks } else { fix.errors };
            self.rebuild |= stored == 0;
            let verb = match (mends, leak) {
                (true, _) => "Repairing",
                (false, true) => "Leaked",
                (false, false) => "ERROR",
            };
            self.say(&format!(
                "{verb} cluster {cluster} refcount={stored} reference={used}"
            ));
            let report = &mut self.report;
            match (mends, leak) {
                (true, true) => report.leaks_fixed += 1,
                (true, false) => report.corruptions_fixed += 1,
                (false, true) => report.leaks += 1,
                (false, false) => report.corruptions += 1,
            }
            if mends {
                set(bytes, index, order, used);
                let freed = changed.get_or_insert_with(Vec::new);
                freed.extend((used == 0).then_some(cluster));
            }
        }
        changed
    }

    /// Whether all refcounts of a block, 16 bits wide, are as counted; then, the last cluster in use.
    fn equal(&self, clusters: &std::ops::Range<u64>, bytes: &[u8]) -> Option<Option<u64>> {
        const WIDTH_16: u32 = 4;
        if self.frozen.order() != WIDTH_16 || bytes.is_empty() {
            return None;
        }
        let uses = self
            .counts
            .small(clusters.start, clusters.end - clusters.start)?;
        let stored = bytes.chunks_exact(2);
        let equal = uses
            .iter()
            .zip(stored)
            .all(|(uses, stored)| stored == [0, *uses]);
        let last = uses.iter().rposition(|uses| *uses > 0);
        equal.then(|| last.map(|at| clusters.start + at as u64))
    }

    /// Gives clusters that nothing uses any more back to the file system, if it takes them.
    async fn let_go(&mut self, freed: Vec<u64>) -> io::Result<()> {
        if freed.is_empty() {
            return Ok(());
        }
        let file = &self.frozen.file;
        file.flush().await?;
        for cluster in freed {
            let offset = cluster << self.bits();
            if offset < self.length && file.discard(offset, self.cluster_size()).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
