//! The Bochs display extensions: eleven 16-bit registers behind an index.

use hw_core::bits::low16;
use serde::{Deserialize, Serialize};

const ID: usize = 0;
const XRES: usize = 1;
const YRES: usize = 2;
const BPP: usize = 3;
const ENABLE: usize = 4;
const BANK: usize = 5;
const VIRTUAL_WIDTH: usize = 6;
const VIRTUAL_HEIGHT: usize = 7;
const X_OFFSET: usize = 8;
const Y_OFFSET: usize = 9;
const MEMORY: usize = 10;
const LATEST: u16 = 0xb0c5;
const ON: u16 = 1;
const CAPABILITIES: u16 = 2;
const KEEP_MEMORY: u16 = 0x80;
/// Largest picture.
const MOST: (u16, u16, u16) = (16_000, 12_000, 32);

/// The registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Bochs {
    index: u16,
    registers: [u16; 11],
}

impl Default for Bochs {
    fn default() -> Self {
        let mut registers = [0; 11];
        registers[ID] = LATEST;
        Self {
            index: 0,
            registers,
        }
    }
}

impl Bochs {
    /// Whether a mode of the extensions is shown.
    pub(super) fn on(&self) -> bool {
        self.registers[ENABLE] & ON != 0
    }

    pub(super) fn index(&self) -> u16 {
        self.index
    }

    pub(super) fn select(&mut self, index: u16) {
        self.index = index;
    }

    /// First byte of the 64 KiB bank that the old window shows.
    pub(super) fn bank(&self) -> u64 {
        u64::from(self.registers[BANK]) << 16
    }

    pub(super) fn get(&self, index: u16) -> u16 {
        let n = usize::from(index);
        if self.registers[ENABLE] & CAPABILITIES != 0 {
            match n {
                XRES => return MOST.0,
                YRES => return MOST.1,
                BPP => return MOST.2,
                _ => {}
            }
        }
        self.registers.get(n).copied().unwrap_or(0)
    }

    /// Writes a register; true when video memory is to be cleared.
    pub(super) fn set(&mut self, index: u16, value: u16, memory: u64) -> bool {
        let n = usize::from(index);
        match n {
            ID => {
                if (0xb0c0..=LATEST).contains(&value) {
                    self.registers[ID] = value;
                }
                false
            }
            ENABLE => {
                let turned_on = value & ON != 0 && !self.on();
                self.registers[ENABLE] = value;
                self.registers[BANK] = 0;
                if turned_on {
                    self.registers[VIRTUAL_WIDTH] = self.registers[XRES];
                    self.registers[X_OFFSET] = 0;
                    self.registers[Y_OFFSET] = 0;
                }
                self.check(memory);
                turned_on && value & KEEP_MEMORY == 0
            }
            VIRTUAL_HEIGHT | MEMORY => false,
            _ => {
                if let Some(slot) = self.registers.get_mut(n) {
                    *slot = value;
                }
                self.check(memory);
                false
            }
        }
    }

    /// Keeps every number inside what video memory holds.
    pub(super) fn check(&mut self, memory: u64) {
        self.registers[MEMORY] = low16(memory >> 16);
        let banks = low16((memory >> 16).max(1) - 1);
        let registers = &mut self.registers;
        registers[BANK] = registers[BANK].min(banks);
        registers[XRES] = registers[XRES].min(MOST.0) & !7;
        registers[YRES] = registers[YRES].min(MOST.1);
        if !matches!(registers[BPP], 4 | 8 | 15 | 16 | 24 | 32) {
            registers[BPP] = 8;
        }
        let bits = u64::from(registers[BPP]);
        registers[VIRTUAL_WIDTH] = registers[VIRTUAL_WIDTH].clamp(registers[XRES], MOST.0) & !7;
        let line = (u64::from(registers[VIRTUAL_WIDTH]) * bits / 8).max(1);
        let most = (memory / line).min(u64::from(u16::MAX));
        registers[YRES] = registers[YRES].min(low16(most));
        registers[VIRTUAL_HEIGHT] = low16(most);
        registers[X_OFFSET] = registers[X_OFFSET].min(registers[VIRTUAL_WIDTH]);
        let rest = low16(most) - registers[YRES];
        registers[Y_OFFSET] = registers[Y_OFFSET].min(rest);
    }
}
