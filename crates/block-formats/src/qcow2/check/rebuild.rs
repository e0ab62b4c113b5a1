//! A new refcount structure from the counted uses alone, in space that nothing uses.
//!
//! Until the header write that switches to it the old structure stays as it was; afterwards that is leaked space.

use std::collections::BTreeSet;
use std::io;

use super::Run;
use crate::qcow2::refcount::set;
use crate::qcow2::write_out::words;

const EFBIG: i32 = 27;

impl Run<'_> {
    /// Writes the structure and switches to it.
    pub(super) async fn build_refcounts(&mut self) -> io::Result<()> {
        let mut table = Vec::new();
        let mut stale = self.used_blocks();
        let (offset, clusters) = loop {
            self.place_blocks(&mut table, &mut stale)?;
            // Whole clusters of entries.
            let entries = (self.cluster_size() / 8).max(1);
            let clusters = (table.len() as u64).div_ceil(entries);
            let first = self.take(0, clusters);
            stale = self.blocks_of(first, clusters);
            let missing = stale
                .iter()
                .any(|b| slot(&table, *b).is_none_or(|o| *o == 0));
            if !missing {
                break (first << self.bits(), clusters);
            }
        };
        self.write_blocks(&table).await?;
        table.resize(
            usize::try_from(clusters * self.cluster_size() / 8).unwrap_or(0),
            0,
        );
        self.frozen.write(offset, &words(&table)).await?;
        self.frozen.file.flush().await?;
        let clusters = u32::try_from(clusters).map_err(|_| io::Error::from_raw_os_error(EFBIG))?;
        self.image
            .change_header(|header| {
                header.refcount_table_offset = offset;
                header.refcount_table_clusters = clusters;
            })
            .await?;
        self.frozen.header.refcount_table_offset = offset;
        self.frozen.header.refcount_table_clusters = clusters;
        self.frozen.refcount_table = table;
        self.measure()
    }

    /// Refcount blocks that have anything to count.
    fn used_blocks(&self) -> BTreeSet<u64> {
        let per_block = self.frozen.per_block();
        let blocks = 0..self.counts.clusters().div_ceil(per_block);
        blocks
            .filter(|block| {
                let (first, end) = (block * per_block, (block + 1) * per_block);
                !self.counts.surely_unused(first, end)
                    && (first..end).any(|cluster| self.counts.get(cluster) != 0)
            })
            .collect()
    }

    fn blocks_of(&self, first: u64, count: u64) -> BTreeSet<u64> {
        let per_block = self.frozen.per_block();
        (first / per_block..=(first + count - 1) / per_block).collect()
    }

    /// Finds room and counts it as used.
    fn take(&mut self, from: u64, count: u64) -> u64 {
        let first = self.counts.find_free(from, count);
        for cluster in first..first + count {
            self.counts.add(cluster);
        }
        first
    }

    /// Finds places for blocks, and for the blocks that count these.
    fn place_blocks(&mut self, table: &mut Vec<u64>, wanted: &mut BTreeSet<u64>) -> io::Result<()> {
        let per_block = self.frozen.per_block();
        while let Some(block) = wanted.pop_first() {
            let index = usize::try_from(block).map_err(|_| io::Error::from_raw_os_error(EFBIG))?;
            if index >= table.len() {
                table.resize(index + 1, 0);
            }
            if table[index] != 0 {
                continue;
            }
            let cluster = self.take(block * per_block, 1);
            table[index] = cluster << self.bits();
            let own = cluster / per_block;
            if slot(table, own).is_none_or(|offset| *offset == 0) {
                wanted.insert(own);
            }
        }
        Ok(())
    }

    async fn write_blocks(&mut self, table: &[u64]) -> io::Result<()> {
        let per_block = self.frozen.per_block();
        for (block, offset) in (0_u64..).zip(table).filter(|(_, offset)| **offset != 0) {
            let mut bytes = vec![0; 1 << self.bits()];
            for (index, cluster) in (block * per_block..(block + 1) * per_block).enumerate() {
                let uses = self.counts.get(cluster);
                if uses != 0 {
                    set(&mut bytes, index, self.frozen.order(), uses);
                }
            }
            self.frozen.write(*offset, &bytes).await?;
        }
        Ok(())
    }
}

fn slot(table: &[u64], block: u64) -> Option<&u64> {
    usize::try_from(block).ok().and_then(|at| table.get(at))
}
