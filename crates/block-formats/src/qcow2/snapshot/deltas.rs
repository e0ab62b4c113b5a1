//! By how much the refcount of each host cluster is to change, gathered first and applied in bulk.
//!
//! A snapshot changes the refcount of every cluster of the disk. Counting in memory first lets overflow be seen before
//! anything changes, and each refcount block be written once.

use std::collections::{BTreeSet, HashMap};
use std::io;

/// Clusters in one piece of the count.
const PIECE: u64 = 256;
const COUNTS: usize = 256;
/// Pieces that may be held (1 KiB each): bounds memory when a damaged image scatters its mappings.
const MAX_PIECES: usize = 512 << 10;

/// Changes by host cluster.
#[derive(Default)]
pub(in crate::qcow2) struct Deltas {
    pieces: HashMap<u64, Box<[i32; COUNTS]>>,
}

impl Deltas {
    /// Changes `clusters` clusters from `first` on by `by`.
    ///
    /// # Errors
    /// `EFBIG` when there is too much to count, `EIO` when a cluster is used more often than a mapping can.
    pub(in crate::qcow2) fn add(&mut self, first: u64, clusters: u64, by: i32) -> io::Result<()> {
        let end = first.checked_add(clusters).ok_or_else(damaged)?;
        let mut at = first;
        while at < end {
            let stop = ((at / PIECE + 1) * PIECE).min(end);
            let counts = self.piece(at / PIECE)?;
            let from = usize::try_from(at % PIECE).map_err(|_| damaged())?;
            let len = usize::try_from(stop - at).map_err(|_| damaged())?;
            for count in &mut counts[from..from + len] {
                *count = count.checked_add(by).ok_or_else(damaged)?;
            }
            at = stop;
        }
        Ok(())
    }

    /// The change of one cluster.
    pub(in crate::qcow2) fn of(&self, cluster: u64) -> i32 {
        let counts = self.pieces.get(&(cluster / PIECE));
        let index = usize::try_from(cluster % PIECE).unwrap_or(0);
        counts.map_or(0, |counts| counts[index])
    }

    /// Refcount blocks of `per_block` entries that change.
    pub(in crate::qcow2) fn blocks(&self, per_block: u64) -> BTreeSet<u64> {
        let changed = self.pieces.iter().flat_map(|(key, counts)| {
            (key * PIECE..)
                .zip(counts.iter())
                .filter(|(_, count)| **count != 0)
        });
        changed.map(|(cluster, _)| cluster / per_block).collect()
    }

    fn piece(&mut self, key: u64) -> io::Result<&mut [i32; COUNTS]> {
        const EFBIG: i32 = 27;
        if self.pieces.len() >= MAX_PIECES && !self.pieces.contains_key(&key) {
            return Err(io::Error::from_raw_os_error(EFBIG));
        }
        Ok(self
            .pieces
            .entry(key)
            .or_insert_with(|| Box::new([0; COUNTS])))
    }
}

fn damaged() -> io::Error {
    io::Error::from_raw_os_error(5)
}
