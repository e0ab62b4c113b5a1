//! Standard VGA (FreeVGA's register descriptions) with the Bochs display extensions (port 0x1ce), PCI 1234:1111.
//!
//! Far enough for firmware, text and linear frame buffers: registers, planes and the text buffer are modelled, and
//! nothing is drawn.
//! ```text
//!   window 0  video memory       window 2  0x000 EDID, 0x400 VGA ports, 0x500 Bochs registers
//!   own 8     ports 0x3b0-0x3df  own 9     memory 0xa0000-0xbffff    own 10  ports 0x1ce-0x1d1
//! ```
//! GAP: no screen output beyond [`Vga::text`]; EDID reads as zeroes.

mod bochs;
mod planes;
#[cfg(test)]
mod tests;

use guest_mem::Ram;
use hw_core::bits::{low8, low16, ones};
use hw_core::clock::SECOND;
use hw_core::device::{restore_record, save_record};
use hw_core::memory::change;
use hw_core::pci::{Bar, Config, Function, Identity, Place};
use hw_core::{Clock, StateError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::i440fx::SUBSYSTEM;
use crate::pam::VGA_PRIORITY;
use bochs::Bochs;
use planes::Latch;

const PORTS_WINDOW: u8 = 8;
const MEMORY_WINDOW: u8 = 9;
const BOCHS_WINDOW: u8 = 10;
/// Picture time; the last tenth is the vertical retrace.
const FRAME: u64 = SECOND / 60;

/// All registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Registers {
    misc: u8,
    sequencer_index: u8,
    sequencer: [u8; 8],
    graphics_index: u8,
    graphics: [u8; 16],
    crtc_index: u8,
    crtc: Vec<u8>,
    attribute_index: u8,
    /// The next write to port 0x3c0 is data.
    attribute_data: bool,
    attribute: Vec<u8>,
    dac_mask: u8,
    dac_read: u8,
    dac_write: u8,
    dac_part: u8,
    dac: Vec<u8>,
    dac_reading: bool,
    latch: Latch,
    bochs: Bochs,
}

impl Registers {
    fn new(memory: u64) -> Self {
        let mut new = Self {
            misc: 0,
            sequencer_index: 0,
            sequencer: [0; 8],
            graphics_index: 0,
            graphics: [0; 16],
            crtc_index: 0,
            crtc: vec![0; 256],
            attribute_index: 0,
            attribute_data: false,
            attribute: vec![0; 32],
            dac_mask: 0xff,
            dac_read: 0,
            dac_write: 0,
            dac_part: 0,
            dac: vec![0; 768],
            dac_reading: false,
            latch: Latch::default(),
            bochs: Bochs::default(),
        };
        new.bochs.check(memory);
        new
    }

    fn fits(&self) -> bool {
        (self.crtc.len(), self.attribute.len(), self.dac.len()) == (256, 32, 768)
            && self.dac_part < 3
            && self.attribute_index < 32
    }
}

/// The adapter.
pub struct Vga {
    config: Config,
    registers: Registers,
    memory: Ram,
    rom: Option<Ram>,
    clock: Clock,
}

impl Vga {
    /// An adapter at `place` with `memory` (a power of two of at least 1 MiB) and its BIOS.
    pub fn new(place: &Place, memory: Ram, rom: Option<Ram>, clock: Clock) -> Self {
        let who = Identity {
            vendor: 0x1234,
            device: 0x1111,
            revision: 2,
            class: 0x03_0000,
            subsystem: SUBSYSTEM,
            pin: 0,
            multifunction: false,
        };
        let size = u32::try_from(memory.size()).unwrap_or(1 << 24);
        let mut config = Config::new(&who)
            .with_bar(0, Bar::Memory32(size))
            .with_bar(2, Bar::Memory32(0x1000));
        // Prefetchable.
        config.put(0x10, 1, 8);
        let mut ports = change(&place.ports);
        ports.map(0x3b0, 0x30, 0, place.backing(PORTS_WINDOW));
        ports.map(0x1ce, 4, 0, place.backing(BOCHS_WINDOW));
        drop(ports);
        let backing = place.backing(MEMORY_WINDOW);
        change(&place.memory).map(0xa_0000, 0x2_0000, VGA_PRIORITY, backing);
        Self {
            config,
            registers: Registers::new(memory.size()),
            memory,
            rom,
            clock,
        }
    }

    /// The screen in text mode, without trailing blanks; `None` in a graphics mode.
    pub fn text(&self) -> Option<Vec<String>> {
        let registers = &self.registers;
        if registers.graphics[6] & 1 != 0 || registers.bochs.on() {
            return None;
        }
        let columns = u64::from(registers.crtc[1]) + 1;
        let height = u64::from(registers.crtc[9] & 31) + 1;
        let overflow = u64::from(registers.crtc[7]);
        let lines =
            u64::from(registers.crtc[0x12]) + ((overflow & 2) << 7) + ((overflow & 0x40) << 3) + 1;
        let start = u64::from(registers.crtc[12]) << 8 | u64::from(registers.crtc[13]);
        let pitch = u64::from(registers.crtc[0x13]) * 2;
        let rows = (0..(lines / height).min(100)).map(|row| {
            let cells = (0..columns).map(|column| {
                let at = (start + row * pitch + column) * 4;
                let byte = self.memory.read_uint(at, 1).unwrap_or(0);
                match low8(byte) {
                    byte @ 0x20..0x7f => char::from(byte),
                    _ => ' ',
                }
            });
            cells.collect::<String>().trim_end().to_owned()
        });
        Some(rows.collect())
    }

    /// Whether the colour ports (0x3dx) are the ones that answer.
    fn colour(&self) -> bool {
        self.registers.misc & 1 != 0
    }

    /// Status register 1: bit 0 display off, bit 3 vertical retrace.
    fn status(&self) -> u8 {
        let at = self.clock.now() % FRAME;
        let line = at / (FRAME / 525) % 2;
        if at > FRAME / 10 * 9 {
            9
        } else {
            u8::from(line == 1)
        }
    }

    fn dac_read(&mut self) -> u8 {
        let registers = &mut self.registers;
        let at = usize::from(registers.dac_read) * 3 + usize::from(registers.dac_part);
        registers.dac_part = (registers.dac_part + 1) % 3;
        if registers.dac_part == 0 {
            registers.dac_read = registers.dac_read.wrapping_add(1);
        }
        registers.dac.get(at).copied().unwrap_or(0)
    }

    fn dac_write(&mut self, value: u8) {
        let registers = &mut self.registers;
        let at = usize::from(registers.dac_write) * 3 + usize::from(registers.dac_part);
        if let Some(slot) = registers.dac.get_mut(at) {
            *slot = value;
        }
        registers.dac_part = (registers.dac_part + 1) % 3;
        if registers.dac_part == 0 {
            registers.dac_write = registers.dac_write.wrapping_add(1);
        }
    }

    fn port_read(&mut self, port: u64) -> u8 {
        let colour = self.colour();
        let registers = &mut self.registers;
        match port {
            0x3b0..0x3c0 if colour => 0xff,
            0x3d0.. if !colour => 0xff,
            0x3c0 if !registers.attribute_data => registers.attribute_index,
            0x3c1 => registers.attribute[usize::from(registers.attribute_index & 31)],
            0x3c4 => registers.sequencer_index,
            0x3c5 => registers.sequencer[usize::from(registers.sequencer_index & 7)],
            0x3c6 => registers.dac_mask,
            0x3c7 => u8::from(registers.dac_reading) * 3,
            0x3c8 => registers.dac_write,
            0x3c9 => self.dac_read(),
            0x3cc => registers.misc,
            0x3ce => registers.graphics_index,
            0x3cf => registers.graphics[usize::from(registers.graphics_index & 15)],
            0x3b4 | 0x3d4 => registers.crtc_index,
            0x3b5 | 0x3d5 => registers.crtc[usize::from(registers.crtc_index)],
            0x3ba | 0x3da => {
                registers.attribute_data = false;
                self.status()
            }
            _ => 0,
        }
    }

    fn port_write(&mut self, port: u64, value: u8) {
        let colour = self.colour();
        let registers = &mut self.registers;
        match port {
            0x3b0..0x3c0 if colour => {}
            0x3d0.. if !colour => {}
            0x3c0 if registers.attribute_data => {
                let index = usize::from(registers.attribute_index & 31);
                registers.attribute[index] = value;
                registers.attribute_data = false;
            }
            0x3c0 => {
                registers.attribute_index = value & 31;
                registers.attribute_data = true;
            }
            0x3c2 => registers.misc = value & !0x10,
            0x3c4 => registers.sequencer_index = value & 7,
            0x3c5 => registers.sequencer[usize::from(registers.sequencer_index & 7)] = value,
            0x3c6 => registers.dac_mask = value,
            0x3c7 => {
                registers.dac_read = value;
                registers.dac_part = 0;
                registers.dac_reading = true;
            }
            0x3c8 => {
                registers.dac_write = value;
                registers.dac_part = 0;
                registers.dac_reading = false;
            }
            0x3c9 => self.dac_write(value),
            0x3ce => registers.graphics_index = value & 15,
            0x3cf => registers.graphics[usize::from(registers.graphics_index & 15)] = value,
            0x3b4 | 0x3d4 => registers.crtc_index = value,
            0x3b5 | 0x3d5 => self.crtc_write(value),
            _ => {}
        }
    }

    fn crtc_write(&mut self, value: u8) {
        let registers = &mut self.registers;
        let index = usize::from(registers.crtc_index);
        // Bit 7 of register 0x11 protects the timing; line compare bit 8 stays writable.
        if registers.crtc[0x11] & 0x80 != 0 && index <= 7 {
            if index == 7 {
                registers.crtc[7] = registers.crtc[7] & !0x10 | value & 0x10;
            }
            return;
        }
        registers.crtc[index] = value;
    }

    fn bytewise_read(&mut self, first: u64, bytes: usize) -> u64 {
        let each =
            (0..bytes.min(8) as u64).map(|n| u64::from(self.port_read(first + n)) << (n * 8));
        each.sum()
    }

    fn mmio_read(&mut self, offset: u64, bytes: usize) -> u64 {
        match offset {
            0x400..0x420 => self.bytewise_read(0x3c0 + offset - 0x400, bytes),
            0x500..0x516 => u64::from(self.registers.bochs.get(low16((offset - 0x500) / 2))),
            0x600 => 8,
            _ => 0,
        }
    }

    fn mmio_write(&mut self, offset: u64, bytes: usize, value: u64) {
        match offset {
            0x400..0x420 => {
                for n in 0..bytes.min(8) as u64 {
                    self.port_write(0x3c0 + offset - 0x400 + n, low8(value >> (n * 8)));
                }
            }
            0x500..0x516 => self.bochs_write(low16((offset - 0x500) / 2), low16(value)),
            _ => {}
        }
    }

    fn bochs_write(&mut self, index: u16, value: u16) {
        let size = self.memory.size();
        if self.registers.bochs.set(index, value, size) {
            self.clear_memory();
        }
    }

    fn clear_memory(&self) {
        let zeroes = [0; 4096];
        let mut at = 0;
        while self.memory.write(at, &zeroes).is_ok() {
            at += 4096;
        }
    }
}

impl Function for Vga {
    fn name(&self) -> &'static str {
        "VGA"
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    fn window_memory(&self, bar: u8) -> Option<Ram> {
        (bar == 0).then(|| self.memory.clone())
    }

    fn expansion_rom(&self) -> Option<Ram> {
        self.rom.clone()
    }

    fn window_widest(&self, bar: u8) -> usize {
        match bar {
            PORTS_WINDOW | MEMORY_WINDOW => 1,
            BOCHS_WINDOW => 2,
            _ => 4,
        }
    }

    fn window_read(&mut self, bar: u8, offset: u64, bytes: usize) -> u64 {
        match bar {
            2 => self.mmio_read(offset, bytes),
            PORTS_WINDOW => u64::from(self.port_read(0x3b0 + offset)),
            MEMORY_WINDOW => u64::from(self.plane_read(offset)),
            BOCHS_WINDOW => match offset {
                0 => u64::from(self.registers.bochs.index()),
                _ => u64::from(self.registers.bochs.get(self.registers.bochs.index())),
            },
            _ => ones(bytes),
        }
    }

    fn window_write(&mut self, bar: u8, offset: u64, bytes: usize, value: u64) {
        match bar {
            2 => self.mmio_write(offset, bytes, value),
            PORTS_WINDOW => self.port_write(0x3b0 + offset, low8(value)),
            MEMORY_WINDOW => self.plane_write(offset, low8(value)),
            BOCHS_WINDOW if offset == 0 => self.registers.bochs.select(low16(value)),
            BOCHS_WINDOW => {
                let index = self.registers.bochs.index();
                self.bochs_write(index, low16(value));
            }
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.registers = Registers::new(self.memory.size());
        self.clear_memory();
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let registers: Registers = restore_record(state)?;
        if !registers.fits() {
            return Err(StateError("VGA registers of a wrong size".to_owned()));
        }
        self.registers = registers;
        self.registers.bochs.check(self.memory.size());
        Ok(())
    }
}
