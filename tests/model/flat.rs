//! What the bytes of a disk may be: each sector holds one value, or one of several while a write is not yet safe.

/// Bytes of a sector.
pub(crate) const SECTOR: u64 = 512;

/// A disk's content, sector by sector.
#[derive(Clone)]
pub(crate) struct Flat {
    sectors: Vec<Vec<u8>>,
}

impl Flat {
    /// All zero.
    pub(crate) fn new(size: u64) -> Self {
        let count = usize::try_from(size / SECTOR).expect("disks of tests are small");
        Self {
            sectors: vec![vec![0]; count],
        }
    }

    fn range(offset: u64, len: u64) -> std::ops::Range<usize> {
        let at = |bytes: u64| usize::try_from(bytes / SECTOR).expect("disks of tests are small");
        at(offset)..at(offset + len)
    }

    /// Sectors may hold `value` from now on, or what they held.
    pub(crate) fn may_become(&mut self, offset: u64, len: u64, value: u8) {
        for sector in &mut self.sectors[Self::range(offset, len)] {
            sector.push(value);
        }
    }

    /// The state after writes (offset, length, value, whether the old value may stay) that all were done, in this order,
    /// from where `old` began.
    pub(crate) fn rewind(&mut self, old: &Self, done: impl Iterator<Item = (u64, u64, u8, bool)>) {
        for (sector, old) in self.sectors.iter_mut().zip(&old.sectors) {
            *sector = vec![old[0]];
        }
        for (offset, len, value, may_stay) in done {
            for sector in &mut self.sectors[Self::range(offset, len)] {
                if !may_stay {
                    sector.clear();
                }
                sector.push(value);
            }
        }
    }

    /// Compares with what was read, which becomes the truth.
    ///
    /// # Panics
    /// At the first sector that holds what it cannot.
    pub(crate) fn check(&mut self, bytes: &[u8]) {
        assert_eq!(
            bytes.len() as u64,
            self.sectors.len() as u64 * SECTOR,
            "size"
        );
        let chunks = bytes.chunks(512);
        for (index, (sector, read)) in self.sectors.iter_mut().zip(chunks).enumerate() {
            let value = read[0];
            assert!(
                read.iter().all(|b| *b == value) && sector.contains(&value),
                "sector {index} (offset {}) holds {value} and may hold {sector:?}",
                index * 512
            );
            *sector = vec![value];
        }
    }

    /// Another size; a grown part is zero.
    pub(crate) fn resize(&mut self, size: u64) {
        self.sectors.resize(Self::range(0, size).end, vec![0]);
    }
}
