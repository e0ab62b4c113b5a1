//! The two DMA controllers 8237A of a PC and their page registers (Intel 8237A data sheet).
//!
//! Regions: 0 the first controller (byte channels 0 to 3), 1 the second (word channels 4 to 7; its registers are two
//! ports apart), 2 the page registers.
//! GAP: no device transfers through them yet, so channels only keep what is written.

use hw_core::bits::low8;
use hw_core::device::{Device, StateError, restore_record, save_record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which channel each page register (port 0x80 + index) belongs to; 0xff keeps a byte for nobody.
const PAGE_OF: [u8; 16] = [
    0xff, 2, 3, 1, 0xff, 0xff, 0xff, 0, 0xff, 6, 7, 5, 0xff, 0xff, 0xff, 4,
];

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Controller {
    base_address: [u16; 4],
    base_count: [u16; 4],
    address: [u16; 4],
    count: [u16; 4],
    mode: [u8; 4],
    command: u8,
    status: u8,
    mask: u8,
    /// The next access to a 16-bit register is to its high byte.
    high: bool,
}

impl Controller {
    fn clear(&mut self) {
        self.command = 0;
        self.status = 0;
        self.mask = 15;
        self.high = false;
    }

    fn read(&mut self, register: u64) -> u8 {
        let channel = usize::from(low8(register >> 1 & 3));
        match register {
            0..8 => {
                let value = if register & 1 == 0 {
                    self.address[channel]
                } else {
                    self.count[channel]
                };
                let bytes = value.to_le_bytes();
                let byte = bytes[usize::from(self.high)];
                self.high = !self.high;
                byte
            }
            8 => {
                let status = self.status;
                self.status &= 0xf0;
                status
            }
            15 => self.mask | 0xf0,
            _ => 0,
        }
    }

    fn write(&mut self, register: u64, value: u8) {
        let channel = usize::from(low8(register >> 1 & 3));
        let which = usize::from(value & 3);
        match register {
            0..8 => {
                let (base, now) = if register & 1 == 0 {
                    (&mut self.base_address, &mut self.address)
                } else {
                    (&mut self.base_count, &mut self.count)
                };
                let mut bytes = base[channel].to_le_bytes();
                bytes[usize::from(self.high)] = value;
                base[channel] = u16::from_le_bytes(bytes);
                now[channel] = base[channel];
                self.high = !self.high;
            }
            8 => self.command = value,
            9 => {
                let bit = 0x10 << which;
                self.status = self.status & !bit | if value & 4 != 0 { bit } else { 0 };
            }
            10 => {
                let bit = 1 << which;
                self.mask = self.mask & !bit | if value & 4 != 0 { bit } else { 0 };
            }
            11 => self.mode[which] = value,
            12 => self.high = false,
            13 => self.clear(),
            14 => self.mask = 0,
            _ => self.mask = value & 15,
        }
    }
}

/// All registers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Registers {
    controllers: [Controller; 2],
    pages: [u8; 16],
}

/// The controllers.
#[derive(Debug)]
pub struct Dma8237 {
    registers: Registers,
}

impl Default for Dma8237 {
    fn default() -> Self {
        let mut new = Self {
            registers: Registers::default(),
        };
        new.reset();
        new
    }
}

impl Dma8237 {
    /// The controllers after power-on.
    pub fn new() -> Self {
        Self::default()
    }

    /// The guest-physical address a channel points to now.
    pub fn address(&self, channel: u8) -> u64 {
        let controller = &self.registers.controllers[usize::from(channel >> 2 & 1)];
        let address = u64::from(controller.address[usize::from(channel & 3)]);
        let page = PAGE_OF.iter().position(|owner| *owner == channel);
        let page = u64::from(page.map_or(0, |n| self.registers.pages[n]));
        if channel < 4 {
            page << 16 | address
        } else {
            (page & 0xfe) << 16 | address << 1
        }
    }
}

impl Device for Dma8237 {
    fn name(&self) -> &'static str {
        "i8257"
    }

    fn widest(&self, _region: u32) -> usize {
        1
    }

    fn read(&mut self, region: u32, offset: u64, _bytes: usize) -> u64 {
        u64::from(match region {
            0 => self.registers.controllers[0].read(offset & 15),
            1 => self.registers.controllers[1].read(offset >> 1 & 15),
            _ => self.registers.pages[usize::from(low8(offset & 15))],
        })
    }

    fn write(&mut self, region: u32, offset: u64, _bytes: usize, value: u64) {
        match region {
            0 => self.registers.controllers[0].write(offset & 15, low8(value)),
            1 => self.registers.controllers[1].write(offset >> 1 & 15, low8(value)),
            _ => self.registers.pages[usize::from(low8(offset & 15))] = low8(value),
        }
    }

    fn reset(&mut self) {
        self.registers = Registers::default();
        for controller in &mut self.registers.controllers {
            controller.clear();
        }
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        self.registers = restore_record(state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_keeps_address_count_and_page() {
        let mut dma = Dma8237::new();
        dma.write(0, 12, 1, 0);
        for value in [0x34, 0x12] {
            dma.write(0, 4, 1, value);
        }
        dma.write(2, 1, 1, 0xab);
        assert_eq!(dma.address(2), 0x00ab_1234);
        assert_eq!((dma.read(0, 4, 1), dma.read(0, 4, 1)), (0x34, 0x12));
        for value in [0x34, 0x12] {
            dma.write(1, 4 << 1 & 8, 1, value);
        }
        assert_eq!(dma.read(0, 15, 1), 0xff);
    }
}
