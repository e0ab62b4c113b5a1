//! A processor's interrupt controller: local APIC and x2APIC (Intel SDM volume 3, chapter "APIC").
//!
//! The timer counts nanoseconds: the bus clock is 1 GHz.

use hw_core::bits::{low8, low32};
use serde::{Deserialize, Serialize};

use super::{Delivery, Message};

const BASE: u64 = 0xfee0_0000;
const BASE_ON: u64 = 1 << 11;
const BASE_X2: u64 = 1 << 10;
const BASE_BOOT: u64 = 1 << 8;
/// Version 0x14, six vectors in the local table.
const VERSION: u32 = 0x0005_0014;
const MASKED: u32 = 1 << 16;
const SVR_ON: u32 = 1 << 8;
const TIMER: usize = 0;
const LINT0: usize = 3;
const LINT1: usize = 4;
const ERROR: usize = 5;
/// Error status: illegal vector sent, illegal vector received.
const ESR_SEND: u32 = 1 << 5;
const ESR_RECEIVE: u32 = 1 << 6;

/// Who a message of the interrupt command register is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shorthand {
    /// As the message says.
    None,
    /// The sender.
    Own,
    /// Everyone.
    All,
    /// Everyone else.
    Others,
}

/// What a register write asks the whole to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing more.
    None,
    /// Tell the I/O APIC that the interrupt of this level-triggered vector is done.
    End(u8),
    /// Send a message to others.
    Send(Message, Shorthand),
}

/// All registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Lapic {
    id: u32,
    /// The base register (MSR 0x1b).
    base: u64,
    task_priority: u8,
    logical: u32,
    format: u32,
    spurious: u32,
    in_service: [u32; 8],
    level: [u32; 8],
    requests: [u32; 8],
    error: u32,
    /// Errors since the last write to the error status.
    new_errors: u32,
    command: u64,
    /// The number that software gave it; it counts outside x2APIC mode.
    named: u8,
    local: [u32; 6],
    divide: u32,
    initial: u32,
    /// When the running count reaches zero, or the TSC deadline.
    expires: Option<u64>,
}

fn highest(bits: &[u32; 8]) -> Option<u8> {
    let word = (0..8_u8).rev().find(|n| bits[usize::from(*n)] != 0)?;
    let bit = 31 - bits[usize::from(word)].leading_zeros();
    Some(word * 32 + low8(u64::from(bit)))
}

fn put(bits: &mut [u32; 8], vector: u8, on: bool) {
    let bit = 1_u32 << (vector % 32);
    let word = &mut bits[usize::from(vector / 32)];
    *word = (*word & !bit) | if on { bit } else { 0 };
}

impl Lapic {
    /// The controller of processor `id`, after power-on.
    pub(super) fn new(id: u32) -> Self {
        let mut local = [MASKED; 6];
        if id == 0 {
            // As firmware would set it: the 8259 pair reaches the boot processor.
            local[LINT0] = 0x700;
        }
        Self {
            id,
            base: BASE | BASE_ON | if id == 0 { BASE_BOOT } else { 0 },
            task_priority: 0,
            logical: 0,
            format: u32::MAX,
            spurious: 0xff,
            in_service: [0; 8],
            level: [0; 8],
            requests: [0; 8],
            error: 0,
            new_errors: 0,
            command: 0,
            named: low8(u64::from(id)),
            local,
            divide: 0,
            initial: 0,
            expires: None,
        }
    }

    /// INIT: as after power-on, but where it is and whether it is on stay.
    pub(super) fn init(&mut self) {
        *self = Self {
            base: self.base,
            ..Self::new(self.id)
        };
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Whether the base register turns it on.
    pub(super) fn on(&self) -> bool {
        self.base & BASE_ON != 0
    }

    /// Whether it is reached by registers of the processor instead of memory.
    pub(super) fn x2(&self) -> bool {
        self.base & BASE_X2 != 0
    }

    fn enabled(&self) -> bool {
        self.on() && self.spurious & SVR_ON != 0
    }

    /// Where its page is in memory; `None` when it has none.
    pub(super) fn page(&self) -> Option<u64> {
        (self.on() && !self.x2()).then_some(self.base & 0x000f_ffff_ffff_f000)
    }

    /// The base register.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Writes the base register; false for a change of mode that is not allowed.
    pub(super) fn set_base(&mut self, value: u64) -> bool {
        let (on, x2) = (value & BASE_ON != 0, value & BASE_X2 != 0);
        let allowed = match (self.on(), self.x2()) {
            _ if x2 && !on => false,
            (true, true) => !on || x2,
            (false, _) => !x2,
            _ => true,
        };
        let reserved = value & !(0x000f_ffff_ffff_f000 | BASE_ON | BASE_X2 | BASE_BOOT);
        if !allowed || reserved != 0 {
            return false;
        }
        let switched_off = self.on() && !on;
        self.base = value & !BASE_BOOT | self.base & BASE_BOOT;
        if switched_off {
            self.init();
        }
        if x2 {
            self.logical = (self.id >> 4) << 16 | 1 << (self.id & 15);
        }
        true
    }

    /// Whether a message to `destination` is for this one.
    pub(super) fn is_meant(&self, destination: u32, logical: bool) -> bool {
        let everyone = if self.x2() { u32::MAX } else { 0xff };
        if destination == everyone || destination == 0xff && !self.x2() {
            return true;
        }
        if !logical {
            let own = if self.x2() {
                self.id
            } else {
                u32::from(self.named)
            };
            return destination == own;
        }
        if self.x2() {
            return destination >> 16 == self.logical >> 16
                && destination & self.logical & 0xffff != 0;
        }
        let mine = self.logical >> 24;
        if self.format >> 28 == 0xf {
            mine & destination & 0xff != 0
        } else {
            mine >> 4 == destination >> 4 & 0xf && mine & destination & 0xf != 0
        }
    }

    /// The priority below which nothing is taken.
    pub(super) fn processor_priority(&self) -> u8 {
        let serving = highest(&self.in_service).unwrap_or(0) & 0xf0;
        if self.task_priority & 0xf0 >= serving {
            self.task_priority
        } else {
            serving
        }
    }

    /// A vector arrives.
    pub(super) fn request(&mut self, vector: u8, level: bool) {
        if !self.enabled() {
            return;
        }
        if vector < 16 {
            return self.fail(ESR_RECEIVE);
        }
        put(&mut self.requests, vector, true);
        put(&mut self.level, vector, level);
    }

    fn fail(&mut self, error: u32) {
        self.new_errors |= error;
        let entry = self.local[ERROR];
        let vector = low8(u64::from(entry));
        if entry & MASKED == 0 && vector >= 16 {
            put(&mut self.requests, vector, true);
            put(&mut self.level, vector, false);
        }
    }

    /// The vector to serve now.
    pub(super) fn pending(&self) -> Option<u8> {
        if !self.enabled() {
            return None;
        }
        let vector = highest(&self.requests)?;
        (vector & 0xf0 > self.processor_priority() & 0xf0).then_some(vector)
    }

    /// Takes a vector into service.
    pub(super) fn acknowledge(&mut self) -> Option<u8> {
        let vector = self.pending()?;
        put(&mut self.requests, vector, false);
        put(&mut self.in_service, vector, true);
        Some(vector)
    }

    /// Whether the 8259 pair reaches the processor through this one.
    pub(super) fn takes_pic(&self) -> bool {
        !self.on() || self.local[LINT0] & (MASKED | 0x700) == 0x700
    }

    /// Whether a non-maskable interrupt at the input reaches the processor.
    pub(super) fn takes_nmi(&self) -> bool {
        !self.on() || self.local[LINT1] & (MASKED | 0x700) == 0x400
    }

    /// CR8.
    pub(super) fn task_priority(&self) -> u8 {
        self.task_priority >> 4
    }

    /// Sets CR8.
    pub(super) fn set_task_priority(&mut self, priority: u8) {
        self.task_priority = priority << 4;
    }

    fn end(&mut self) -> Effect {
        let Some(vector) = highest(&self.in_service) else {
            return Effect::None;
        };
        put(&mut self.in_service, vector, false);
        let word = self.level[usize::from(vector / 32)];
        if word & 1 << (vector % 32) != 0 {
            return Effect::End(vector);
        }
        Effect::None
    }

    /// Bus clocks a count takes, as a shift.
    fn shift(&self) -> u32 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        (code + 1) & 7
    }

    fn deadline_mode(&self) -> bool {
        self.local[TIMER] >> 17 & 3 == 2
    }

    fn periodic(&self) -> bool {
        self.local[TIMER] >> 17 & 3 == 1
    }

    fn period(&self) -> u64 {
        u64::from(self.initial) << self.shift()
    }

    fn load(&mut self, now: u64) {
        let running = self.initial != 0 && !self.deadline_mode();
        self.expires = running.then(|| now.saturating_add(self.period()));
    }

    fn count(&self, now: u64) -> u32 {
        match self.expires {
            Some(at) if !self.deadline_mode() && at > now => low32((at - now) >> self.shift()),
            _ => 0,
        }
    }

    /// The TSC deadline in guest time; zero when none is set.
    pub(super) fn tsc_deadline(&self) -> u64 {
        self.expires.filter(|_| self.deadline_mode()).unwrap_or(0)
    }

    /// Sets it.
    pub(super) fn set_tsc_deadline(&mut self, at: u64) {
        if self.deadline_mode() {
            self.expires = (at != 0).then_some(at);
        }
    }

    /// When the timer next fires.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.expires
    }

    /// Fires the timer if its time has come.
    pub(super) fn tick(&mut self, now: u64) {
        let Some(at) = self.expires.filter(|at| *at <= now) else {
            return;
        };
        let period = self.period();
        self.expires = if self.periodic() && period != 0 {
            // Periods that passed while the machine was busy count as one.
            Some(at + ((now - at) / period + 1) * period)
        } else {
            None
        };
        let entry = self.local[TIMER];
        if entry & MASKED == 0 {
            self.request(low8(u64::from(entry)), false);
        }
    }

    /// Reads the register at `offset` (a multiple of 16) of the page.
    pub(super) fn read(&mut self, offset: u64, now: u64) -> u32 {
        let word = usize::from(low8(offset >> 4 & 7));
        match offset & 0xff0 {
            0x20 if self.x2() => self.id,
            0x20 => u32::from(self.named) << 24,
            0x30 => VERSION,
            0x80 => u32::from(self.task_priority),
            0xa0 => u32::from(self.processor_priority()),
            0xd0 => self.logical,
            0xe0 => self.format,
            0xf0 => self.spurious,
            0x100..=0x170 => self.in_service[word],
            0x180..=0x1f0 => self.level[word],
            0x200..=0x270 => self.requests[word],
            0x280 => self.error,
            0x300 => low32(self.command),
            0x310 => low32(self.command >> 32),
            at @ 0x320..=0x370 => self.local[usize::from(low8((at - 0x320) >> 4))],
            0x380 => self.initial,
            0x390 => self.count(now),
            0x3e0 => self.divide,
            _ => 0,
        }
    }

    /// Writes the register at `offset` (a multiple of 16) of the page.
    pub(super) fn write(&mut self, offset: u64, value: u32, now: u64) -> Effect {
        match offset & 0xff0 {
            0x20 if !self.x2() => self.named = low8(u64::from(value >> 24)),
            0x80 => self.task_priority = low8(u64::from(value)),
            0xb0 => return self.end(),
            0xd0 if !self.x2() => self.logical = value & 0xff00_0000,
            0xe0 if !self.x2() => self.format = value | 0x0fff_ffff,
            0xf0 => self.set_spurious(value),
            0x280 => {
                self.error = self.new_errors;
                self.new_errors = 0;
            }
            0x300 => {
                self.command = self.command & !0xffff_ffff | u64::from(value & !(1 << 12));
                return self.send();
            }
            0x310 => self.command = self.command & 0xffff_ffff | u64::from(value) << 32,
            at @ 0x320..=0x370 => self.set_local(usize::from(low8((at - 0x320) >> 4)), value),
            0x380 if !self.deadline_mode() => {
                self.initial = value;
                self.load(now);
            }
            0x3e0 => {
                self.divide = value & 0xb;
                self.load(now);
            }
            // Self-IPI of an x2APIC.
            0x3f0 if self.x2() => self.request(low8(u64::from(value)), false),
            _ => {}
        }
        Effect::None
    }

    /// Writes the interrupt command register of an x2APIC.
    pub(super) fn command_x2(&mut self, value: u64) -> Effect {
        self.command = value & !(1 << 12);
        self.send()
    }

    /// The interrupt command register.
    pub(super) fn command(&self) -> u64 {
        self.command
    }

    fn set_spurious(&mut self, value: u32) {
        self.spurious = value & 0x1ff;
        if value & SVR_ON == 0 {
            for entry in &mut self.local {
                *entry |= MASKED;
            }
        }
    }

    fn set_local(&mut self, n: usize, value: u32) {
        let mask = match n {
            TIMER => 0x0007_00ff,
            LINT0 | LINT1 => 0x0001_a7ff,
            ERROR => 0x0001_00ff,
            _ => 0x0001_07ff,
        };
        let was_deadline = self.deadline_mode();
        let off = if self.spurious & SVR_ON == 0 && n != LINT0 {
            MASKED
        } else {
            0
        };
        if let Some(entry) = self.local.get_mut(n) {
            *entry = value & mask | off;
        }
        if was_deadline != self.deadline_mode() {
            self.expires = None;
        }
    }

    fn send(&mut self) -> Effect {
        let low = low32(self.command);
        let message = Message {
            destination: if self.x2() {
                low32(self.command >> 32)
            } else {
                low32(self.command >> 56)
            },
            logical: low & 1 << 11 != 0,
            delivery: Delivery::from_bits(low8(u64::from(low >> 8))),
            vector: low8(u64::from(low)),
            level: false,
        };
        let shorthand = match low >> 18 & 3 {
            0 => Shorthand::None,
            1 => Shorthand::Own,
            2 => Shorthand::All,
            _ => Shorthand::Others,
        };
        // INIT with the level low only synchronises arbitration ids, which nothing here has.
        let sync = message.delivery == Delivery::Init && low & 1 << 14 == 0 && low & 1 << 15 != 0;
        if sync {
            return Effect::None;
        }
        let fixed = matches!(message.delivery, Delivery::Fixed | Delivery::Lowest);
        if fixed && message.vector < 16 {
            self.fail(ESR_SEND);
            return Effect::None;
        }
        Effect::Send(message, shorthand)
    }
}
