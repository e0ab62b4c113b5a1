//! A dirty bitmap in memory: one bit a granule, set from any thread without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of one bitmap over a disk of fixed size.
#[derive(Debug)]
pub(in crate::qcow2) struct Bits {
    words: Box<[AtomicU64]>,
    granularity_bits: u32,
    size: u64,
}

impl Bits {
    /// All clean, for a disk of `size` bytes.
    pub(in crate::qcow2) fn new(size: u64, granularity_bits: u32) -> Self {
        let count = count(size, granularity_bits);
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(usize::MAX);
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            granularity_bits,
            size,
        }
    }

    /// Bytes of disk it covers.
    pub(in crate::qcow2) fn size(&self) -> u64 {
        self.size
    }

    /// Sets the bits of every granule that the range touches; what lies past the disk's end is left away.
    pub(in crate::qcow2) fn mark(&self, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.size);
        if offset >= end {
            return;
        }
        let first = offset >> self.granularity_bits;
        let last = (end - 1) >> self.granularity_bits;
        self.set_bits(first, last);
    }

    fn set_bits(&self, first: u64, last: u64) {
        let (first_word, last_word) = (first / 64, last / 64);
        for word in first_word..=last_word {
            let low = if word == first_word { first % 64 } else { 0 };
            let high = if word == last_word { last % 64 } else { 63 };
            let mask = (u64::MAX >> (63 - (high - low))) << low;
            let Some(slot) = usize::try_from(word).ok().and_then(|w| self.words.get(w)) else {
                return;
            };
            // Most writes hit granules that are dirty already: no store, no cache line taken from other threads.
            if slot.load(Ordering::Relaxed) & mask != mask {
                slot.fetch_or(mask, Ordering::AcqRel);
            }
        }
    }

    /// Dirty ranges in bytes (offset, length), ascending and not touching; the last ends with the disk.
    pub(in crate::qcow2) fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (base, word) in (0_u64..).step_by(64).zip(&self.words) {
            let mut left = word.load(Ordering::Acquire);
            while left != 0 {
                let skip = u64::from(left.trailing_zeros());
                let run = u64::from((left >> skip).trailing_ones());
                left &= !((u64::MAX >> (64 - run)) << skip);
                self.push(&mut ranges, base + skip, run);
            }
        }
        ranges
    }

    fn push(&self, ranges: &mut Vec<(u64, u64)>, first: u64, run: u64) {
        let start = first << self.granularity_bits;
        let end = ((first + run) << self.granularity_bits).min(self.size);
        match ranges.last_mut() {
            Some((offset, len)) if *offset + *len == start => *len = end - *offset,
            _ => ranges.push((start, end - start)),
        }
    }

    /// The same bits for a disk of another size; new granules are clean.
    pub(in crate::qcow2) fn resized(&self, size: u64) -> Self {
        let new = Self::new(size, self.granularity_bits);
        for (offset, len) in self.ranges() {
            new.mark(offset, len);
        }
        new
    }

    /// One table cluster's worth of bits as stored: least significant bit first, little endian.
    /// `None` when all are clean.
    pub(in crate::qcow2) fn store(&self, index: u64, cluster_size: u64) -> Option<Vec<u8>> {
        let per = cluster_size / 8;
        let start = usize::try_from(index.checked_mul(per)?).ok()?;
        let words = self.words.get(start..)?;
        let words = &words[..words.len().min(usize::try_from(per).ok()?)];
        if words.iter().all(|w| w.load(Ordering::Acquire) == 0) {
            return None;
        }
        let mut bytes: Vec<u8> = words
            .iter()
            .flat_map(|w| w.load(Ordering::Acquire).to_le_bytes())
            .collect();
        bytes.resize(usize::try_from(cluster_size).ok()?, 0);
        Some(bytes)
    }

    /// Takes one table cluster's worth of bits; bits past the disk's end are dropped.
    pub(in crate::qcow2) fn load(&self, index: u64, cluster: &[u8]) {
        let per = cluster.len() / 8;
        let Some(start) = usize::try_from(index).ok().and_then(|i| i.checked_mul(per)) else {
            return;
        };
        let words = self.words.get(start..).unwrap_or_default();
        for (word, bytes) in words.iter().zip(cluster.chunks_exact(8)) {
            if let Ok(bytes) = bytes.try_into() {
                word.store(u64::from_le_bytes(bytes), Ordering::Release);
            }
        }
        self.trim();
    }

    /// Sets all bits that one table cluster stands for.
    pub(in crate::qcow2) fn load_ones(&self, index: u64, cluster_size: u64) {
        let per = cluster_size * 8;
        let total = count(self.size, self.granularity_bits);
        let Some(first) = index.checked_mul(per).filter(|first| *first < total) else {
            return;
        };
        self.set_bits(first, (first + per).min(total) - 1);
    }

    fn trim(&self) {
        let used = count(self.size, self.granularity_bits) % 64;
        if let (true, Some(last)) = (used != 0, self.words.last()) {
            last.fetch_and(u64::MAX >> (64 - used), Ordering::AcqRel);
        }
    }
}

/// Bits of a bitmap over `size` bytes.
pub(in crate::qcow2) fn count(size: u64, granularity_bits: u32) -> u64 {
    let granules = size >> granularity_bits;
    granules + u64::from(granules << granularity_bits != size)
}

/// Entries of the bitmap's table.
pub(in crate::qcow2) fn table_len(size: u64, granularity_bits: u32, cluster_size: u64) -> u64 {
    count(size, granularity_bits)
        .div_ceil(8)
        .div_ceil(cluster_size)
}
