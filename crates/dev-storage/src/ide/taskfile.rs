//! The registers of a drive (ATA/ATAPI-6, section 7).

use serde::{Deserialize, Serialize};

/// Bits of the status register.
pub(crate) mod status {
    pub(crate) const ERR: u8 = 0x01;
    pub(crate) const DRQ: u8 = 0x08;
    pub(crate) const DSC: u8 = 0x10;
    pub(crate) const DF: u8 = 0x20;
    pub(crate) const DRDY: u8 = 0x40;
    pub(crate) const BSY: u8 = 0x80;
    /// Done and well.
    pub(crate) const IDLE: u8 = DRDY | DSC;
}

/// Bits of the error register.
pub(crate) mod error {
    pub(crate) const ABRT: u8 = 0x04;
    pub(crate) const IDNF: u8 = 0x10;
    pub(crate) const UNC: u8 = 0x40;
}

/// A register that 48-bit commands write twice: the last value and the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Twice {
    pub(crate) now: u8,
    pub(crate) before: u8,
}

impl Twice {
    pub(crate) fn push(&mut self, value: u8) {
        self.before = self.now;
        self.now = value;
    }
}

/// Registers as the host sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskFile {
    pub(crate) feature: Twice,
    pub(crate) count: Twice,
    pub(crate) lba: [Twice; 3],
    pub(crate) device: u8,
    pub(crate) status: u8,
    pub(crate) error: u8,
}

/// How a command counts sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Width {
    /// 28 bits or cylinder, head and sector; 8 bits of count.
    Short,
    /// 48 bits; 16 bits of count.
    Long,
}

impl TaskFile {
    /// Sectors asked for; zero stands for as many as there can be.
    pub(crate) fn sectors(&self, width: Width) -> u32 {
        match width {
            Width::Short => match self.count.now {
                0 => 256,
                n => n.into(),
            },
            Width::Long => match u16::from_be_bytes([self.count.before, self.count.now]) {
                0 => 65536,
                n => n.into(),
            },
        }
    }

    /// The first sector asked for, on a drive of so many heads and sectors a track.
    pub(crate) fn start(&self, width: Width, heads: u8, track: u8) -> Option<u64> {
        let [low, mid, high] = self.lba;
        if width == Width::Long {
            let bytes = [
                0,
                0,
                high.before,
                mid.before,
                low.before,
                high.now,
                mid.now,
                low.now,
            ];
            return Some(u64::from_be_bytes(bytes));
        }
        if self.device & 0x40 != 0 {
            let top = self.device & 0x0f;
            return Some(u32::from_be_bytes([top, high.now, mid.now, low.now]).into());
        }
        let cylinder = u64::from(u16::from_be_bytes([high.now, mid.now]));
        let head = u64::from(self.device & 0x0f);
        let sector = u64::from(low.now).checked_sub(1)?;
        Some((cylinder * u64::from(heads) + head) * u64::from(track) + sector)
    }

    /// Shows a sector number in the registers.
    pub(crate) fn show(&mut self, width: Width, sector: u64) {
        let bytes = sector.to_le_bytes();
        for (register, value) in self.lba.iter_mut().zip(bytes) {
            register.now = value;
        }
        match width {
            Width::Short => self.device = self.device & 0xf0 | bytes[3] & 0x0f,
            Width::Long => {
                for (register, value) in self.lba.iter_mut().zip(&bytes[3..6]) {
                    register.before = *value;
                }
            }
        }
    }
}
