//! The reference's device for teaching (PCI 1234:11e8): it inverts, computes factorials, transfers and interrupts.
//!
//! ```text
//!   0x00 identity   0x04 inverts      0x08 factorial   0x20 status (bit 0 busy, bit 7 interrupts when done)
//!   0x24 interrupts 0x60 raises some  0x64 takes some back
//!   0x80 source     0x88 destination  0x90 bytes       0x98 command (1 go, 2 to memory, 4 interrupt when done)
//! ```
//! Its own memory is at 0x40000 of its addresses, a page. What it does is done when the write that asks for it is.

use hw_core::bits::{low32, ones};
use hw_core::device::{StateError, restore_record, save_record};
use hw_core::memory::{Dma, Shared};
use hw_core::pci::{Bar, Config, Function, Identity, Msi, Pin};
use hw_core::{Line, Lines};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::i440fx::SUBSYSTEM;

const IDENTITY: u32 = 0x0100_00ed;
const WINDOW: u32 = 1 << 20;
const OWN: u64 = 0x4_0000;
const OWN_BYTES: usize = 4096;

const INTERRUPT_WHEN_COMPUTED: u32 = 0x80;
/// Causes of interrupts.
const COMPUTED: u32 = 1;
const TRANSFERRED: u32 = 0x100;

const GO: u64 = 1;
const TO_MEMORY: u64 = 2;
const INTERRUPT: u64 = 4;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Registers {
    inverted: u32,
    factorial: u32,
    status: u32,
    interrupts: u32,
    source: u64,
    destination: u64,
    bytes: u64,
    command: u64,
    own: Vec<u8>,
}

impl Default for Registers {
    fn default() -> Self {
        Self {
            inverted: 0,
            factorial: 0,
            status: 0,
            interrupts: 0,
            source: 0,
            destination: 0,
            bytes: 0,
            command: 0,
            own: vec![0; OWN_BYTES],
        }
    }
}

/// The device.
pub struct Edu {
    config: Config,
    registers: Registers,
    dma: Dma,
    /// Address bits that its transfers have.
    mask: u64,
    pin: Pin,
    msi: Msi,
}

impl Edu {
    /// A device whose transfers reach the addresses in `mask`.
    pub fn new(mask: u64, memory: &Shared, line: Line, lines: &Lines) -> Self {
        let who = Identity {
            vendor: 0x1234,
            device: 0x11e8,
            revision: 0x10,
            class: 0x00_ff00,
            subsystem: SUBSYSTEM,
            pin: 1,
            multifunction: false,
        };
        let config = Config::new(&who).with_bar(0, Bar::Memory32(WINDOW));
        let (msi, config) = Msi::new(config, 0x40, lines);
        Self {
            dma: config.dma(memory),
            config,
            registers: Registers::default(),
            mask,
            pin: Pin::new(line),
            msi,
        }
    }

    fn raise(&mut self, causes: u32) {
        self.registers.interrupts |= causes;
        if self.registers.interrupts == 0 {
            return;
        }
        if self.msi.on(&self.config) {
            self.msi.raise(&self.config);
        } else {
            self.pin.set(true, &mut self.config);
        }
    }

    fn lower(&mut self, causes: u32) {
        self.registers.interrupts &= !causes;
        if self.registers.interrupts == 0 {
            self.pin.set(false, &mut self.config);
        }
    }

    fn compute(&mut self, of: u32) {
        // Thirty-four factors of two make all that follow zero.
        let factors = 1..=of.min(34);
        self.registers.factorial = factors.fold(1, u32::wrapping_mul);
        if self.registers.status & INTERRUPT_WHEN_COMPUTED != 0 {
            self.raise(COMPUTED);
        }
    }

    /// Where in its own memory a transfer starts.
    fn own(&self, address: u64) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(address.checked_sub(OWN)?).ok()?;
        let end = start.checked_add(usize::try_from(self.registers.bytes).ok()?)?;
        (end <= OWN_BYTES).then_some(start..end)
    }

    /// Transfers; one that leaves its own memory does nothing.
    fn transfer(&mut self) {
        let registers = &self.registers;
        let to_memory = registers.command & TO_MEMORY != 0;
        let (own, other) = if to_memory {
            (registers.source, registers.destination)
        } else {
            (registers.destination, registers.source)
        };
        if let Some(own) = self.own(own) {
            let own = self.registers.own.get_mut(own).unwrap_or_default();
            // A transfer that is refused leaves what it was to change as it was.
            let _ = if to_memory {
                self.dma.write(other & self.mask, own)
            } else {
                self.dma.read(other & self.mask, own)
            };
        }
        self.registers.command &= !GO;
        if self.registers.command & INTERRUPT != 0 {
            self.raise(TRANSFERRED);
        }
    }

    fn follow(&mut self) {
        let wanted = self.registers.interrupts != 0 && !self.msi.on(&self.config);
        self.pin.set(wanted, &mut self.config);
    }
}

impl Function for Edu {
    fn name(&self) -> &'static str {
        "edu"
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    fn config_written(&mut self, _offset: usize, _bytes: usize) {
        self.pin.follow(&self.config);
    }

    fn window_read(&mut self, _bar: u8, offset: u64, bytes: usize) -> u64 {
        let registers = &self.registers;
        let value = match (offset, bytes) {
            (0x80, 4 | 8) => registers.source,
            (0x88, 4 | 8) => registers.destination,
            (0x90, 4 | 8) => registers.bytes,
            (0x98, 4 | 8) => registers.command,
            (0x00, 4) => u64::from(IDENTITY),
            (0x04, 4) => u64::from(registers.inverted),
            (0x08, 4) => u64::from(registers.factorial),
            (0x20, 4) => u64::from(registers.status),
            (0x24, 4) => u64::from(registers.interrupts),
            _ => u64::MAX,
        };
        value & ones(bytes)
    }

    fn window_write(&mut self, _bar: u8, offset: u64, bytes: usize, value: u64) {
        let idle = self.registers.command & GO == 0;
        match (offset, bytes) {
            (0x80, 4 | 8) if idle => self.registers.source = value,
            (0x88, 4 | 8) if idle => self.registers.destination = value,
            (0x90, 4 | 8) if idle => self.registers.bytes = value,
            (0x98, 4 | 8) if value & GO != 0 => {
                self.registers.command = value;
                self.transfer();
            }
            (0x04, 4) => self.registers.inverted = !low32(value),
            (0x08, 4) => self.compute(low32(value)),
            (0x20, 4) => self.registers.status = low32(value) & INTERRUPT_WHEN_COMPUTED,
            (0x60, 4) => self.raise(low32(value)),
            (0x64, 4) => self.lower(low32(value)),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.registers = Registers::default();
        self.follow();
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let registers: Registers = restore_record(state)?;
        if registers.own.len() != OWN_BYTES {
            return Err(StateError("memory of a wrong size".to_owned()));
        }
        self.registers = registers;
        self.follow();
        Ok(())
    }
}
