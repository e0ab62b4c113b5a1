//! Real-time clock and CMOS memory (Motorola MC146818A data sheet), 128 bytes behind ports 0x70 and 0x71.
//!
//! The date is kept as an offset from guest time, so nothing ticks unless the guest asks for interrupts.

use hw_core::bits::low8;
use hw_core::clock::SECOND;
use hw_core::device::{Device, HostEvent, StateError, restore_record, save_record};
use hw_core::{Clock, Control, Line, Request};
use qapi::calendar::{Date, date_of, seconds_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(test)]
mod tests;

const SECONDS: usize = 0;
const MINUTES: usize = 2;
const HOURS: usize = 4;
const WEEKDAY: usize = 6;
const DAY: usize = 7;
const MONTH: usize = 8;
const YEAR: usize = 9;
const A: usize = 10;
const B: usize = 11;
const C: usize = 12;
const D: usize = 13;
/// Why the machine was reset, for the firmware.
const SHUTDOWN: usize = 0x0f;
const RESUME: u8 = 0xfe;
/// Where firmware looks for the century.
const CENTURY: usize = 0x32;

const B_SET: u8 = 0x80;
const B_PERIODIC: u8 = 0x40;
const B_ALARM: u8 = 0x20;
const B_UPDATE: u8 = 0x10;
const B_BINARY: u8 = 4;
const B_24_HOURS: u8 = 2;
const C_ANY: u8 = 0x80;
/// Interrupts that are owed at most: some minutes of the fastest.
const MOST_OWED: u32 = 1 << 20;
/// How long before a second's end the update bit is set.
const UPDATE: u64 = 244_000;
/// Frequency of the time base.
const BASE_HERTZ: u64 = 32_768;

/// All registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Registers {
    index: u8,
    memory: Vec<u8>,
    /// Seconds since 1970 at guest time zero.
    epoch: i64,
    /// Nanoseconds of guest time at which seconds begin.
    phase: u64,
    /// Up to when flags are worked out.
    seen: u64,
    /// Periodic interrupts that the guest has not been given yet, where none may be lost.
    owed: u32,
}

/// The clock.
pub struct Rtc {
    registers: Registers,
    power_on: Vec<u8>,
    /// What it would show at guest time zero if nobody had set it.
    epoch: i64,
    clock: Clock,
    line: Line,
    control: Control,
    /// Periodic interrupts that came too fast for the guest are given later.
    catches_up: bool,
}

impl Rtc {
    /// A clock that shows `epoch` (seconds since 1970) at guest time zero.
    pub fn new(epoch: i64, clock: Clock, line: Line, control: Control) -> Self {
        let mut memory = vec![0; 128];
        memory[A] = 0x26;
        memory[B] = B_24_HOURS;
        memory[D] = 0x80;
        Self {
            registers: Registers {
                index: 0,
                memory: memory.clone(),
                epoch,
                phase: 0,
                seen: 0,
                owed: 0,
            },
            power_on: memory,
            epoch,
            clock,
            line,
            control,
            catches_up: false,
        }
    }

    /// The same, and no periodic interrupt is lost: those that the guest was too slow for follow when it has read the flags.
    #[must_use]
    pub fn catching_up(self) -> Self {
        Self {
            catches_up: true,
            ..self
        }
    }

    /// Puts a byte into CMOS memory, as the board does for the firmware; kept over resets.
    pub fn put(&mut self, index: u8, value: u8) {
        let index = usize::from(index & 0x7f);
        self.registers.memory[index] = value;
        self.power_on[index] = value;
    }

    fn date_seconds(&self, now: u64) -> i64 {
        let passed = now.saturating_sub(self.registers.phase) / SECOND;
        let passed = i64::try_from(passed).unwrap_or(0);
        self.registers.epoch.saturating_add(passed)
    }

    fn encode(&self, value: u8) -> u8 {
        if self.registers.memory[B] & B_BINARY != 0 {
            value
        } else {
            ((value / 10) << 4) | (value % 10)
        }
    }

    fn decode(&self, value: u8) -> u8 {
        if self.registers.memory[B] & B_BINARY != 0 {
            value
        } else {
            (value >> 4).saturating_mul(10).saturating_add(value & 15)
        }
    }

    fn encode_hours(&self, hours: u8) -> u8 {
        if self.registers.memory[B] & B_24_HOURS != 0 {
            return self.encode(hours);
        }
        let twelve = match hours % 12 {
            0 => 12,
            n => n,
        };
        self.encode(twelve) | if hours >= 12 { 0x80 } else { 0 }
    }

    fn decode_hours(&self, value: u8) -> u8 {
        if self.registers.memory[B] & B_24_HOURS != 0 {
            return self.decode(value);
        }
        let hours = self.decode(value & 0x7f) % 12;
        hours + if value & 0x80 != 0 { 12 } else { 0 }
    }

    /// Writes the date into the registers, unless the guest holds them.
    fn show(&mut self, now: u64) {
        if self.registers.memory[B] & B_SET != 0 {
            return;
        }
        let date = date_of(self.date_seconds(now));
        let fields = [
            (SECONDS, self.encode(date.second)),
            (MINUTES, self.encode(date.minute)),
            (HOURS, self.encode_hours(date.hour)),
            (WEEKDAY, self.encode(date.weekday + 1)),
            (DAY, self.encode(date.day)),
            (MONTH, self.encode(date.month)),
            (
                YEAR,
                self.encode(low8(date.year.rem_euclid(100).unsigned_abs())),
            ),
            (CENTURY, self.encode(low8((date.year / 100).unsigned_abs()))),
        ];
        for (register, value) in fields {
            self.registers.memory[register] = value;
        }
    }

    /// Takes the date from the registers.
    fn take_date(&mut self, now: u64) {
        let memory = &self.registers.memory;
        let year =
            i64::from(self.decode(memory[CENTURY])) * 100 + i64::from(self.decode(memory[YEAR]));
        let date = Date {
            year,
            month: self.decode(memory[MONTH]),
            day: self.decode(memory[DAY]),
            hour: self.decode_hours(memory[HOURS]),
            minute: self.decode(memory[MINUTES]),
            second: self.decode(memory[SECONDS]),
            weekday: 0,
        };
        self.registers.epoch = seconds_of(&date);
        self.registers.phase = now;
        let passed = i64::try_from(now / SECOND).unwrap_or(i64::MAX);
        let unset = self.epoch.saturating_add(passed);
        let offset = self.registers.epoch.saturating_sub(unset);
        self.control.ask(Request::ClockSet(offset));
    }

    fn period(&self) -> Option<u64> {
        let rate = self.registers.memory[A] & 15;
        let rate = match rate {
            0 => return None,
            1 | 2 => rate + 7,
            _ => rate,
        };
        Some((1_u64 << (rate - 1)) * SECOND / BASE_HERTZ)
    }

    fn alarm_matches(&self, second: i64) -> bool {
        let date = date_of(second);
        let memory = &self.registers.memory;
        let any = |value: u8| value & 0xc0 == 0xc0;
        let fits = |register: usize, value: u8| {
            let alarm = memory[register];
            any(alarm) || self.decode(alarm) == value
        };
        let hour = memory[HOURS + 1];
        fits(SECONDS + 1, date.second)
            && fits(MINUTES + 1, date.minute)
            && (any(hour) || self.decode_hours(hour) == date.hour)
    }

    /// Works out the flags up to `now`.
    fn settle(&mut self, now: u64) {
        let seen = self.registers.seen;
        self.registers.seen = now;
        if let Some(period) = self.period()
            && now / period != seen / period
        {
            let told = u64::from(self.registers.memory[C] & B_PERIODIC == 0);
            self.registers.memory[C] |= B_PERIODIC;
            if self.catches_up && self.registers.memory[B] & B_PERIODIC != 0 {
                let lost = (now / period)
                    .saturating_sub(seen / period)
                    .saturating_sub(told);
                let lost = u32::try_from(lost).unwrap_or(u32::MAX);
                self.registers.owed = self.registers.owed.saturating_add(lost).min(MOST_OWED);
            }
        }
        let (first, last) = (self.date_seconds(seen), self.date_seconds(now));
        if first != last && self.registers.memory[B] & B_SET == 0 {
            self.registers.memory[C] |= B_UPDATE;
            // A day has every alarm in it.
            let from = first.max(last.saturating_sub(86_400));
            if self.registers.memory[B] & B_ALARM != 0
                && (from + 1..=last).any(|second| self.alarm_matches(second))
            {
                self.registers.memory[C] |= B_ALARM;
            }
        }
        self.drive();
    }

    /// The guest has taken an interrupt; the next that it is owed follows.
    fn give_owed(&mut self) {
        if self.registers.memory[B] & B_PERIODIC == 0 {
            self.registers.owed = 0;
        }
        if self.registers.owed > 0 {
            self.registers.owed -= 1;
            self.registers.memory[C] |= B_PERIODIC;
            self.drive();
        }
    }

    fn drive(&mut self) {
        let memory = &mut self.registers.memory;
        let on = memory[B] & memory[C] & 0x70 != 0;
        memory[C] = memory[C] & !C_ANY | if on { C_ANY } else { 0 };
        self.line.set(on);
    }

    fn write_register(&mut self, index: usize, value: u8, now: u64) {
        match index {
            A => self.registers.memory[A] = value & 0x7f,
            B => {
                self.show(now);
                let was = self.registers.memory[B];
                self.registers.memory[B] = value;
                if was & B_SET != 0 && value & B_SET == 0 {
                    self.take_date(now);
                }
                self.drive();
            }
            C | D => {}
            SECONDS | MINUTES | HOURS | WEEKDAY | DAY | MONTH | YEAR | CENTURY => {
                self.show(now);
                self.registers.memory[index] = value;
                if self.registers.memory[B] & B_SET == 0 {
                    self.take_date(now);
                }
            }
            _ => self.registers.memory[index] = value,
        }
    }
}

impl Device for Rtc {
    fn name(&self) -> &'static str {
        "mc146818rtc"
    }

    fn widest(&self, _region: u32) -> usize {
        1
    }

    fn read(&mut self, _region: u32, offset: u64, _bytes: usize) -> u64 {
        if offset & 1 == 0 {
            return 0xff;
        }
        let now = self.clock.now();
        self.settle(now);
        self.show(now);
        let index = usize::from(self.registers.index);
        let value = self.registers.memory[index];
        match index {
            A => {
                let left = SECOND - now.saturating_sub(self.registers.phase) % SECOND;
                let held = self.registers.memory[B] & B_SET != 0;
                let updating = left <= UPDATE && !held;
                u64::from(value | if updating { 0x80 } else { 0 })
            }
            C => {
                self.registers.memory[C] = 0;
                self.drive();
                self.give_owed();
                u64::from(value)
            }
            _ => u64::from(value),
        }
    }

    fn write(&mut self, _region: u32, offset: u64, _bytes: usize, value: u64) {
        if offset & 1 == 0 {
            self.registers.index = low8(value) & 0x7f;
            return;
        }
        let now = self.clock.now();
        self.settle(now);
        self.write_register(usize::from(self.registers.index), low8(value), now);
    }

    fn reset(&mut self) {
        // The battery keeps date and memory; interrupts are off and their flags clear.
        self.registers.index = 0;
        let memory = &mut self.registers.memory;
        memory[B] &= !(B_PERIODIC | B_ALARM | B_UPDATE | 8);
        memory[C] = 0;
        for (n, byte) in self.power_on.iter().enumerate().skip(14) {
            if n != CENTURY && *byte != 0 {
                memory[n] = *byte;
            }
        }
        // The shutdown status would send the firmware into a resume that nobody prepared.
        memory[SHUTDOWN] = 0;
        self.line.set(false);
    }

    fn host_event(&mut self, event: HostEvent) {
        if event == HostEvent::Wake {
            // Firmware is to go on where the guest asked it to (ACPI 6.5, 16.3.2), not to start anew.
            self.registers.memory[SHUTDOWN] = RESUME;
        }
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let registers: Registers = restore_record(state)?;
        if registers.memory.len() != 128 || registers.index > 127 {
            return Err(StateError("CMOS memory of a wrong size".to_owned()));
        }
        self.registers = registers;
        self.drive();
        Ok(())
    }

    fn deadline(&self) -> Option<u64> {
        let memory = &self.registers.memory;
        let (on, flags) = (memory[B], memory[C]);
        let seen = self.registers.seen;
        let period = (on & !flags & B_PERIODIC != 0)
            .then(|| self.period())
            .flatten();
        let periodic =
            period.map(|period| (seen / period).saturating_add(1).saturating_mul(period));
        let second = (on & !flags & (B_ALARM | B_UPDATE) != 0 && on & B_SET == 0).then(|| {
            let done = seen.saturating_sub(self.registers.phase) / SECOND;
            let next = (done + 1).saturating_mul(SECOND);
            self.registers.phase.saturating_add(next)
        });
        periodic.into_iter().chain(second).min()
    }

    fn tick(&mut self, now: u64) {
        self.settle(now);
    }
}
