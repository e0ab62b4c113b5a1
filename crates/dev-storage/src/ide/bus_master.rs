//! The bus master of one channel (SFF-8038i).
//!
//! ```text
//! 0 command: bit 0 start, bit 3 to memory     2 status: bit 0 active, 1 error, 2 interrupt, 5 6 drives can DMA
//! 4 address of the table: { address u32, bytes u16 (0: 64 KiB), flags u16 (bit 15 last) } *
//! ```

use hw_core::bits::{low8, low16, low32};
use hw_core::memory::{Dma, DmaError};
use serde::{Deserialize, Serialize};

use crate::scatter::{Stretch, Way};

const START: u8 = 1;
const ACTIVE: u8 = 1;
const ERROR: u8 = 2;
const INTERRUPT: u8 = 4;
const CAPABLE: u8 = 0x60;
const LAST: u16 = 0x8000;
/// Entries that a table can have: it must not cross 64 KiB.
const MOST_ENTRIES: u32 = 8192;

/// The registers, and how far the table has been used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BusMaster {
    command: u8,
    status: u8,
    table: u32,
    /// Next entry.
    entry: u32,
    stretch: Stretch,
    last: bool,
}

impl BusMaster {
    /// Whether a drive may transfer now.
    pub(super) fn running(&self) -> bool {
        self.command & START != 0 && self.status & ACTIVE != 0
    }

    pub(super) fn read(&self, offset: u64, bytes: usize) -> u64 {
        let mut file = [0; 8];
        file[0] = self.command;
        file[2] = self.status;
        file[4..].copy_from_slice(&self.table.to_le_bytes());
        hw_core::bits::read_le(&file, usize::try_from(offset).unwrap_or(8), bytes)
    }

    /// Gives whether it was just started.
    pub(super) fn write(&mut self, offset: u64, bytes: usize, value: u64) -> bool {
        match (offset, bytes) {
            (0, _) => {
                let before = self.command & START != 0;
                self.command = low8(value) & 0x09;
                let now = self.command & START != 0;
                if now && !before {
                    self.status |= ACTIVE;
                    (self.entry, self.stretch, self.last) = (0, Stretch::default(), false);
                    return true;
                }
                if !now {
                    self.status &= !ACTIVE;
                }
            }
            (2, _) => {
                let value = low8(value);
                let kept = self.status & ACTIVE;
                let cleared = self.status & !value & (ERROR | INTERRUPT);
                self.status = kept | cleared | value & CAPABLE;
            }
            (4, 4) => self.table = low32(value) & !3,
            (4, 2) => self.table = self.table & !0xffff | u32::from(low16(value) & !3),
            (6, 2) => self.table = self.table & 0xffff | u32::from(low16(value)) << 16,
            _ => {}
        }
        false
    }

    /// The drive raises its interrupt.
    pub(super) fn interrupt(&mut self) {
        self.status |= INTERRUPT;
    }

    /// The drive has moved all it had. The table may have room left; the channel is then still active.
    pub(super) fn finished(&mut self) {
        if self.stretch.is_used_up() && (self.last || self.entry == 0) {
            self.status &= !ACTIVE;
        }
    }

    /// The memory could not be reached.
    pub(super) fn failed(&mut self) {
        self.status = self.status & !ACTIVE | ERROR;
    }

    /// Moves bytes by the table; gives how many it had room for.
    ///
    /// # Errors
    /// The table or what it names is not in memory.
    pub(super) fn transfer(
        &mut self,
        dma: &Dma,
        way: Way,
        data: &mut [u8],
    ) -> Result<usize, DmaError> {
        let mut stretch = self.stretch;
        let moved = stretch.transfer(dma, way, data, || self.next_entry(dma));
        self.stretch = stretch;
        moved
    }

    fn next_entry(&mut self, dma: &Dma) -> Result<Option<Stretch>, DmaError> {
        if self.last || self.entry >= MOST_ENTRIES {
            return Ok(None);
        }
        let at = u64::from(self.table) + u64::from(self.entry) * 8;
        let raw = dma.read_uint(at, 8)?;
        let bytes = match low16(raw >> 32) & !1 {
            0 => 0x1_0000,
            bytes => bytes.into(),
        };
        self.last = low16(raw >> 48) & LAST != 0;
        self.entry += 1;
        Ok(Some(Stretch::new(u64::from(low32(raw) & !1), bytes)))
    }
}
