//! I/O APIC (Intel 82093AA data sheet), 24 inputs, with the end-of-interrupt register of version 0x20.

use hw_core::bits::{low8, low32};
use serde::{Deserialize, Serialize};

use super::IoApicView;

/// Number of inputs.
pub(super) const PINS: u8 = 24;
const VERSION: u32 = 0x20;
const MASKED: u64 = 1 << 16;
pub(super) const LEVEL: u64 = 1 << 15;
const REMOTE: u64 = 1 << 14;
/// Delivery status and remote IRR are not for the guest to write.
const READ_ONLY: u64 = REMOTE | 1 << 12;

/// All registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct IoApic {
    id: u8,
    select: u8,
    requests: u32,
    inputs: u32,
    table: [u64; PINS as usize],
}

impl Default for IoApic {
    fn default() -> Self {
        Self {
            id: 0,
            select: 0,
            requests: 0,
            inputs: 0,
            table: [MASKED; PINS as usize],
        }
    }
}

impl IoApic {
    /// Back to power-on; inputs keep their levels.
    pub(super) fn reset(&mut self) {
        *self = Self {
            inputs: self.inputs,
            ..Self::default()
        };
    }

    /// An input goes to a level.
    pub(super) fn set(&mut self, pin: u8, on: bool) {
        let Some(entry) = self.table.get(usize::from(pin)) else {
            return;
        };
        let bit = 1_u32 << pin;
        let was = self.inputs & bit != 0;
        self.inputs = (self.inputs & !bit) | if on { bit } else { 0 };
        if entry & LEVEL != 0 {
            self.requests = (self.requests & !bit) | if on { bit } else { 0 };
        } else if on && !was && entry & MASKED == 0 {
            // An edge while masked is lost, as the data sheet has it.
            self.requests |= bit;
        }
    }

    /// The entry of the next interrupt that is to be sent.
    pub(super) fn next_entry(&mut self) -> Option<u64> {
        for pin in 0..PINS {
            let bit = 1_u32 << pin;
            let entry = &mut self.table[usize::from(pin)];
            if self.requests & bit == 0 || *entry & MASKED != 0 {
                continue;
            }
            let level = *entry & LEVEL != 0;
            if level && *entry & REMOTE != 0 {
                continue;
            }
            if level {
                *entry |= REMOTE;
            } else {
                self.requests &= !bit;
            }
            return Some(*entry);
        }
        None
    }

    /// A processor finished the interrupt of a vector.
    pub(super) fn end(&mut self, vector: u8) {
        for entry in &mut self.table {
            if *entry & LEVEL != 0 && low8(*entry) == vector {
                *entry &= !REMOTE;
            }
        }
    }

    /// Reads a register of the memory window.
    pub(super) fn read(&self, offset: u64) -> u64 {
        match offset & 0xff {
            0x00 => u64::from(self.select),
            0x10 => u64::from(self.indirect()),
            _ => 0,
        }
    }

    fn indirect(&self) -> u32 {
        match self.select {
            0 | 2 => u32::from(self.id) << 24,
            1 => VERSION | u32::from(PINS - 1) << 16,
            n => {
                let entry = n.checked_sub(0x10).map(usize::from);
                let entry = entry.and_then(|n| Some((n, self.table.get(n / 2)?)));
                match entry {
                    Some((n, entry)) if n % 2 == 0 => low32(*entry),
                    Some((_, entry)) => low32(*entry >> 32),
                    None => 0,
                }
            }
        }
    }

    /// Writes a register of the memory window.
    pub(super) fn write(&mut self, offset: u64, value: u64) {
        match offset & 0xff {
            0x00 => self.select = low8(value),
            0x10 => self.set_indirect(low32(value)),
            0x40 => self.end(low8(value)),
            _ => {}
        }
    }

    fn set_indirect(&mut self, value: u32) {
        if self.select == 0 {
            self.id = low8(u64::from(value >> 24)) & 0xf;
            return;
        }
        let Some(n) = self.select.checked_sub(0x10).map(usize::from) else {
            return;
        };
        let Some(entry) = self.table.get_mut(n / 2) else {
            return;
        };
        let value = u64::from(value);
        let new = if n % 2 == 0 {
            *entry & !0xffff_ffff | value
        } else {
            *entry & 0xffff_ffff | value << 32
        };
        *entry = new & !READ_ONLY | *entry & READ_ONLY;
        let bit = 1_u32 << (n / 2);
        if *entry & LEVEL == 0 {
            *entry &= !REMOTE;
        } else {
            // A level that was there before counts from now on.
            self.requests = (self.requests & !bit) | (self.inputs & bit);
        }
    }

    /// What the monitor shows.
    pub(super) fn view(&self) -> IoApicView {
        IoApicView {
            id: self.id,
            select: self.select,
            requests: self.requests,
            table: self.table.to_vec(),
        }
    }
}
