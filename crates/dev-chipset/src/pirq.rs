//! Routing of the PCI bus's interrupt wires to the 8259 pair: a register a wire, bit 7 off, low bits the interrupt.

use std::sync::{Arc, Mutex, PoisonError};

use hw_core::{Line, Lines};

use crate::wires;

/// Interrupts a PCI wire may go to (82371SB data sheet): 0, 1, 2, 8 and 13 are not to be had.
const ALLOWED: u16 = 0xdef8;

struct Inner {
    levels: [bool; 8],
    registers: [u8; 8],
    lines: Vec<Line>,
}

/// Shared by the south bridge, which sets the registers, and the machine, which brings the wires' levels.
#[derive(Clone)]
pub struct PirqRouter {
    inner: Arc<Mutex<Inner>>,
}

impl PirqRouter {
    /// Everything off.
    pub fn new(lines: &Lines) -> Self {
        let inner = Inner {
            levels: [false; 8],
            registers: [0x80; 8],
            lines: (0..16).map(|n| lines.line(wires::GSI + n)).collect(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// A wire went to a level.
    pub fn set_level(&self, wire: usize, level: bool) {
        self.with(|inner| {
            if let Some(slot) = inner.levels.get_mut(wire) {
                *slot = level;
            }
        });
    }

    /// Sets a register.
    pub fn set_register(&self, wire: usize, value: u8) {
        self.with(|inner| {
            if let Some(slot) = inner.registers.get_mut(wire) {
                *slot = value;
            }
        });
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut inner);
        let mut high = 0_u16;
        for (level, register) in inner.levels.iter().zip(inner.registers) {
            if *level && register & 0x80 == 0 {
                high |= 1 << (register & 15) & ALLOWED;
            }
        }
        for (n, line) in inner.lines.iter_mut().enumerate() {
            line.set(high & 1 << n != 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_wires_may_share_an_interrupt_and_a_route_may_change_while_high() {
        let lines = Lines::new(wires::COUNT);
        let router = PirqRouter::new(&lines);
        router.set_level(0, true);
        assert!(!lines.level(11));
        router.set_register(0, 11);
        router.set_register(3, 11);
        router.set_level(3, true);
        router.set_level(0, false);
        assert!(lines.level(11));
        router.set_register(3, 10);
        assert!(lines.level(10) && !lines.level(11));
        router.set_register(3, 2);
        assert!(!lines.level(10) && !lines.level(2));
    }
}
