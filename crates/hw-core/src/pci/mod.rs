//! The PCI bus: configuration space of its functions, and their windows (BARs) in the address spaces.
//!
//! The bus is one device of the machine; functions belong to it. Region numbers of its mappings:
//! ```text
//!   0                    ports 0xcf8 to 0xcff (PCI local bus 3.0, 3.2.2.3.2)
//!   1                    extended configuration space (ECAM: bus, device and function, register)
//!   2                    nothing: reads as ones
//!   0x100 + devfn*16 + n window n of a function; 8 to 15 are mappings of its own
//! ```
//! GAP: one bus only, no bridges.

use std::any::Any;
use std::collections::BTreeMap;

use guest_mem::Ram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bits::{low8, low16, low32, ones};
use crate::device::{Device, HostEvent, StateError, restore_record, save_record};
use crate::memory::{Backing, MappingId, Shared, change};

mod config;
mod message;
mod msi;
mod pin;
#[cfg(test)]
mod tests;

pub use config::{Bar, COMMAND, Config, Identity};
pub use message::Msi;
pub use msi::{MSIX_ID, Msix, Vector};
pub use pin::Pin;

/// First region number of the functions' windows.
const WINDOWS: u32 = 0x100;
/// Region number of extended configuration space.
pub const ECAM: u32 = 1;
/// Region number at which nothing answers, to hide what is below.
pub const NOTHING: u32 = 2;
/// Windows show through RAM, never over it.
const WINDOW_PRIORITY: i32 = -1;
/// Bits of the address register. Bits 0 and 1 choose the byte beside those of the port, as with the reference: test
/// programs rely on it.
const ADDRESS: u32 = 0x80ff_ffff;
/// Bar number of the expansion ROM.
const ROM: usize = 6;

/// One function on the bus. Configuration space is kept in its [`Config`]; the bus reads and writes it.
pub trait Function: Send + Any {
    /// Name, as messages have it.
    fn name(&self) -> &'static str;
    /// Configuration space.
    fn config(&self) -> &Config;
    /// Configuration space, to change.
    fn config_mut(&mut self) -> &mut Config;
    /// The guest is about to read configuration space: what mirrors something is brought up to date.
    fn config_reads(&mut self, _offset: usize, _bytes: usize) {}
    /// The guest wrote to configuration space; the write is done already.
    fn config_written(&mut self, _offset: usize, _bytes: usize) {}
    /// Reads from window `bar`.
    fn window_read(&mut self, _bar: u8, _offset: u64, bytes: usize) -> u64 {
        ones(bytes)
    }
    /// Writes to window `bar`.
    fn window_write(&mut self, _bar: u8, _offset: u64, _bytes: usize, _value: u64) {}
    /// The memory behind window `bar`, for one that is no registers.
    fn window_memory(&self, _bar: u8) -> Option<Ram> {
        None
    }
    /// The memory behind the expansion ROM.
    fn expansion_rom(&self) -> Option<Ram> {
        None
    }
    /// See [`Device::widest`].
    fn window_widest(&self, _bar: u8) -> usize {
        8
    }
    /// See [`Device::host_event`].
    fn host_event(&mut self, _event: HostEvent) {}
    /// See [`Device::completed`].
    fn completed(&mut self) {}
    /// Power-on state, beyond [`Config::reset`] which the bus does.
    fn reset(&mut self);
    /// State beyond configuration space.
    fn save(&self) -> Value;
    /// Takes over state beyond configuration space, which is restored already.
    ///
    /// # Errors
    /// The record is not one of this function.
    fn restore(&mut self, state: &Value) -> Result<(), StateError>;
    /// See [`Device::deadline`].
    fn deadline(&self) -> Option<u64> {
        None
    }
    /// See [`Device::tick`].
    fn tick(&mut self, _now: u64) {}
}

struct Slot {
    function: Box<dyn Function>,
    /// Six windows and the expansion ROM.
    windows: [Option<Window>; 7],
}

struct Window {
    id: MappingId,
    io: bool,
    at: Option<u64>,
}

/// The host's side of the bus.
pub struct Bus {
    /// This device's number in its machine.
    number: usize,
    memory: Shared,
    ports: Shared,
    slots: BTreeMap<u8, Slot>,
    address: u32,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    address: u32,
    functions: BTreeMap<u8, SavedFunction>,
}

#[derive(Serialize, Deserialize)]
struct SavedFunction {
    name: String,
    config: Vec<u8>,
    state: Value,
}

/// Device and function as one number.
pub const fn devfn(device: u8, function: u8) -> u8 {
    (device & 31) << 3 | (function & 7)
}

/// Region number, on the bus as a device, of window `n` of a function; 8 to 15 are for mappings that a function makes
/// itself.
pub const fn region(devfn: u8, n: u8) -> u32 {
    WINDOWS + ((devfn as u32) << 4) + (n & 15) as u32
}

/// Where a function is: what it needs to map ports and memory beside its windows.
#[derive(Debug, Clone)]
pub struct Place {
    /// The bus's number as a device of its machine.
    pub bus: usize,
    /// Device and function.
    pub devfn: u8,
    /// Memory.
    pub memory: Shared,
    /// I/O ports.
    pub ports: Shared,
}

impl Place {
    /// What answers in window `n` of the function.
    pub fn backing(&self, n: u8) -> Backing {
        Backing::device(self.bus, region(self.devfn, n))
    }
}

impl Bus {
    /// An empty bus that is device `number` of its machine.
    pub fn new(number: usize, memory: &Shared, ports: &Shared) -> Self {
        change(ports).map(0xcf8, 8, 0, Backing::device(number, 0));
        Self {
            number,
            memory: Shared::clone(memory),
            ports: Shared::clone(ports),
            slots: BTreeMap::new(),
            address: 0,
        }
    }

    /// Puts a function on the bus.
    pub fn plug(&mut self, devfn: u8, mut function: Box<dyn Function>) {
        function.config().set_place(devfn);
        let rom = function.expansion_rom();
        if let Some(rom) = &rom {
            function.config_mut().add_rom(rom.size());
        }
        let windows = std::array::from_fn(|n| {
            if n == ROM {
                let id = change(&self.memory).map(
                    0,
                    rom.as_ref()?.size(),
                    WINDOW_PRIORITY,
                    Backing::Off,
                );
                return Some(Window {
                    id,
                    io: false,
                    at: None,
                });
            }
            let bar = function.config().bar(n)?;
            let space = if bar.is_io() {
                &self.ports
            } else {
                &self.memory
            };
            let id = change(space).map(0, bar.size(), WINDOW_PRIORITY, Backing::Off);
            Some(Window {
                id,
                io: bar.is_io(),
                at: None,
            })
        });
        self.slots.insert(devfn, Slot { function, windows });
    }

    /// A function on the bus.
    pub fn function(&mut self, devfn: u8) -> Option<&mut dyn Function> {
        let slot = self.slots.get_mut(&devfn)?;
        Some(slot.function.as_mut())
    }

    /// The first device number from `first` on at which nothing is plugged.
    pub fn free_device(&self, first: u8) -> Option<u8> {
        (first..32).find(|device| (0..8).all(|f| !self.slots.contains_key(&devfn(*device, f))))
    }

    /// What is on the bus, in order: device and function, name, configuration space.
    pub fn functions(&self) -> impl Iterator<Item = (u8, &'static str, &Config)> {
        let slots = self.slots.iter();
        slots.map(|(devfn, slot)| (*devfn, slot.function.name(), slot.function.config()))
    }

    /// Reads configuration space.
    pub fn config_read(&mut self, bus: u8, devfn: u8, offset: usize, bytes: usize) -> u64 {
        match self.slots.get_mut(&devfn) {
            Some(slot) if bus == 0 => {
                slot.function.config_reads(offset, bytes);
                slot.function.config().read(offset, bytes)
            }
            _ => ones(bytes),
        }
    }

    /// Writes configuration space.
    pub fn config_write(&mut self, bus: u8, devfn: u8, offset: usize, bytes: usize, value: u64) {
        if bus != 0 {
            return;
        }
        if let Some(slot) = self.slots.get_mut(&devfn) {
            slot.function.config_mut().write(offset, bytes, value);
            slot.function.config_written(offset, bytes);
            self.place(devfn);
        }
    }

    /// Brings the mappings of a function in line with its windows' registers.
    fn place(&mut self, devfn: u8) {
        let Some(slot) = self.slots.get_mut(&devfn) else {
            return;
        };
        for (n, window) in (0_u8..).zip(&mut slot.windows) {
            let Some(window) = window else { continue };
            let config = slot.function.config();
            let at = match usize::from(n) {
                ROM => config.rom_address(),
                bar => config.bar_address(bar),
            };
            if at == window.at {
                continue;
            }
            window.at = at;
            let mut space = change(if window.io { &self.ports } else { &self.memory });
            match at {
                Some(address) => {
                    let memory = match usize::from(n) {
                        ROM => slot.function.expansion_rom(),
                        _ => slot.function.window_memory(n),
                    };
                    let backing = match memory {
                        Some(ram) if usize::from(n) == ROM => Backing::Rom { ram, offset: 0 },
                        Some(ram) => Backing::Ram { ram, offset: 0 },
                        None => {
                            let region = region(devfn, n);
                            Backing::device(self.number, region)
                        }
                    };
                    // Off first, so that the old place is never seen at the new address.
                    space.set_backing(window.id, Backing::Off);
                    space.move_to(window.id, address);
                    space.set_backing(window.id, backing);
                }
                None => space.set_backing(window.id, Backing::Off),
            }
        }
    }

    fn window(&mut self, region: u32) -> Option<(&mut Slot, u8)> {
        let which = region.checked_sub(WINDOWS)?;
        let devfn = u8::try_from(which / 16).ok()?;
        let bar = u8::try_from(which % 16).ok()?;
        Some((self.slots.get_mut(&devfn)?, bar))
    }

    /// What the address register selects: bus, device and function, offset of the double word.
    fn selected(&self) -> Option<(u8, u8, usize)> {
        if self.address & 0x8000_0000 == 0 {
            return None;
        }
        let [offset, devfn, bus, _] = self.address.to_le_bytes();
        Some((bus, devfn, usize::from(offset)))
    }
}

impl Device for Bus {
    fn name(&self) -> &'static str {
        "pci"
    }

    fn widest(&self, region: u32) -> usize {
        let Some(which) = region.checked_sub(WINDOWS) else {
            return 4;
        };
        let devfn = u8::try_from(which / 16).unwrap_or(0);
        let slot = self.slots.get(&devfn);
        slot.map_or(8, |slot| {
            slot.function.window_widest(low8(u64::from(which % 16)))
        })
    }

    fn read(&mut self, region: u32, offset: u64, bytes: usize) -> u64 {
        if region == ECAM {
            let (bus, devfn, register) = ecam(offset);
            return self.config_read(bus, devfn, register, bytes);
        }
        if region != 0 {
            return match self.window(region) {
                Some((slot, bar)) => slot.function.window_read(bar, offset, bytes),
                None => ones(bytes),
            };
        }
        match (offset, self.selected()) {
            (0, _) if bytes == 4 => u64::from(self.address),
            (4..=7, Some((bus, devfn, register))) => {
                let at = register | usize::from(low8(offset & 3));
                self.config_read(bus, devfn, at, bytes)
            }
            _ => ones(bytes),
        }
    }

    fn write(&mut self, region: u32, offset: u64, bytes: usize, value: u64) {
        if region == ECAM {
            let (bus, devfn, register) = ecam(offset);
            return self.config_write(bus, devfn, register, bytes, value);
        }
        if region != 0 {
            if let Some((slot, bar)) = self.window(region) {
                slot.function.window_write(bar, offset, bytes, value);
            }
            return;
        }
        match (offset, self.selected()) {
            (0, _) if bytes == 4 => self.address = low32(value) & ADDRESS,
            (4..=7, Some((bus, devfn, register))) => {
                let at = register | usize::from(low8(offset & 3));
                self.config_write(bus, devfn, at, bytes, value);
            }
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.address = 0;
        let all: Vec<u8> = self.slots.keys().copied().collect();
        for slot in self.slots.values_mut() {
            slot.function.config_mut().reset();
            slot.function.reset();
        }
        for devfn in all {
            self.place(devfn);
        }
    }

    fn save(&self) -> Value {
        let functions = self.slots.iter().map(|(devfn, slot)| {
            let saved = SavedFunction {
                name: slot.function.name().to_owned(),
                config: slot.function.config().save(),
                state: slot.function.save(),
            };
            (*devfn, saved)
        });
        save_record(&Saved {
            address: self.address,
            functions: functions.collect(),
        })
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        if !saved.functions.keys().eq(self.slots.keys()) {
            return Err(StateError("other functions on the bus".to_owned()));
        }
        self.address = saved.address & ADDRESS;
        for (devfn, from) in saved.functions {
            let Some(slot) = self.slots.get_mut(&devfn) else {
                continue;
            };
            if from.name != slot.function.name() {
                return Err(StateError(format!(
                    "{} where {} is",
                    from.name,
                    slot.function.name()
                )));
            }
            slot.function.config_mut().restore(&from.config)?;
            slot.function.restore(&from.state)?;
            self.place(devfn);
        }
        Ok(())
    }

    fn host_event(&mut self, event: HostEvent) {
        for slot in self.slots.values_mut() {
            slot.function.host_event(event);
        }
    }

    fn completed(&mut self) {
        for slot in self.slots.values_mut() {
            slot.function.completed();
        }
    }

    fn deadline(&self) -> Option<u64> {
        let all = self.slots.values();
        all.filter_map(|slot| slot.function.deadline()).min()
    }

    fn tick(&mut self, now: u64) {
        for slot in self.slots.values_mut() {
            if slot.function.deadline().is_some_and(|at| at <= now) {
                slot.function.tick(now);
            }
        }
    }
}

/// Bus, device and function, register of an offset in extended configuration space.
fn ecam(offset: u64) -> (u8, u8, usize) {
    let register = usize::from(low16(offset & 0xfff));
    (low8(offset >> 20), low8(offset >> 12), register)
}

/// Which of four wires (0 to 3) pin `pin` (1 for INTA#) of a device drives on a board that rotates by device.
pub const fn swizzle(device: u8, pin: u8) -> u8 {
    (device.wrapping_add(pin).wrapping_sub(1)) & 3
}

/// The command register as a number.
pub fn command(config: &Config) -> u16 {
    low16(config.read(COMMAND, 2))
}
