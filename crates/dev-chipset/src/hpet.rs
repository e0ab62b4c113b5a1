//! High precision event timer (IA-PC HPET specification 1.0a): three comparators over a 100 MHz counter.
//!
//! In legacy mode the first two comparators take the places of the interval timer and the real-time clock; the machine
//! asks [`Hpet::legacy`] which of them is heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hw_core::bits::{low8, low32, ones};
use hw_core::device::{Device, StateError, restore_record, save_record};
use hw_core::{Clock, Line, Lines};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(test)]
mod tests;

use crate::wires;

/// Nanoseconds of a count.
const PERIOD: u64 = 10;
const TIMERS: usize = 3;
/// Revision 1, three timers, 64 bits, legacy capable, vendor 8086; period in femtoseconds.
const CAPABILITIES: u64 = (PERIOD * 1_000_000) << 32 | 0x8086_a201;
const ON: u64 = 1;
const LEGACY: u64 = 2;

const T_LEVEL: u64 = 1 << 1;
const T_ON: u64 = 1 << 2;
const T_PERIODIC: u64 = 1 << 3;
const T_CAN_PERIODIC: u64 = 1 << 4;
const T_64: u64 = 1 << 5;
const T_SET: u64 = 1 << 6;
const T_32: u64 = 1 << 8;
const T_WRITABLE: u64 = 0x3f4e;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Timer {
    config: u64,
    comparator: u64,
    /// What is added after each match of a periodic timer.
    period: u64,
    route: u64,
    /// Guest time of the next match.
    fires: Option<u64>,
}

impl Timer {
    fn mask(&self) -> u64 {
        if self.config & T_32 != 0 {
            ones(4)
        } else {
            u64::MAX
        }
    }
}

/// All registers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Registers {
    config: u64,
    status: u64,
    /// Counter while it stands; while it runs, what to add to guest time.
    base: u64,
    timers: [Timer; TIMERS],
}

/// The timer block.
pub struct Hpet {
    registers: Registers,
    clock: Clock,
    lines: [Option<Line>; TIMERS],
    wires: Lines,
    /// Bits say which global interrupts the comparators may use.
    routes: u32,
    legacy: Arc<AtomicBool>,
}

impl Hpet {
    /// A block whose comparators may use the interrupts of the `routes` mask.
    pub fn new(clock: Clock, wires: &Lines, routes: u32) -> Self {
        let mut new = Self {
            registers: Registers::default(),
            clock,
            lines: [None, None, None],
            wires: wires.clone(),
            routes,
            legacy: Arc::default(),
        };
        new.reset();
        new
    }

    /// True while the block stands in for the interval timer and the real-time clock.
    pub fn legacy(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.legacy)
    }

    fn counter(&self, now: u64) -> u64 {
        if self.registers.config & ON != 0 {
            self.registers.base.wrapping_add(now / PERIOD)
        } else {
            self.registers.base
        }
    }

    /// Which wire timer `n` drives.
    fn wire(&self, n: usize) -> usize {
        if self.registers.config & LEGACY != 0 && n < 2 {
            // The timer's input is global interrupt 0 for both controllers here; the machine moves it to pin 2.
            return wires::GSI + [0, 8][n];
        }
        wires::GSI + usize::from(low8(self.registers.timers[n].config >> 9 & 31))
    }

    /// Works out when timer `n` next matches.
    fn schedule(&mut self, n: usize, now: u64) {
        let counter = self.counter(now);
        let running = self.registers.config & ON != 0;
        let timer = &mut self.registers.timers[n];
        timer.fires = running.then(|| {
            let left = timer.comparator.wrapping_sub(counter) & timer.mask();
            // A comparator just passed matches at once for a while, as drivers that program short delays expect.
            let near = timer.mask() >> 1;
            let left = if left > near && timer.mask() == ones(4) {
                0
            } else {
                left
            };
            (now / PERIOD).saturating_add(left).saturating_mul(PERIOD)
        });
    }

    fn schedule_all(&mut self, now: u64) {
        for n in 0..TIMERS {
            self.schedule(n, now);
        }
    }

    fn fire(&mut self, n: usize) {
        let config = self.registers.timers[n].config;
        if config & T_LEVEL != 0 {
            self.registers.status |= 1 << n;
        }
        if config & T_ON == 0 {
            return;
        }
        if config & 1 << 14 != 0 {
            let route = self.registers.timers[n].route;
            self.wires.message(route >> 32, low32(route));
            return;
        }
        let wire = self.wire(n);
        let line = self.lines[n].insert(self.wires.line(wire));
        if config & T_LEVEL != 0 {
            line.set(true);
        } else {
            line.pulse();
        }
    }

    fn set_config(&mut self, value: u64, now: u64) {
        let counter = self.counter(now);
        self.registers.config = value & (ON | LEGACY);
        self.registers.base = if value & ON != 0 {
            counter.wrapping_sub(now / PERIOD)
        } else {
            counter
        };
        self.legacy.store(value & LEGACY != 0, Ordering::Release);
        self.schedule_all(now);
    }

    fn set_timer_config(&mut self, n: usize, value: u64, now: u64) {
        let timer = &mut self.registers.timers[n];
        timer.config = timer.config & !T_WRITABLE | value & T_WRITABLE;
        if timer.config & T_32 != 0 {
            timer.comparator &= ones(4);
            timer.period &= ones(4);
        }
        if timer.config & (T_ON | T_LEVEL) != T_ON | T_LEVEL {
            self.lines[n] = None;
        }
        self.schedule(n, now);
    }

    fn set_comparator(&mut self, n: usize, value: u64, now: u64) {
        let timer = &mut self.registers.timers[n];
        let value = value & timer.mask();
        let periodic = timer.config & T_PERIODIC != 0;
        if !periodic || timer.config & T_SET != 0 {
            timer.comparator = value;
        }
        if periodic {
            timer.period = value & (timer.mask() >> 1);
        }
        timer.config &= !T_SET;
        self.schedule(n, now);
    }

    /// The 64-bit register at `offset`.
    fn register(&self, offset: u64, now: u64) -> u64 {
        match offset {
            0x00 => CAPABILITIES,
            0x10 => self.registers.config,
            0x20 => self.registers.status,
            0xf0 => self.counter(now),
            0x100..0x160 => {
                let n = usize::from(low8((offset - 0x100) >> 5));
                let timer = &self.registers.timers[n];
                match offset & 0x18 {
                    0 => timer.config | u64::from(self.routes) << 32,
                    8 => timer.comparator,
                    0x10 => timer.route,
                    _ => 0,
                }
            }
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u64, value: u64, now: u64) {
        match offset {
            0x10 => self.set_config(value, now),
            0x20 => {
                self.registers.status &= !value;
                for n in 0..TIMERS {
                    if value & 1 << n != 0 {
                        self.lines[n] = None;
                    }
                }
            }
            0xf0 if self.registers.config & ON == 0 => self.registers.base = value,
            0x100..0x160 => {
                let n = usize::from(low8((offset - 0x100) >> 5));
                match offset & 0x18 {
                    0 => self.set_timer_config(n, value, now),
                    8 => self.set_comparator(n, value, now),
                    0x10 => self.registers.timers[n].route = value,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

impl Device for Hpet {
    fn name(&self) -> &'static str {
        "hpet"
    }

    fn read(&mut self, _region: u32, offset: u64, bytes: usize) -> u64 {
        let value = self.register(offset & 0x3f8, self.clock.now());
        (value >> ((offset & 7) * 8)) & ones(bytes)
    }

    fn write(&mut self, _region: u32, offset: u64, bytes: usize, value: u64) {
        let now = self.clock.now();
        let shift = (offset & 7) * 8;
        let mask = ones(bytes) << shift;
        let at = offset & 0x3f8;
        // Status is cleared by ones, so the other half must count as zeroes there.
        let kept = if at == 0x20 {
            0
        } else {
            self.register(at, now)
        };
        self.set_register(at, kept & !mask | value << shift & mask, now);
    }

    fn reset(&mut self) {
        self.registers = Registers::default();
        for timer in &mut self.registers.timers {
            timer.config = T_CAN_PERIODIC | T_64 | 1 << 15;
            timer.comparator = u64::MAX;
        }
        self.lines = [None, None, None];
        self.legacy.store(false, Ordering::Release);
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        self.registers = restore_record(state)?;
        let legacy = self.registers.config & LEGACY != 0;
        self.legacy.store(legacy, Ordering::Release);
        for n in 0..TIMERS {
            self.lines[n] = None;
            let level = T_ON | T_LEVEL;
            let held = self.registers.status & 1 << n != 0;
            if held && self.registers.timers[n].config & level == level {
                let wire = self.wire(n);
                self.lines[n].insert(self.wires.line(wire)).set(true);
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Option<u64> {
        let timers = self.registers.timers.iter();
        timers
            .filter(|timer| timer.config & T_ON != 0)
            .filter_map(|timer| timer.fires)
            .min()
    }

    fn tick(&mut self, now: u64) {
        for n in 0..TIMERS {
            let timer = &mut self.registers.timers[n];
            if timer.fires.is_none_or(|at| at > now) {
                continue;
            }
            timer.fires = None;
            if timer.config & T_PERIODIC != 0 && timer.period != 0 {
                let counter = self.registers.base.wrapping_add(now / PERIOD);
                let timer = &mut self.registers.timers[n];
                let behind = counter.wrapping_sub(timer.comparator) & timer.mask();
                let steps = behind / timer.period + 1;
                let next = timer
                    .comparator
                    .wrapping_add(steps.wrapping_mul(timer.period));
                timer.comparator = next & timer.mask();
                self.schedule(n, now);
            }
            self.fire(n);
        }
    }
}
