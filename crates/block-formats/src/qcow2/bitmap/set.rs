//! The bitmaps of one open image and when writes are recorded in them.
//!
//! ```text
//! Idle ──(a bitmap is enabled)──> Armed ──(first write)──> Recording ──(stored)──> Idle or Armed
//! ```
//!
//! Armed: something records, but the image does not say so yet. The first write then marks the stored bitmaps in use, so
//! that a reader after a crash does not trust them; only then are bits set. Idle images pay one atomic load a write.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use block_core::BitmapInfo;
use qapi::{Error, Result};

use super::bits::Bits;
use super::directory::{self, Entry, FLAG_AUTO, FLAG_IN_USE, Location, MAX_BITMAPS, MAX_DIRECTORY};

const IDLE: u8 = 0;
const ARMED: u8 = 1;
const RECORDING: u8 = 2;

/// One bitmap.
#[derive(Debug, Clone)]
pub(super) struct Bitmap {
    pub(super) name: Vec<u8>,
    pub(super) granularity_bits: u32,
    pub(super) enabled: bool,
    /// Was in use when the image was last closed.
    pub(super) inconsistent: bool,
    /// Its bits, once read.
    pub(super) bits: Option<Arc<Bits>>,
    /// Its entry in the image's directory, when the bits it leads to are current.
    pub(super) stored: Option<Entry>,
}

/// What is known of the image and its bitmaps.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) list: Vec<Bitmap>,
    /// Where the directory in the image is.
    pub(super) location: Option<Location>,
    /// The directory in the image, entry by entry.
    pub(super) directory: Vec<Entry>,
    /// The image says of all bitmaps that a write makes untrue that they are in use.
    pub(super) in_use: bool,
    /// The directory in the image is out of date: to be stored at close.
    pub(super) changed: bool,
}

/// The bitmaps of an open image.
pub(in crate::qcow2) struct BitmapSet {
    phase: AtomicU8,
    recording: ArcSwap<Vec<Arc<Bits>>>,
    state: Mutex<State>,
    /// Held while bitmaps are read from or written to the image.
    pub(super) io: tokio::sync::Mutex<()>,
}

impl BitmapSet {
    /// From the directory of an image.
    pub(in crate::qcow2) fn new(location: Option<Location>, entries: Vec<Entry>) -> Self {
        let list = entries.iter().cloned().map(Bitmap::from_entry).collect();
        let set = Self {
            phase: AtomicU8::new(IDLE),
            recording: ArcSwap::default(),
            state: Mutex::new(State {
                list,
                location,
                directory: entries,
                ..State::default()
            }),
            io: tokio::sync::Mutex::default(),
        };
        set.refresh_phase();
        set
    }

    /// Records a write. `false`: the image has to be marked first, by `Qcow2::record_write`; nothing is recorded.
    #[must_use]
    pub(in crate::qcow2) fn mark_dirty(&self, offset: u64, len: u64) -> bool {
        match self.phase.load(Ordering::Acquire) {
            IDLE => true,
            RECORDING => {
                for bits in &**self.recording.load() {
                    bits.mark(offset, len);
                }
                true
            }
            _ => false,
        }
    }

    /// What `info` lists.
    pub(in crate::qcow2) fn infos(&self) -> Vec<BitmapInfo> {
        self.state().list.iter().map(Bitmap::info).collect()
    }

    /// Whether there is none.
    pub(in crate::qcow2) fn is_empty(&self) -> bool {
        self.state().list.is_empty()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides anew, after a change of the list, whether writes are of interest.
    pub(super) fn refresh_phase(&self) {
        let state = self.state();
        let recording = state.list.iter().filter(|b| b.records());
        let trusted = state.directory.iter().any(records_in_image);
        let phase = if recording.clone().next().is_none() && (state.in_use || !trusted) {
            IDLE
        } else if state.in_use {
            let bits = recording.filter_map(|b| b.bits.clone()).collect();
            self.recording.store(Arc::new(bits));
            RECORDING
        } else {
            ARMED
        };
        self.phase.store(phase, Ordering::Release);
    }

    /// Finds a bitmap that can be used.
    ///
    /// # Errors
    /// In the reference's words when there is none or it is inconsistent.
    pub(super) fn usable(&self, name: &str) -> Result<Bitmap> {
        let state = self.state();
        let found = state.list.iter().find(|b| b.name == name.as_bytes());
        let bitmap = found.ok_or_else(|| not_found(name))?;
        if bitmap.inconsistent {
            return Err(inconsistent(name));
        }
        Ok(bitmap.clone())
    }

    /// Changes one bitmap of the list. The image's marks are checked again before the next write.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut Bitmap)) -> Result<()> {
        self.edit(name, |list, at| change(&mut list[at]))
    }

    /// Takes one out of the list.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        self.edit(name, |list, at| {
            list.remove(at);
        })
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<Bitmap>, usize)) -> Result<()> {
        let mut state = self.state();
        let at = state.list.iter().position(|b| b.name == name.as_bytes());
        change(&mut state.list, at.ok_or_else(|| not_found(name))?);
        state.edited();
        drop(state);
        self.refresh_phase();
        Ok(())
    }

    /// Whether the directory can take one more bitmap of this name.
    ///
    /// # Errors
    /// In the reference's words.
    pub(super) fn check_room(&self, name: &str) -> Result<()> {
        let state = self.state();
        if state.list.len() as u64 >= u64::from(MAX_BITMAPS) {
            return Err(Error::new(
                "Maximum number of persistent bitmaps is already reached",
            ));
        }
        let names = state.list.iter().map(|b| b.name.as_slice());
        if directory::encoded_len(names.chain([name.as_bytes()])) > MAX_DIRECTORY {
            return Err(Error::new("Not enough space in the bitmap directory"));
        }
        Ok(())
    }

    /// Puts a new one at the end of the list.
    pub(super) fn push(&self, bitmap: Bitmap) {
        let mut state = self.state();
        state.list.push(bitmap);
        state.edited();
        drop(state);
        self.refresh_phase();
    }
}

impl State {
    fn edited(&mut self) {
        self.changed = true;
        self.in_use = false;
    }
}

impl Bitmap {
    fn from_entry(entry: Entry) -> Self {
        Self {
            name: entry.name.clone(),
            granularity_bits: entry.granularity_bits,
            enabled: entry.flags & FLAG_AUTO != 0,
            inconsistent: entry.flags & FLAG_IN_USE != 0,
            bits: None,
            stored: Some(entry),
        }
    }

    /// An empty, recording one that is nowhere stored.
    pub(super) fn new(name: &str, granularity_bits: u32, size: u64) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            granularity_bits,
            enabled: true,
            inconsistent: false,
            bits: Some(Arc::new(Bits::new(size, granularity_bits))),
            stored: None,
        }
    }

    /// Whether writes go into it.
    pub(super) fn records(&self) -> bool {
        self.enabled && !self.inconsistent
    }

    fn info(&self) -> BitmapInfo {
        BitmapInfo {
            name: String::from_utf8_lossy(&self.name).into_owned(),
            granularity: 1 << self.granularity_bits,
            enabled: self.enabled,
            inconsistent: self.inconsistent,
        }
    }

    /// Flags as stored at close.
    pub(super) fn flags(&self) -> u32 {
        let auto = if self.enabled { FLAG_AUTO } else { 0 };
        let in_use = if self.inconsistent { FLAG_IN_USE } else { 0 };
        auto | in_use
    }
}

/// Whether a reader of the image would take a stored bitmap as up to date with writes.
fn records_in_image(entry: &Entry) -> bool {
    entry.flags & FLAG_AUTO != 0 && entry.flags & FLAG_IN_USE == 0
}

fn not_found(name: &str) -> Error {
    Error::new(format!("Dirty bitmap '{name}' not found"))
}

/// The refusal to use a bitmap that was in use when the image was last closed.
pub(super) fn inconsistent(name: &str) -> Error {
    Error::new(format!(
        "Bitmap '{name}' is inconsistent and cannot be used"
    ))
    .hint("Try block-dirty-bitmap-remove to delete this bitmap from disk")
}
