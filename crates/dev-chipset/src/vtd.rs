//! An I/O memory management unit (Intel Virtualization Technology for Directed I/O, revision 3): it translates the
//! addresses of functions' transfers, and devices' interrupt messages.
//!
//! ```text
//!   transfer  -> root table [bus] -> context table [device] -> 3 or 4 levels of pages -> memory
//!   message   -> interrupt remapping table [handle] -> processor and vector
//! ```
//! Nothing is cached: each transfer walks the tables, so invalidations have nothing to do but to be answered.
//! GAP: no scalable mode, no extended interrupt mode, no page requests; the sources of messages are not verified.

mod interrupt;
mod queue;
mod registers;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hw_core::device::{Device, StateError, restore_record, save_record};
use hw_core::memory::{Dma, Remap, Shared, change};
use hw_core::{Lines, bits::low32, bits::ones};
use serde_json::Value;

use crate::interrupts::MessageRemap;
use registers::Registers;

/// Where its registers are.
pub const BASE: u64 = 0xfed9_0000;
/// How many bytes of them.
pub const SIZE: u64 = 0x1000;

/// What a user may choose.
#[derive(Debug, Clone, Copy)]
pub struct Choices {
    /// Messages are translated too.
    pub interrupts: bool,
    /// Width of the addresses that transfers may use: 39 or 48 bits.
    pub address_bits: u8,
}

/// The unit, which its registers, transfers and messages share.
#[derive(Debug)]
struct Unit {
    registers: Registers,
    choices: Choices,
    memory: Dma,
    lines: Lines,
}

/// A handle to the unit; as a device, its registers.
#[derive(Debug, Clone)]
pub struct Vtd(Arc<Mutex<Unit>>);

impl Vtd {
    /// A unit that is off; transfers in `memory` go by it from now on.
    pub fn new(choices: Choices, memory: &Shared, lines: &Lines) -> Self {
        let unit = Unit {
            registers: Registers::default(),
            choices,
            memory: Dma::new(memory),
            lines: lines.clone(),
        };
        let vtd = Self(Arc::new(Mutex::new(unit)));
        change(memory).set_remap(Arc::new(vtd.clone()));
        vtd
    }

    fn unit(&self) -> MutexGuard<'_, Unit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remap for Vtd {
    fn translate(&self, source: u16, address: u64, write: bool) -> Option<(u64, u64)> {
        self.unit().translate(source, address, write)
    }
}

impl MessageRemap for Vtd {
    fn remap(&self, address: u64, data: u32) -> Option<(u64, u32)> {
        self.unit().remap(address, data)
    }
}

impl Device for Vtd {
    fn name(&self) -> &'static str {
        "intel-iommu"
    }

    fn widest(&self, _region: u32) -> usize {
        4
    }

    fn read(&mut self, _region: u32, offset: u64, bytes: usize) -> u64 {
        let unit = self.unit();
        let word = unit.registers.word(offset & !3, unit.choices);
        u64::from(word) >> ((offset & 3) * 8) & ones(bytes)
    }

    fn write(&mut self, _region: u32, offset: u64, bytes: usize, value: u64) {
        // Registers are written as a whole.
        if offset & 3 == 0 && bytes == 4 {
            self.unit().write(offset, low32(value));
        }
    }

    fn reset(&mut self) {
        self.unit().registers = Registers::default();
    }

    fn save(&self) -> Value {
        save_record(&self.unit().registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        self.unit().registers = restore_record(state)?;
        Ok(())
    }
}
