//! MSI-X: a table of messages and their pending bits (PCI local bus 3.0, 6.8.2).
//! ```text
//!   table, 16 bytes a vector:  address (8), data (4), control (4: bit 0 masks)
//!   pending bits, 8 bytes for 64 vectors
//!   capability:  id 0x11, next, control (size-1, bit 14 masks all, bit 15 on), table offset|bar, pending offset|bar
//! ```

use serde::{Deserialize, Serialize};

use super::Config;
use crate::bits::{low16, low32};
use crate::irq::Lines;

/// Capability id of MSI-X.
pub const MSIX_ID: u8 = 0x11;
/// Vectors at most (the size field has 11 bits).
const MOST: usize = 2048;
const ON: u64 = 1 << 15;
const MASK_ALL: u64 = 1 << 14;
const MASKED: u32 = 1;

/// One function's vectors.
#[derive(Debug)]
pub struct Msix {
    lines: Lines,
    /// Where the capability is in configuration space.
    at: usize,
    vectors: Vec<Vector>,
}

/// A vector, as it is saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector {
    address: u64,
    data: u32,
    control: u32,
    pending: bool,
}

impl Msix {
    /// `count` masked vectors, and the capability in `config` at `at` (12 bytes): table and pending bits are in window
    /// `bar` at the offsets given.
    pub fn new(
        config: Config,
        at: u8,
        count: usize,
        (bar, table, pending): (u8, u32, u32),
        lines: &Lines,
    ) -> (Self, Config) {
        let count = count.clamp(1, MOST);
        let mut body = [0; 10];
        body[..2].copy_from_slice(&low16((count - 1) as u64).to_le_bytes());
        body[2..6].copy_from_slice(&(table & !7 | u32::from(bar & 7)).to_le_bytes());
        body[6..].copy_from_slice(&(pending & !7 | u32::from(bar & 7)).to_le_bytes());
        let mut config = config.with_capability(at, MSIX_ID, &body);
        config.allow(usize::from(at) + 2, 2, ON | MASK_ALL);
        let mut msix = Self {
            lines: lines.clone(),
            at: usize::from(at),
            vectors: vec![Vector::default(); count],
        };
        msix.reset();
        (msix, config)
    }

    /// How many vectors there are.
    pub fn count(&self) -> usize {
        self.vectors.len()
    }

    /// Whether the guest uses MSI-X; the function's pin is then not to be driven.
    pub fn on(&self, config: &Config) -> bool {
        config.read(self.at + 2, 2) & ON != 0
    }

    /// Raises vector `n`: sends its message, or remembers it while masked. Nothing while MSI-X is off.
    pub fn raise(&mut self, n: usize, config: &Config) {
        if !self.on(config) {
            return;
        }
        let all = config.read(self.at + 2, 2) & MASK_ALL != 0;
        let Some(vector) = self.vectors.get_mut(n) else {
            return;
        };
        if all || vector.control & MASKED != 0 {
            vector.pending = true;
        } else {
            self.lines.message(vector.address, vector.data);
        }
    }

    /// To be called after a write to configuration space: what waited and is no longer masked is sent.
    pub fn follow(&mut self, config: &Config) {
        let control = config.read(self.at + 2, 2);
        if control & (ON | MASK_ALL) != ON {
            return;
        }
        for vector in &mut self.vectors {
            if vector.pending && vector.control & MASKED == 0 {
                vector.pending = false;
                self.lines.message(vector.address, vector.data);
            }
        }
    }

    /// Reads 4 or 8 bytes of the table.
    pub fn table_read(&self, offset: u64, bytes: usize) -> u64 {
        let low = self.word(offset & !3);
        if bytes == 8 {
            return u64::from(low) | u64::from(self.word((offset & !7) + 4)) << 32;
        }
        u64::from(low)
    }

    /// Writes 4 or 8 bytes of the table.
    pub fn table_write(&mut self, offset: u64, bytes: usize, value: u64, config: &Config) {
        self.set_word(offset & !3, low32(value));
        if bytes == 8 {
            self.set_word((offset & !7) + 4, low32(value >> 32));
        }
        self.follow(config);
    }

    /// Reads 4 or 8 bytes of the pending bits.
    pub fn pending_read(&self, offset: u64, bytes: usize) -> u64 {
        let first = usize::try_from(offset & !3).unwrap_or(usize::MAX);
        let mut bits = 0;
        for n in 0..bytes.min(8) * 8 {
            let index = first.saturating_mul(8).saturating_add(n);
            if self.vectors.get(index).is_some_and(|v| v.pending) {
                bits |= 1 << n;
            }
        }
        bits
    }

    /// All vectors masked and empty.
    pub fn reset(&mut self) {
        for vector in &mut self.vectors {
            *vector = Vector {
                control: MASKED,
                ..Vector::default()
            };
        }
    }

    /// The vectors, to be saved.
    pub fn save(&self) -> Vec<Vector> {
        self.vectors.clone()
    }

    /// Takes over saved vectors; missing ones stay masked.
    pub fn restore(&mut self, saved: &[Vector]) {
        self.reset();
        for (slot, from) in self.vectors.iter_mut().zip(saved) {
            *slot = *from;
        }
    }

    fn word(&self, offset: u64) -> u32 {
        let index = usize::try_from(offset / 16).unwrap_or(usize::MAX);
        let Some(vector) = self.vectors.get(index) else {
            return u32::MAX;
        };
        match offset % 16 {
            0 => low32(vector.address),
            4 => low32(vector.address >> 32),
            8 => vector.data,
            _ => vector.control,
        }
    }

    fn set_word(&mut self, offset: u64, value: u32) {
        let index = usize::try_from(offset / 16).unwrap_or(usize::MAX);
        let Some(vector) = self.vectors.get_mut(index) else {
            return;
        };
        match offset % 16 {
            0 => vector.address = vector.address & !0xffff_ffff | u64::from(value & !3),
            4 => vector.address = vector.address & 0xffff_ffff | u64::from(value) << 32,
            8 => vector.data = value,
            _ => vector.control = value & MASKED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irq::Signal;
    use crate::pci::tests::WHO;

    fn vectors() -> (Msix, Config, Lines) {
        let lines = Lines::new(1);
        let config = Config::new(&WHO);
        let (msix, config) = Msix::new(config, 0x98, 2, (1, 0, 0x800), &lines);
        (msix, config, lines)
    }

    #[test]
    fn a_masked_vector_waits() {
        let (mut msix, mut config, lines) = vectors();
        config.write(0x9a, 2, ON);
        msix.table_write(16, 8, 0xfee0_1000, &config);
        msix.table_write(24, 4, 0x41, &config);
        msix.raise(1, &config);
        assert!(lines.take().is_empty());
        assert_eq!(msix.pending_read(0, 8), 2);
        msix.table_write(28, 4, 0, &config);
        assert_eq!(lines.take(), [Signal::Message(0xfee0_1000, 0x41)]);
        assert_eq!(msix.pending_read(0, 4), 0);
        msix.raise(1, &config);
        assert_eq!(lines.take().len(), 1);
        msix.raise(2, &config);
        assert!(lines.take().is_empty());
    }

    #[test]
    fn any_offset_is_answered() {
        let (mut msix, config, _) = vectors();
        for offset in [0, 32, 1 << 40, u64::MAX - 7] {
            msix.table_write(offset, 4, u64::MAX, &config);
            msix.table_read(offset, 4);
            msix.pending_read(offset, 8);
        }
    }
}
