//! L2 tables in memory, in slices: fixed slots that readers look into without a lock.
//!
//! Only the holder of the metadata lock puts slices in or changes entries. Readers see each word whole; of an extended
//! entry they read the bitmap first and the offset second, writers store them the other way round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::layout::{Bitmap, Layout};

/// Most slices that are kept.
const MAX_SLICES: u64 = 6144;

/// A piece of an L2 table.
pub(crate) struct Slice {
    /// Which piece of the guest's disk it maps.
    pub(crate) number: u64,
    /// Where it is in the file; 0: the table is not there, and there are no words.
    pub(crate) host: u64,
    words: Box<[AtomicU64]>,
    /// Somebody has looked since unused ones were dropped last.
    used: AtomicBool,
    /// Some entry points where no data may be: nothing is written in place without a closer look.
    pub(crate) suspicious: bool,
}

impl Slice {
    /// A piece of a table that is not there.
    pub(crate) fn absent(number: u64) -> Self {
        Self {
            number,
            host: 0,
            words: Box::default(),
            used: AtomicBool::new(true),
            suspicious: false,
        }
    }

    /// From its bytes in the file.
    pub(crate) fn decode(number: u64, host: u64, bytes: &[u8]) -> Self {
        let words = bytes
            .chunks_exact(8)
            .filter_map(|word| word.try_into().ok())
            .map(|word| AtomicU64::new(u64::from_be_bytes(word)));
        Self {
            number,
            host,
            words: words.collect(),
            used: AtomicBool::new(true),
            suspicious: false,
        }
    }

    /// Notes a look; written only where that is news, as many look at once.
    fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// As stored in the file.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for word in &self.words {
            out.extend_from_slice(&word.load(Ordering::Acquire).to_be_bytes());
        }
    }

    /// An entry: first word and bitmap (empty without subclusters). Zeroes where the table is not there.
    pub(crate) fn get(&self, layout: Layout, index: usize) -> (u64, Bitmap) {
        let at = index * layout.entry_words();
        let bitmap = if layout.extended {
            self.word(at + 1)
        } else {
            0
        };
        (self.word(at), Bitmap(bitmap))
    }

    /// How many entries behind one, at most `most`, say the same of the clusters behind its own: each word is larger by `step`.
    /// Not for subclusters.
    pub(crate) fn run_behind(&self, index: usize, step: u64, most: usize) -> usize {
        let words = self.words.get(index..).unwrap_or_default();
        let first = self.word(index);
        let behind = words.iter().skip(1).take(most);
        behind
            .zip(1..)
            .take_while(|(word, k)| {
                let expected = first.checked_add(step.saturating_mul(*k));
                expected == Some(word.load(Ordering::Acquire))
            })
            .count()
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |w| w.load(Ordering::Acquire))
    }

    /// Changes an entry.
    pub(crate) fn set(&self, layout: Layout, index: usize, word: u64, bitmap: Bitmap) {
        let at = index * layout.entry_words();
        if let Some(slot) = self.words.get(at) {
            slot.store(word, Ordering::Release);
        }
        if layout.extended
            && let Some(slot) = self.words.get(at + 1)
        {
            slot.store(bitmap.0, Ordering::Release);
        }
    }
}

/// The slices kept.
pub(crate) struct SliceCache {
    slots: Box<[ArcSwapOption<Slice>]>,
}

impl SliceCache {
    /// Room for `budget` bytes of slices, or for all of the disk if that is less. Slices of small clusters map little and take
    /// more than their bytes, so they are not kept in any number.
    pub(crate) fn new(layout: Layout, size: u64, budget: u64) -> Self {
        let all = layout.slice_of(size.saturating_sub(1)) + 2;
        let slots = (budget / layout.slice_bytes)
            .min(MAX_SLICES)
            .clamp(2, all.max(2));
        Self {
            slots: (0..slots).map(|_| ArcSwapOption::empty()).collect(),
        }
    }

    /// How many slices are kept at most.
    pub(crate) fn room(&self) -> u64 {
        self.slots.len() as u64
    }

    fn slot(&self, number: u64) -> &ArcSwapOption<Slice> {
        let slots = self.slots.len() as u64;
        &self.slots[usize::try_from(number % slots).unwrap_or(0)]
    }

    /// Looks at a slice, if it is here.
    pub(crate) fn with<T>(&self, number: u64, look: impl FnOnce(&Slice) -> T) -> Option<T> {
        let slot = self.slot(number).load();
        slot.as_ref().filter(|s| s.number == number).map(|s| {
            s.touch();
            look(s)
        })
    }

    /// A slice, if it is here.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<Slice>> {
        let slice = self
            .slot(number)
            .load_full()
            .filter(|s| s.number == number)?;
        slice.touch();
        Some(slice)
    }

    /// Puts a slice in, in place of another one.
    pub(crate) fn put(&self, slice: Arc<Slice>) {
        self.slot(slice.number).store(Some(slice));
    }

    /// Takes out what nobody has looked at since the last call; gives the number of slices.
    pub(crate) fn drop_unused(&self) -> usize {
        let unused = |slot: &&ArcSwapOption<Slice>| {
            let slice = slot.load();
            slice
                .as_ref()
                .is_some_and(|s| !s.used.swap(false, Ordering::Relaxed))
        };
        let unused = self.slots.iter().filter(unused);
        unused.map(|slot| slot.store(None)).count()
    }

    /// Takes everything out.
    pub(crate) fn clear(&self) {
        for slot in &self.slots {
            slot.store(None);
        }
    }
}
