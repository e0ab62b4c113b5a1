//! Devices that only tests of guests use: pc-testdev's ports and pci-testdev's windows.

use hw_core::bits::{low8, low32, ones, read_le};
use hw_core::device::{Device, StateError, restore_record, save_record};
use hw_core::memory::{Backing, Shared, change};
use hw_core::pci::{Bar, Config, Function, Identity};
use hw_core::{Line, Lines};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::i440fx::SUBSYSTEM;
use crate::wires;

/// Ports that set interrupt lines (0x2000 + n), a port that keeps what is written (0xe0), and memory that does so
/// (0xff000000): what kvm-unit-tests drives.
pub struct PcTestDevice {
    registers: TestRegisters,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct TestRegisters {
    port: u32,
    memory: Vec<u8>,
    levels: u32,
}

/// Bytes of the test memory.
const MEMORY: usize = 0x1000;
const LINES: usize = 24;

impl PcTestDevice {
    /// The device, as device `number` of its machine.
    pub fn new(number: usize, memory: &Shared, ports: &Shared, lines: &Lines) -> Self {
        let mut map = change(ports);
        map.map(0xe0, 16, 0, Backing::device(number, 0));
        map.map(0x2000, LINES as u64, 0, Backing::device(number, 1));
        drop(map);
        let backing = Backing::device(number, 2);
        change(memory).map(0xff00_0000, MEMORY as u64, 0, backing);
        Self {
            registers: TestRegisters {
                memory: vec![0; MEMORY],
                ..TestRegisters::default()
            },
            lines: (0..LINES).map(|n| lines.line(wires::GSI + n)).collect(),
        }
    }

    fn drive(&mut self) {
        for (n, line) in self.lines.iter_mut().enumerate() {
            line.set(self.registers.levels & 1 << n != 0);
        }
    }
}

impl Device for PcTestDevice {
    fn name(&self) -> &'static str {
        "pc-testdev"
    }

    fn read(&mut self, region: u32, offset: u64, bytes: usize) -> u64 {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        match region {
            0 => read_le(&self.registers.port.to_le_bytes(), at & 3, bytes),
            2 => read_le(&self.registers.memory, at, bytes),
            _ => ones(bytes),
        }
    }

    fn write(&mut self, region: u32, offset: u64, bytes: usize, value: u64) {
        match region {
            0 => {
                let shift = (offset & 3) * 8;
                let mask = low32(ones(bytes) << shift);
                self.registers.port = self.registers.port & !mask | low32(value << shift) & mask;
            }
            1 => {
                let bit = 1_u32 << (offset & 31);
                let on = if value & 1 != 0 { bit } else { 0 };
                self.registers.levels = self.registers.levels & !bit | on;
                self.drive();
            }
            _ => {
                let at = usize::try_from(offset).unwrap_or(usize::MAX);
                for n in 0..bytes.min(8) {
                    if let Some(slot) = self.registers.memory.get_mut(at.saturating_add(n)) {
                        *slot = low8(value >> (n * 8));
                    }
                }
            }
        }
    }

    fn reset(&mut self) {
        self.registers = TestRegisters {
            memory: vec![0; MEMORY],
            ..TestRegisters::default()
        };
        self.drive();
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let registers: TestRegisters = restore_record(state)?;
        if registers.memory.len() != MEMORY {
            return Err(StateError("test memory of a wrong size".to_owned()));
        }
        self.registers = registers;
        self.drive();
        Ok(())
    }
}

/// PCI 1b36:0005: window 0 memory, window 1 ports. The header of each says which test is on; a write of the expected
/// width and value at its offset counts.
pub struct PciTestDevice {
    config: Config,
    windows: [TestWindow; 2],
}

/// Header: test number, width, two spare bytes, offset (4), data (4), count (4), name.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TestWindow {
    test: u8,
    count: u32,
}

const DATA: u8 = 0xfa;
const OFFSET: u32 = 0x80;

impl TestWindow {
    fn header(&self, io: bool) -> Vec<u8> {
        let name: &[u8] = match (io, self.test) {
            (_, 1..) => b"",
            (true, _) => b"portio-no-eventfd\0",
            (false, _) => b"mmio-no-eventfd\0",
        };
        let mut header = vec![self.test, if name.is_empty() { 0 } else { 1 }, 0, 0];
        header.extend(OFFSET.to_le_bytes());
        header.extend(u32::from(DATA).to_le_bytes());
        header.extend(self.count.to_le_bytes());
        header.extend(name);
        header
    }
}

impl Default for PciTestDevice {
    fn default() -> Self {
        let who = Identity {
            vendor: 0x1b36,
            device: 5,
            revision: 0,
            class: 0x00_ff00,
            subsystem: SUBSYSTEM,
            pin: 0,
            multifunction: false,
        };
        let window = TestWindow { test: 0, count: 0 };
        Self {
            config: Config::new(&who)
                .with_bar(0, Bar::Memory32(0x1000))
                .with_bar(1, Bar::Io(0x100)),
            windows: [window.clone(), window],
        }
    }
}

impl Function for PciTestDevice {
    fn name(&self) -> &'static str {
        "pci-testdev"
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    fn window_widest(&self, _bar: u8) -> usize {
        4
    }

    fn window_read(&mut self, bar: u8, offset: u64, bytes: usize) -> u64 {
        let Some(window) = self.windows.get(usize::from(bar)) else {
            return ones(bytes);
        };
        let mut page = window.header(bar == 1);
        page.resize(0x100, 0);
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if at < page.len() {
            read_le(&page, at, bytes)
        } else {
            0
        }
    }

    fn window_write(&mut self, bar: u8, offset: u64, bytes: usize, value: u64) {
        let Some(window) = self.windows.get_mut(usize::from(bar)) else {
            return;
        };
        if offset == 0 && bytes == 1 {
            window.test = low8(value);
            window.count = 0;
        } else if offset == u64::from(OFFSET) && bytes == 1 && low8(value) == DATA {
            window.count = window.count.wrapping_add(1);
        }
    }

    fn reset(&mut self) {
        for window in &mut self.windows {
            window.test = 0;
            window.count = 0;
        }
    }

    fn save(&self) -> Value {
        save_record(&self.windows)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        self.windows = restore_record(state)?;
        Ok(())
    }
}
