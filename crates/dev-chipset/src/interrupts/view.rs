//! What the controllers show to a monitor: registers, and how often each wire rose.

use super::{Interrupts, ioapic};

/// An 8259A's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PicView {
    /// Requests.
    pub requests: u8,
    /// Inputs that are masked.
    pub mask: u8,
    /// Inputs in service.
    pub in_service: u8,
    /// Input with the highest priority.
    pub first: u8,
    /// First vector.
    pub base: u8,
    /// Port 0 reads as what is in service.
    pub read_in_service: bool,
    /// Inputs that are level triggered.
    pub level: u8,
    /// Special fully nested mode.
    pub fully_nested: bool,
}

/// An I/O APIC's registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoApicView {
    /// Its number.
    pub id: u8,
    /// The register that the window shows.
    pub select: u8,
    /// Inputs with a request.
    pub requests: u32,
    /// The redirection table.
    pub table: Vec<u64>,
}

/// Inputs of the 8259 pair.
const PIC_INPUTS: usize = 16;
/// The master's input that the slave drives.
const CASCADE: usize = 2;

/// How often wires rose. No part of saved state: it is for people.
#[derive(Debug, Default)]
pub(super) struct Counts {
    levels: u32,
    cascade_level: bool,
    wires: [u64; ioapic::PINS as usize],
    cascade: u64,
}

impl Counts {
    /// A wire goes to a level.
    pub(super) fn wire(&mut self, gsi: u8, level: bool) {
        let Some(count) = self.wires.get_mut(usize::from(gsi)) else {
            return;
        };
        let bit = 1_u32 << gsi;
        if level && self.levels & bit == 0 {
            *count += 1;
        }
        self.levels = (self.levels & !bit) | if level { bit } else { 0 };
    }

    /// The slave's output goes to a level.
    pub(super) fn cascade(&mut self, level: bool) {
        self.cascade += u64::from(level && !self.cascade_level);
        self.cascade_level = level;
    }
}

impl Interrupts {
    /// Slave and master.
    pub fn pics(&self) -> [PicView; 2] {
        [self.chips.slave.view(), self.chips.master.view()]
    }

    /// The I/O APIC.
    pub fn io_apic(&self) -> IoApicView {
        self.chips.io.view()
    }

    /// How often each input of the 8259 pair rose.
    pub fn pic_counts(&self) -> [u64; PIC_INPUTS] {
        let mut counts = [0; PIC_INPUTS];
        counts.copy_from_slice(&self.counts.wires[..PIC_INPUTS]);
        counts[CASCADE] = self.counts.cascade;
        counts
    }

    /// How often each input of the I/O APIC rose.
    pub fn io_apic_counts(&self) -> &[u64] {
        &self.counts.wires
    }

    /// A register of a processor's controller by its place in the page, also where processors reach it otherwise.
    pub fn local_register(&mut self, cpu: usize, offset: u64) -> Option<u32> {
        let now = self.clock.now();
        Some(self.chips.local.get_mut(cpu)?.read(offset, now))
    }
}
