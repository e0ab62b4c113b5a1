//! ICH9's serial ATA controller (AHCI 1.3.1): six ports with a hard disk or a CD drive each.
//!
//! ```text
//! window 4  32 ports   0x10 index, 0x14 data: the registers once more, for code that cannot reach memory
//! window 5  4 KiB      00 abilities, 04 control (bit 0 reset, 1 interrupts, 31 on), 08 interrupts of ports,
//!                      0c ports there are, 10 version; from 0x100 the ports, 0x80 bytes each
//! ```
//! GAP: no port multipliers, no power states of the link.

mod fis;
mod port;
mod table;
#[cfg(test)]
mod tests;

use hw_core::StateError;
use hw_core::bits::low32;
use hw_core::device::{restore_record, save_record};
use hw_core::irq::{Line, Lines};
use hw_core::memory::Shared;
use hw_core::pci::{Bar, Config, Function, Identity, Msi, Pin};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ide::Drive;
use port::{Port, shifted};

/// Ports of the controller.
pub const PORTS: usize = 6;
/// Slots of a port.
const SLOTS: u8 = 32;
/// Six ports, 32 slots, 1.5 Gbit/s, only AHCI, queued commands, 64-bit addresses.
const ABILITIES: u32 = 5 | 31 << 8 | 1 << 18 | 1 << 20 | 1 << 24 | 1 << 30 | 1 << 31;
const VERSION: u32 = 0x0001_0000;
const RESET: u32 = 1;
const INTERRUPTS: u32 = 2;
const ON: u32 = 1 << 31;
const FIRST_PORT: u64 = 0x100;
const PORT_SIZE: u64 = 0x80;

/// The controller.
pub struct Ahci {
    config: Config,
    ports: Vec<Port>,
    pin: Pin,
    msi: Msi,
    control: u32,
    index: u32,
    /// Causes of each port that were there at the last look.
    seen: [u32; PORTS],
}

#[derive(Serialize, Deserialize)]
struct Saved {
    ports: Vec<Value>,
    control: u32,
    index: u32,
    seen: [u32; PORTS],
}

impl Ahci {
    /// A controller with the drives of its ports.
    pub fn new(drives: [Option<Drive>; PORTS], line: Line, lines: &Lines, memory: &Shared) -> Self {
        let config = Config::new(&Identity {
            vendor: 0x8086,
            device: 0x2922,
            revision: 2,
            class: 0x01_06_01,
            subsystem: (0x1af4, 0x1100),
            pin: 1,
            multifunction: true,
        })
        .with_bar(4, Bar::Io(32))
        .with_bar(5, Bar::Memory32(0x1000))
        // Index and data are in window 4 at 0x10 (Serial ATA AHCI 1.3.1, 2.4).
        .with_capability(0xa8, 0x12, &[0x10, 0, 0x48, 0, 0, 0]);
        let (msi, mut config) = Msi::new(config, 0x80, lines);
        // Address map: AHCI.
        config.put(0x90, 1, 0x40);
        let dma = config.dma(memory);
        Self {
            ports: drives
                .into_iter()
                .map(|drive| Port::new(drive, dma.clone()))
                .collect(),
            config,
            pin: Pin::new(line),
            msi,
            control: ON,
            index: 0,
            seen: [0; PORTS],
        }
    }

    /// The drive of a port.
    pub fn drive(&mut self, port: usize) -> Option<&mut Drive> {
        self.ports.get_mut(port)?.drive()
    }

    /// Ports with causes that the guest wants to hear of.
    fn interrupts(&self) -> u32 {
        let all = self.ports.iter().enumerate();
        all.fold(0, |bits, (n, port)| {
            bits | u32::from(port.pending() != 0) << n
        })
    }

    fn follow(&mut self) {
        let mut fresh = false;
        for (seen, port) in self.seen.iter_mut().zip(&self.ports) {
            let now = port.pending();
            fresh |= now & !*seen != 0;
            *seen = now;
        }
        let wanted = self.interrupts() != 0 && self.control & INTERRUPTS != 0;
        if self.msi.on(&self.config) {
            self.pin.set(false, &mut self.config);
            if wanted && fresh {
                self.msi.raise(&self.config);
            }
        } else {
            self.pin.set(wanted, &mut self.config);
        }
    }

    fn read(&self, offset: u64) -> u32 {
        match offset {
            0x00 => ABILITIES,
            0x04 => self.control,
            0x08 => self.interrupts(),
            0x0c => (1 << PORTS) - 1,
            0x10 => VERSION,
            _ => match self.port_at(offset) {
                Some((n, register)) => self.ports.get(n).map_or(0, |port| port.read(register)),
                None => 0,
            },
        }
    }

    fn write(&mut self, offset: u64, value: u32) {
        match offset {
            0x04 => self.set_control(value),
            _ => {
                if let Some((n, register)) = self.port_at(offset)
                    && let Some(port) = self.ports.get_mut(n)
                {
                    port.write(register, value);
                }
            }
        }
        self.follow();
    }

    fn set_control(&mut self, value: u32) {
        if value & RESET != 0 {
            self.reset_ports();
        } else {
            let enabled = value & INTERRUPTS & !self.control != 0;
            self.control = value & INTERRUPTS | ON;
            if enabled {
                // What waited is told now.
                self.seen = [0; PORTS];
            }
        }
    }

    fn port_at(&self, offset: u64) -> Option<(usize, u64)> {
        let behind = offset.checked_sub(FIRST_PORT)?;
        let n = usize::try_from(behind / PORT_SIZE).ok()?;
        Some((n, behind % PORT_SIZE))
    }

    fn reset_ports(&mut self) {
        for port in &mut self.ports {
            port.reset();
        }
        self.control = ON;
        self.seen = [0; PORTS];
    }
}

impl Function for Ahci {
    fn name(&self) -> &'static str {
        "ich9-ahci"
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    fn config_written(&mut self, _offset: usize, _bytes: usize) {
        self.pin.follow(&self.config);
        self.follow();
    }

    fn window_read(&mut self, bar: u8, offset: u64, _bytes: usize) -> u64 {
        match (bar, offset & !3) {
            (4, 0x10) => shifted(self.index, offset),
            (4, 0x14) => shifted(self.read(u64::from(self.index)), offset),
            (5, register) => shifted(self.read(register), offset),
            _ => 0,
        }
    }

    fn window_write(&mut self, bar: u8, offset: u64, _bytes: usize, value: u64) {
        let value = low32(value);
        match (bar, offset) {
            (4, 0x10) => self.index = value & 0xffc,
            (4, 0x14) => self.write(u64::from(self.index), value),
            (5, _) if offset.is_multiple_of(4) => self.write(offset, value),
            _ => {}
        }
    }

    fn window_widest(&self, _bar: u8) -> usize {
        4
    }

    fn completed(&mut self) {
        for port in &mut self.ports {
            port.completed();
        }
        self.follow();
    }

    fn reset(&mut self) {
        self.reset_ports();
        self.index = 0;
        self.follow();
    }

    fn save(&self) -> Value {
        save_record(&Saved {
            ports: self.ports.iter().map(Port::save).collect(),
            control: self.control,
            index: self.index,
            seen: self.seen,
        })
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        if saved.ports.len() != self.ports.len() {
            return Err(StateError("other ports".to_owned()));
        }
        for (port, state) in self.ports.iter_mut().zip(&saved.ports) {
            port.restore(state)?;
        }
        self.control = saved.control & INTERRUPTS | ON;
        self.index = saved.index & 0xffc;
        self.seen = saved.seen;
        self.follow();
        Ok(())
    }
}
