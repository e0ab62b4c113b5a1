//! Interval timer 8254 (Intel 8254 data sheet) and the speaker port 0x61 that gates its third channel.
//!
//! Regions: 0 the four timer ports, 1 the speaker port. A channel's count is computed from the time it was loaded.

use hw_core::bits::{low8, low16};
use hw_core::clock::{cycles, nanoseconds};
use hw_core::device::{Device, StateError, restore_record, save_record};
use hw_core::{Clock, Line};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(test)]
mod tests;

/// Input clock.
pub const HERTZ: u64 = 1_193_182;
/// Half a period of the memory refresh that bit 4 of port 0x61 shows.
const REFRESH: u64 = 15_085;

/// Order in which the bytes of a count come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Bytes {
    Low,
    High,
    Both,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Channel {
    /// What the guest wrote; 0 counts as 0x10000.
    count: u16,
    mode: u8,
    bcd: bool,
    bytes: Bytes,
    gate: bool,
    /// When counting began; `None` while it waits for a count or a gate.
    loaded: Option<u64>,
    latch: Option<u16>,
    status: Option<u8>,
    /// Half-written low byte.
    written: Option<u8>,
    /// The next read of two gives the high byte.
    high_next: bool,
}

impl Channel {
    fn new(gate: bool) -> Self {
        Self {
            count: 0,
            mode: 3,
            bcd: false,
            bytes: Bytes::Both,
            gate,
            loaded: None,
            latch: None,
            status: None,
            written: None,
            high_next: false,
        }
    }

    fn total(&self) -> u64 {
        let count = if self.bcd {
            let digit = |n: u16| self.count >> (4 * n) & 15;
            u64::from(digit(3).min(9) * 1000 + digit(2).min(9) * 100)
                + u64::from(digit(1).min(9) * 10 + digit(0).min(9))
        } else {
            u64::from(self.count)
        };
        match (count, self.bcd) {
            (0, true) => 10_000,
            (0, false) => 0x1_0000,
            (count, _) => count,
        }
    }

    fn elapsed(&self, now: u64) -> Option<u64> {
        let loaded = self.loaded?;
        Some(cycles(now.saturating_sub(loaded), HERTZ))
    }

    fn periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    fn output(&self, now: u64) -> bool {
        let total = self.total();
        match (self.mode, self.elapsed(now)) {
            (0, None) => false,
            (_, None) => true,
            (0 | 1, Some(done)) => done >= total,
            (2, Some(done)) => done % total != total - 1 || total == 1,
            (3, Some(done)) => done % total < total.div_ceil(2),
            (_, Some(done)) => done != total,
        }
    }

    /// When the output next changes. Mode 2 is low for one cycle only: its low and high again count as one change.
    fn next_change(&self, now: u64) -> Option<u64> {
        let total = self.total();
        let done = self.elapsed(now)?;
        let start = done / total * total;
        let at = match self.mode {
            0 | 1 if done < total => total,
            2 => start + total,
            3 if done - start < total.div_ceil(2) && total > 1 => start + total.div_ceil(2),
            3 => start + total,
            4 | 5 if done < total => total,
            4 | 5 if done == total => total + 1,
            _ => return None,
        };
        Some(self.loaded?.saturating_add(nanoseconds(at, HERTZ)))
    }

    fn value(&self, now: u64) -> u16 {
        let total = self.total();
        let done = self.elapsed(now).unwrap_or(0);
        let left = match self.mode {
            2 => total - done % total,
            3 => total - done * 2 % total,
            _ => total.wrapping_sub(done) & 0xffff,
        };
        let left = low16(left);
        if !self.bcd {
            return left;
        }
        let left = left % 10_000;
        (left / 1000) << 12 | (left / 100 % 10) << 8 | (left / 10 % 10) << 4 | (left % 10)
    }

    fn set_gate(&mut self, gate: bool, now: u64) {
        let rises = gate && !self.gate;
        match self.mode {
            1 | 5 if rises => self.loaded = Some(now),
            2 | 3 if rises => self.loaded = Some(now),
            _ => {}
        }
        self.gate = gate;
    }

    fn control(&mut self, value: u8, now: u64) {
        match value >> 4 & 3 {
            0 => self.latch_count(now),
            bytes => {
                self.bytes = match bytes {
                    1 => Bytes::Low,
                    2 => Bytes::High,
                    _ => Bytes::Both,
                };
                self.mode = match value >> 1 & 7 {
                    mode @ 6.. => mode - 4,
                    mode => mode,
                };
                self.bcd = value & 1 != 0;
                self.loaded = None;
                self.written = None;
                self.high_next = false;
                self.latch = None;
                self.status = None;
            }
        }
    }

    fn latch_count(&mut self, now: u64) {
        if self.latch.is_none() {
            self.latch = Some(self.value(now));
            self.high_next = false;
        }
    }

    fn latch_status(&mut self, now: u64) {
        if self.status.is_none() {
            let bytes = match self.bytes {
                Bytes::Low => 1,
                Bytes::High => 2,
                Bytes::Both => 3,
            };
            let output = u8::from(self.output(now)) << 7;
            let null = u8::from(self.loaded.is_none()) << 6;
            self.status = Some(output | null | bytes << 4 | self.mode << 1 | u8::from(self.bcd));
        }
    }

    fn write(&mut self, value: u8, now: u64) {
        let count = match (self.bytes, self.written) {
            (Bytes::Low, _) => u16::from(value),
            (Bytes::High, _) => u16::from(value) << 8,
            (Bytes::Both, None) => {
                self.written = Some(value);
                return;
            }
            (Bytes::Both, Some(low)) => u16::from(value) << 8 | u16::from(low),
        };
        self.written = None;
        self.count = count;
        // One-shot modes 1 and 5 wait for their gate.
        if !matches!(self.mode, 1 | 5) {
            self.loaded = Some(now);
        }
    }

    fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let value = self.latch.unwrap_or_else(|| self.value(now));
        let [low, high] = value.to_le_bytes();
        let (byte, last) = match (self.bytes, self.high_next) {
            (Bytes::Low, _) => (low, true),
            (Bytes::High, _) => (high, true),
            (Bytes::Both, false) => (low, false),
            (Bytes::Both, true) => (high, true),
        };
        self.high_next = !last;
        if last {
            self.latch = None;
        }
        byte
    }
}

/// All registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Registers {
    channels: [Channel; 3],
    speaker: bool,
    next: Option<u64>,
}

/// The timer.
pub struct Pit {
    registers: Registers,
    clock: Clock,
    line: Line,
}

impl Pit {
    /// A timer whose first channel drives `line`.
    pub fn new(clock: Clock, line: Line) -> Self {
        Self {
            registers: Registers::new(),
            clock,
            line,
        }
    }

    /// Brings the line and the deadline in line with the first channel.
    fn settle(&mut self, now: u64) {
        let channel = &self.registers.channels[0];
        self.line.set(channel.output(now));
        self.registers.next = channel.next_change(now);
    }

    fn command(&mut self, value: u8, now: u64) {
        let which = value >> 6;
        if which < 3 {
            self.registers.channels[usize::from(which)].control(value, now);
            return;
        }
        for (n, channel) in self.registers.channels.iter_mut().enumerate() {
            if value & (2 << n) == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                channel.latch_count(now);
            }
            if value & 0x10 == 0 {
                channel.latch_status(now);
            }
        }
    }
}

impl Registers {
    fn new() -> Self {
        Self {
            channels: [Channel::new(true), Channel::new(true), Channel::new(false)],
            speaker: false,
            next: None,
        }
    }
}

impl Device for Pit {
    fn name(&self) -> &'static str {
        "isa-pit"
    }

    fn widest(&self, _region: u32) -> usize {
        1
    }

    fn read(&mut self, region: u32, offset: u64, _bytes: usize) -> u64 {
        let now = self.clock.now();
        if region == 1 {
            let third = &self.registers.channels[2];
            let refresh = u8::from(now / REFRESH % 2 == 1);
            let value = u8::from(third.gate)
                | u8::from(self.registers.speaker) << 1
                | refresh << 4
                | u8::from(third.output(now)) << 5;
            return u64::from(value);
        }
        match self
            .registers
            .channels
            .get_mut(usize::from(low8(offset & 3)))
        {
            Some(channel) => u64::from(channel.read(now)),
            None => 0,
        }
    }

    fn write(&mut self, region: u32, offset: u64, _bytes: usize, value: u64) {
        let now = self.clock.now();
        let value = low8(value);
        if region == 1 {
            self.registers.speaker = value & 2 != 0;
            self.registers.channels[2].set_gate(value & 1 != 0, now);
            return;
        }
        match self
            .registers
            .channels
            .get_mut(usize::from(low8(offset & 3)))
        {
            Some(channel) => channel.write(value, now),
            None => self.command(value, now),
        }
        self.settle(now);
    }

    fn reset(&mut self) {
        self.registers = Registers::new();
        let now = self.clock.now();
        self.settle(now);
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let registers: Registers = restore_record(state)?;
        if registers.channels.iter().any(|channel| channel.mode > 5) {
            return Err(StateError("a timer mode that does not exist".to_owned()));
        }
        self.registers = registers;
        let now = self.clock.now();
        self.settle(now);
        Ok(())
    }

    fn deadline(&self) -> Option<u64> {
        self.registers.next
    }

    fn tick(&mut self, now: u64) {
        if self.registers.channels[0].periodic() {
            // Each period brings one rising edge, however late it is.
            let rises = self.registers.channels[0].output(now);
            if rises {
                self.line.set(false);
            }
        }
        self.settle(now);
    }
}
