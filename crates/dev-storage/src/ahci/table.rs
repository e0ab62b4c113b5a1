//! Commands in memory (AHCI 1.3.1, section 4.2): a list of 32 headers, each with a table.
//!
//! ```text
//! header, 32 bytes:  0 flags (bit 5 packet), 2 entries, 4 bytes moved, 8 address of the table (multiple of 128)
//! table:             0 frame to the drive, 0x40 packet, 0x80 entries of 16 bytes { address u64, -, bytes - 1 (22 bits) }
//! ```

use hw_core::bits::{low16, low32};
use hw_core::memory::{Dma, DmaError};
use serde::{Deserialize, Serialize};

use super::fis::COMMAND_BYTES;
use crate::scatter::{Stretch, Way};

/// Bytes of a packet.
pub(super) const PACKET: usize = 16;
const HEADER: u64 = 32;
const ENTRIES: u64 = 0x80;
const ENTRY: u64 = 16;
const SIZE: u64 = 0x3f_ffff;

/// A command under way: where its table is and how much of it was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    header: u64,
    at: u64,
    entries: u32,
    /// Next entry.
    entry: u32,
    stretch: Stretch,
    /// Bytes moved so far.
    moved: u32,
}

impl Table {
    /// The command of a slot (0 to 31) of the list.
    pub(super) fn open(dma: &Dma, list: u64, slot: u8) -> Result<Self, DmaError> {
        let header = list.wrapping_add(HEADER * u64::from(slot));
        let first = dma.read_uint(header, 8)?;
        let at = dma.read_uint(header.wrapping_add(8), 8)? & !0x7f;
        Ok(Self {
            header,
            at,
            entries: u32::from(low16(first >> 16)),
            ..Self::default()
        })
    }

    pub(super) fn frame(&self, dma: &Dma) -> Result<[u8; COMMAND_BYTES], DmaError> {
        let mut raw = [0; COMMAND_BYTES];
        dma.read(self.at, &mut raw)?;
        Ok(raw)
    }

    pub(super) fn packet(&self, dma: &Dma) -> Result<[u8; PACKET], DmaError> {
        let mut raw = [0; PACKET];
        dma.read(self.at.wrapping_add(0x40), &mut raw)?;
        Ok(raw)
    }

    /// Moves bytes by the entries; gives how many they had room for.
    pub(super) fn transfer(
        &mut self,
        dma: &Dma,
        way: Way,
        data: &mut [u8],
    ) -> Result<usize, DmaError> {
        let mut stretch = self.stretch;
        let moved = stretch.transfer(dma, way, data, || self.next_entry(dma));
        self.stretch = stretch;
        let moved = moved?;
        self.moved = self.moved.wrapping_add(low32(moved as u64));
        Ok(moved)
    }

    fn next_entry(&mut self, dma: &Dma) -> Result<Option<Stretch>, DmaError> {
        if self.entry >= self.entries {
            return Ok(None);
        }
        let at = self
            .at
            .wrapping_add(ENTRIES + ENTRY * u64::from(self.entry));
        let address = dma.read_uint(at, 8)? & !1;
        let size = dma.read_uint(at.wrapping_add(12), 4)? & SIZE;
        // The size is that of the last byte, and always even bytes.
        let bytes = low32((size | 1) + 1);
        self.entry += 1;
        Ok(Some(Stretch::new(address, bytes)))
    }

    /// Tells the guest how much was moved.
    pub(super) fn close(&self, dma: &Dma) -> Result<(), DmaError> {
        dma.write(self.header.wrapping_add(4), &self.moved.to_le_bytes())
    }
}
