//! The table of offsets: checked once from end to end, then read where it is needed, since it may have 512 MiB.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use block_core::Edge;
use qapi::Result;

use super::header::{HEADER, MAX_BLOCK};
use crate::bytes::be64;
use crate::make::invalid;
use crate::read_only::could_not_read;

/// Entries of a piece that is kept; one more is read with it, the end of its last block.
const PIECE: u64 = 8192;
/// Entries that the check reads at once.
const STRIDE: u64 = 64 * 1024;
/// A block that does not get shorter may get longer, but not by so much.
const MAX_PACKED: u64 = 2 * MAX_BLOCK as u64;

pub(super) struct Offsets {
    file: Arc<Edge>,
    /// How many blocks there are; there is one entry more.
    blocks: u64,
    /// Bytes of the file.
    length: u64,
    /// The piece read last: its number and entries.
    last: Mutex<Option<(u64, Arc<Vec<u64>>)>>,
}

impl Offsets {
    pub(super) fn new(file: Arc<Edge>, blocks: u32, length: u64) -> Self {
        Self {
            file,
            blocks: blocks.into(),
            length,
            last: Mutex::default(),
        }
    }

    /// Entries from `first` on; behind the end of the file they are 0.
    async fn read(&self, first: u64, count: u64) -> io::Result<Vec<u64>> {
        let count = count.min((self.blocks + 1).saturating_sub(first));
        let mut bytes = vec![0; usize::try_from(count * 8).map_err(io::Error::other)?];
        let at = HEADER as u64 + first * 8;
        self.file.read(at, &mut bytes).await?;
        Ok(bytes.chunks_exact(8).map(|entry| be64(entry, 0)).collect())
    }

    /// Looks at all entries.
    pub(super) async fn check(&self, name: &str) -> Result<()> {
        let mut before = 0;
        let mut index = 0;
        // Behind the end of the file all are 0: the first one there tells what the others would.
        let there = self.length.saturating_sub(HEADER as u64).div_ceil(8) + 1;
        let end = (self.blocks + 1).min(there);
        while index < end {
            let read = self.read(index, STRIDE.min(end - index)).await;
            for entry in read.map_err(|e| could_not_read(name, &e))? {
                if index > 0 {
                    check_pair(index, before, entry)?;
                }
                before = entry;
                index += 1;
            }
        }
        Ok(())
    }

    /// Where block `number` starts and ends, if that is known without reading.
    pub(super) fn known(&self, number: u64) -> Option<(u64, u64)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (piece, entries) = last.as_ref()?;
        if *piece != number / PIECE {
            return None;
        }
        pick(entries, number)
    }

    /// Where block `number` starts and ends.
    ///
    /// # Errors
    /// When the table cannot be read or is not what it was when it was checked.
    pub(super) async fn of(&self, number: u64) -> io::Result<(u64, u64)> {
        if let Some(found) = self.known(number) {
            return Ok(found);
        }
        let piece = number / PIECE;
        let entries = Arc::new(self.read(piece * PIECE, PIECE + 1).await?);
        let found = pick(&entries, number);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((piece, entries));
        found.ok_or_else(|| io::Error::from_raw_os_error(5))
    }
}

fn pick(entries: &[u64], number: u64) -> Option<(u64, u64)> {
    let at = usize::try_from(number % PIECE).ok()?;
    let (from, to) = (*entries.get(at)?, *entries.get(at + 1)?);
    (from <= to).then_some((from, to))
}

fn check_pair(index: u64, before: u64, entry: u64) -> Result<()> {
    let Some(len) = entry.checked_sub(before) else {
        return Err(invalid(format!(
            "offsets not monotonically increasing at index {index}, image file is corrupt"
        )));
    };
    if len > MAX_PACKED {
        return Err(invalid(format!(
            "invalid compressed block size at index {index}, image file is corrupt"
        )));
    }
    Ok(())
}
