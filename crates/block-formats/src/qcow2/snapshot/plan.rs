//! Where the parts of a new refcount structure go, when it is put behind everything else in the file.
//!
//! ```text
//! | image as it was | refcount blocks ... | refcount table |
//!                   ^ start
//! ```

use std::collections::BTreeSet;

/// Longest refcount table in bytes.
const MAX_TABLE: u64 = 8 << 20;

/// Places, in clusters.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::qcow2) struct Plan {
    /// The first cluster; blocks come first.
    pub(in crate::qcow2) start: u64,
    /// Blocks to write (their index in the table), ascending.
    pub(in crate::qcow2) blocks: Vec<u64>,
    /// Clusters of the table behind them.
    pub(in crate::qcow2) table_clusters: u64,
}

impl Plan {
    /// For writing the blocks `wanted` and those that count the new structure itself, from cluster `start` on.
    /// `None` when the table would be too long.
    pub(in crate::qcow2) fn new(
        mut wanted: BTreeSet<u64>,
        start: u64,
        per_block: u64,
        cluster_size: u64,
    ) -> Option<Self> {
        let mut end = start + 1;
        loop {
            wanted.extend(start / per_block..=(end - 1) / per_block);
            let last = wanted.last().copied().unwrap_or(0);
            let table_clusters = ((last + 1) * 8).div_ceil(cluster_size);
            if table_clusters * cluster_size > MAX_TABLE {
                return None;
            }
            let needed = start + wanted.len() as u64 + table_clusters;
            if needed <= end {
                return Some(Self {
                    start,
                    blocks: wanted.into_iter().collect(),
                    table_clusters,
                });
            }
            end = needed;
        }
    }

    /// First cluster of the table.
    pub(in crate::qcow2) fn table_start(&self) -> u64 {
        self.start + self.blocks.len() as u64
    }

    /// Whether the structure itself lies on this cluster.
    pub(in crate::qcow2) fn contains(&self, cluster: u64) -> bool {
        (self.start..self.table_start() + self.table_clusters).contains(&cluster)
    }
}
