//! The table of blocks (BAT): 64-bit entries of payload blocks, and after each chunk of them one of a bitmap of sectors,
//! which only differencing images use.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use block_core::Edge;

use super::header::MIB;
use super::regions::overlap;
use crate::tables::{Coding, Tables};

/// Bytes of an entry.
pub(super) const ENTRY: u64 = 8;
/// States of a block; what is not one of these cannot be.
pub(super) const NOT_PRESENT: u64 = 0;
pub(super) const ZERO: u64 = 2;
pub(super) const PRESENT: u64 = 6;
pub(super) const PARTLY: u64 = 7;
const UNDEFINED: u64 = 1;
const UNMAPPED: u64 = 3;
/// Unmapped, as a draft of the specification had it.
const UNMAPPED_DRAFT: u64 = 5;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// Not here: the parent's, or zeroes.
    Absent,
    Zero,
    /// At this offset.
    Data(u64),
    /// Some sectors at this offset, the others the parent's.
    Partly(u64),
    Bad,
}

/// What an entry says.
pub(super) fn block(raw: u64) -> Block {
    let offset = raw & !(MIB - 1);
    match raw & 7 {
        NOT_PRESENT => Block::Absent,
        UNDEFINED | ZERO | UNMAPPED | UNMAPPED_DRAFT => Block::Zero,
        PRESENT if offset >= MIB => Block::Data(offset),
        PARTLY if offset >= MIB => Block::Partly(offset),
        _ => Block::Bad,
    }
}

/// How entries are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Bytes of the disk.
    pub(super) size: u64,
    /// Bytes of a block.
    pub(super) block: u64,
    /// Blocks of a chunk.
    pub(super) ratio: u64,
}

impl Layout {
    /// `block` and `sector` are powers of two, the first at most the bytes of a chunk.
    pub(super) fn new(size: u64, block: u32, sector: u32) -> Self {
        let block = u64::from(block);
        Self {
            size,
            block,
            ratio: ((u64::from(sector) << 23) / block).max(1),
        }
    }

    /// Payload blocks of the disk.
    pub(super) fn blocks(&self) -> u64 {
        self.size.div_ceil(self.block)
    }

    /// Entries that the disk needs.
    pub(super) fn entries(&self, parent: bool) -> u64 {
        let blocks = self.blocks();
        if parent {
            return blocks.div_ceil(self.ratio) * (self.ratio + 1);
        }
        blocks + blocks.saturating_sub(1) / self.ratio
    }

    /// Where a block's entry is, and how many follow in its chunk.
    pub(super) fn entry(&self, block: u64) -> (u64, u64) {
        (block + block / self.ratio, self.ratio - block % self.ratio)
    }

    /// Where the entry of the bitmap of a block's chunk is.
    pub(super) fn bitmap_entry(&self, block: u64) -> u64 {
        block / self.ratio * (self.ratio + 1) + self.ratio
    }

    /// The block of an entry; `None` for one of a bitmap.
    pub(super) fn block_of(&self, entry: u64) -> Option<u64> {
        let (chunk, place) = (entry / (self.ratio + 1), entry % (self.ratio + 1));
        let block = chunk * self.ratio + place;
        (place < self.ratio && block < self.blocks()).then_some(block)
    }

    /// Bytes of the disk in a block.
    fn bytes_of(&self, block: u64) -> u64 {
        self.block.min(self.size - block * self.block)
    }
}

/// The entries in a region. `None` when it has no room for them, or is not in whole sectors: the log needs that.
pub(super) fn tables(file: &Arc<Edge>, region: &Range<u64>, entries: u64) -> Option<Tables> {
    const SECTOR: u64 = super::header::SECTOR as u64;
    let whole = entries.checked_next_multiple_of(SECTOR / ENTRY)?;
    let room = (region.end - region.start) / ENTRY;
    let good = region.start.is_multiple_of(SECTOR) && whole <= room;
    good.then(|| Tables::array(Arc::clone(file), Coding::Le64, region.start, whole))
}

/// Tells what is wrong with entries.
///
/// # Errors
/// When the file cannot be read.
pub(super) async fn faults(
    tables: &Tables,
    layout: &Layout,
    length: u64,
    regions: &[Range<u64>],
    mut tell: impl FnMut(String),
) -> io::Result<()> {
    tables
        .scan(|index, raw| {
            let Some(number) = layout.block_of(index) else {
                return;
            };
            let (Block::Data(offset) | Block::Partly(offset)) = block(raw) else {
                return;
            };
            let Some(end) = offset.checked_add(layout.block).filter(|e| *e <= i64::MAX as u64) else {
                tell(format!("VHDX BAT entry {index} offset overflow."));
                return;
            };
            // Others have made images whose last block ends with the disk.
            let used = offset + layout.bytes_of(number);
            let beyond = |what, at| {
                format!(
                    "VHDX BAT entry {index} {what} offset {at} points after end of file ({length}). Image has probably been truncated."
                )
            };
            if offset >= length {
                tell(beyond("start", offset));
            } else if used > length {
                tell(beyond("end", used - 1));
            }
            if let Some(other) = regions.iter().find(|r| overlap(r, &(offset..end))) {
                let (start, stop) = (other.start, other.end);
                tell(format!(
                    "VHDX region {offset}-{end} overlaps with region {start}-{stop}"
                ));
            }
        })
        .await
}
