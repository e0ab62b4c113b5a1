//! Which clusters hold metadata: nothing may be placed there, whatever the refcounts say.

use std::collections::HashSet;

use super::header::Header;
use super::layout::OFFSET_MASK;

/// A number as `%#x` prints it.
pub(crate) fn hex(number: u64) -> String {
    if number == 0 {
        "0".to_owned()
    } else {
        format!("{number:#x}")
    }
}

/// Ranges of clusters known from the header, and single clusters of tables.
#[derive(Default)]
pub(crate) struct Occupied {
    /// (first cluster, count, name)
    ranges: Vec<(u64, u64, &'static str)>,
    l2_tables: HashSet<u64>,
    refcount_blocks: HashSet<u64>,
}

impl Occupied {
    /// From the header, the active L1 table and the refcount table.
    pub(crate) fn new(header: &Header, l1: &[u64], refcount_table: &[u64]) -> Self {
        let bits = header.cluster_bits;
        let clusters = |bytes: u64| bytes.div_ceil(1 << bits);
        let tables = |entries: &[u64]| {
            let offsets = entries.iter().map(|e| e & OFFSET_MASK).filter(|o| *o != 0);
            offsets.map(|o| o >> bits).collect()
        };
        let mut occupied = Self {
            ranges: vec![(0, 1, "qcow2_header")],
            l2_tables: tables(l1),
            refcount_blocks: tables(refcount_table),
        };
        occupied.ranges.push((
            header.l1_offset >> bits,
            clusters(u64::from(header.l1_size) * 8),
            "active L1 table",
        ));
        occupied.ranges.push((
            header.refcount_table_offset >> bits,
            u64::from(header.refcount_table_clusters),
            "refcount table",
        ));
        if header.nb_snapshots > 0 {
            occupied
                .ranges
                .push((header.snapshots_offset >> bits, 1, "snapshot table"));
        }
        occupied
    }

    /// What is at a cluster, if it is metadata.
    pub(crate) fn name(&self, cluster: u64) -> Option<&'static str> {
        let range = self
            .ranges
            .iter()
            .find(|(first, count, _)| (*first..first + count).contains(&cluster));
        if let Some((_, _, name)) = range {
            return Some(name);
        }
        if self.l2_tables.contains(&cluster) {
            return Some("active L2 table");
        }
        self.refcount_blocks
            .contains(&cluster)
            .then_some("refcount block")
    }

    /// The first cluster of a run that is metadata, with its name.
    pub(crate) fn first_in(&self, first: u64, count: u64) -> Option<(u64, &'static str)> {
        (first..first + count).find_map(|c| self.name(c).map(|name| (c, name)))
    }

    pub(crate) fn add_l2(&mut self, cluster: u64) {
        self.l2_tables.insert(cluster);
    }

    pub(crate) fn remove_l2(&mut self, cluster: u64) {
        self.l2_tables.remove(&cluster);
    }

    pub(crate) fn add_block(&mut self, cluster: u64) {
        self.refcount_blocks.insert(cluster);
    }
}
