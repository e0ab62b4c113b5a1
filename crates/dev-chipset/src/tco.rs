//! ICH9's TCO watchdog: a counter of 0.6 seconds a step that must be reloaded; the second time it runs out, it resets.

use hw_core::Clock;
use hw_core::bits::{low16, ones, read_le};
use serde::{Deserialize, Serialize};

/// Nanoseconds of a step.
const STEP: u64 = 600_000_000;
const RELOAD: usize = 0x00;
const STATUS1: usize = 0x04;
const STATUS2: usize = 0x06;
const CONTROL1: usize = 0x08;
const TIMER: usize = 0x12;
const HALTED: u16 = 1 << 11;
const TIMEOUT: u16 = 1 << 3;
const SECOND_TIMEOUT: u16 = 2;

/// All registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tco {
    registers: [u8; 0x20],
    /// When the counter runs out.
    expires: Option<u64>,
    timeouts: u8,
    #[serde(skip, default = "Clock::stopped")]
    clock: Clock,
}

impl Tco {
    pub(crate) fn new(clock: Clock) -> Self {
        let mut new = Self {
            registers: [0; 0x20],
            expires: None,
            timeouts: 0,
            clock,
        };
        new.reset();
        new
    }

    pub(crate) fn reset(&mut self) {
        self.registers = [0; 0x20];
        self.set(TIMER, 4);
        self.set(RELOAD, 4);
        // It stands until someone lets it run.
        self.set(CONTROL1, HALTED);
        self.expires = None;
        self.timeouts = 0;
    }

    pub(crate) fn restore(&mut self, from: Self) {
        let clock = self.clock.clone();
        *self = from;
        self.clock = clock;
    }

    fn get(&self, at: usize) -> u16 {
        low16(read_le(&self.registers, at, 2))
    }

    fn set(&mut self, at: usize, value: u16) {
        self.registers[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn start(&mut self) {
        let steps = u64::from(self.get(TIMER) & 0x3ff).max(1);
        let running = self.get(CONTROL1) & HALTED == 0;
        self.expires = running.then(|| self.clock.now().saturating_add(steps * STEP));
    }

    pub(crate) fn read(&self, offset: u64, bytes: usize) -> u64 {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if at == RELOAD {
            let left = self
                .expires
                .map_or(0, |at| at.saturating_sub(self.clock.now()) / STEP);
            return left & 0x3ff & ones(bytes);
        }
        read_le(&self.registers, at, bytes)
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: usize, value: u64) {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        match at {
            RELOAD => {
                self.timeouts = 0;
                self.start();
            }
            STATUS1 | STATUS2 => {
                let kept = self.get(at) & !low16(value & ones(bytes));
                self.set(at, kept);
            }
            CONTROL1 => {
                self.set(at, low16(value) & 0x1f00);
                if low16(value) & HALTED != 0 {
                    self.expires = None;
                } else if self.expires.is_none() {
                    self.start();
                }
            }
            TIMER => self.set(at, low16(value) & 0x3ff),
            _ => {
                for n in 0..bytes.min(8) {
                    if let Some(slot) = self.registers.get_mut(at.saturating_add(n)) {
                        *slot = (value >> (n * 8)).to_le_bytes()[0];
                    }
                }
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.expires
    }

    /// True when the machine is to be reset.
    pub(crate) fn tick(&mut self, now: u64) -> bool {
        if self.expires.is_none_or(|at| at > now) {
            return false;
        }
        self.timeouts = self.timeouts.saturating_add(1);
        let status = self.get(STATUS1) | TIMEOUT;
        self.set(STATUS1, status);
        if self.timeouts < 2 {
            self.start();
            return false;
        }
        let status = self.get(STATUS2) | SECOND_TIMEOUT;
        self.set(STATUS2, status);
        self.expires = None;
        self.timeouts = 0;
        true
    }
}
