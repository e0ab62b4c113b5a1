//! ACPI power management registers that PIIX4 and ICH9 share (ACPI 6.5, chapter 4.8): PM1 event and control blocks and
//! the PM timer, 12 bytes of ports.

use hw_core::bits::{low16, ones};
use hw_core::clock::{cycles, nanoseconds};
use hw_core::{Clock, Control, Line, Request};
use serde::{Deserialize, Serialize};

/// Frequency of the PM timer.
const HERTZ: u64 = 3_579_545;
const TIMER: u16 = 1;
const POWER_BUTTON: u16 = 1 << 8;
const REAL_TIME_CLOCK: u16 = 1 << 10;
const WAKE: u16 = 1 << 15;
/// Status bits that ones clear.
const STATUS: u16 = 0x8f31;
const ENABLE: u16 = 0x0f21;
const SCI_ON: u16 = 1;
const SLEEP: u16 = 1 << 13;

/// All registers, and the general purpose events with them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Registers {
    status: u16,
    enable: u16,
    control: u16,
    /// Half-periods of the timer's top bit up to which its status is worked out.
    halves: u64,
    /// General purpose event status and enable, up to 8 bytes each.
    gpe_status: u64,
    gpe_enable: u64,
    /// While the machine sleeps: the status bit that tells what woke it.
    asleep: Option<u16>,
}

/// What the wake-up types in the control register mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SleepTypes {
    /// Soft off.
    pub(crate) off: u16,
    /// Suspend to RAM; `None` when the board has it switched off.
    pub(crate) suspend: Option<u16>,
    /// Suspend to disk: the guest saved itself, power goes off.
    pub(crate) hibernate: Option<u16>,
}

/// The block.
pub(crate) struct Pm {
    registers: Registers,
    clock: Clock,
    sci: Line,
    control: Control,
    types: SleepTypes,
}

impl Pm {
    pub(crate) fn new(clock: Clock, sci: Line, control: Control, types: SleepTypes) -> Self {
        Self {
            registers: Registers::default(),
            clock,
            sci,
            control,
            types,
        }
    }

    fn halves(now: u64) -> u64 {
        cycles(now, HERTZ) >> 23
    }

    /// Brings timer status and the interrupt in line.
    fn settle(&mut self) {
        self.registers = self.save();
        let registers = &self.registers;
        let event = registers.status & registers.enable & ENABLE != 0;
        let general = registers.gpe_status & registers.gpe_enable != 0;
        self.sci
            .set(registers.control & SCI_ON != 0 && (event || general));
    }

    /// Reads from the block.
    pub(crate) fn read(&mut self, offset: u64, bytes: usize) -> u64 {
        self.settle();
        let now = self.clock.now();
        let registers = &self.registers;
        let mut raw = [0; 16];
        raw[..2].copy_from_slice(&registers.status.to_le_bytes());
        raw[2..4].copy_from_slice(&registers.enable.to_le_bytes());
        raw[4..6].copy_from_slice(&registers.control.to_le_bytes());
        let timer = cycles(now, HERTZ) & 0xff_ffff;
        raw[8..12].copy_from_slice(&timer.to_le_bytes()[..4]);
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        hw_core::bits::read_le(&raw, at, bytes)
    }

    /// Writes to the block.
    pub(crate) fn write(&mut self, offset: u64, bytes: usize, value: u64) {
        self.settle();
        for n in 0..bytes.min(8) {
            let at = offset.saturating_add(n as u64);
            let shift = (at & 1) * 8;
            let byte = low16((value >> (n * 8) & 0xff) << shift);
            let mask = low16(0xff << shift);
            let registers = &mut self.registers;
            match at & !1 {
                0 => registers.status &= !(byte & STATUS),
                2 => registers.enable = registers.enable & !mask | byte & ENABLE,
                4 => {
                    registers.control = registers.control & !mask | byte & !SLEEP;
                    if byte & SLEEP != 0 {
                        self.sleep();
                    }
                }
                _ => {}
            }
        }
        self.settle();
    }

    fn sleep(&mut self) {
        let kind = self.registers.control >> 10 & 7;
        if kind == self.types.off || Some(kind) == self.types.hibernate {
            self.control.ask(Request::Shutdown);
        } else if Some(kind) == self.types.suspend {
            // The user's own wish to wake it shows as a press of the power button.
            self.registers.asleep = Some(POWER_BUTTON);
            self.control.ask(Request::Suspend);
        }
    }

    /// A byte of the general purpose event block of `size` bytes: status in the first half, enable in the second.
    pub(crate) fn gpe_read(&mut self, offset: u64, bytes: usize, size: u64) -> u64 {
        let half = size / 2;
        let mut value = 0;
        for n in 0..(bytes as u64).min(8) {
            let at = offset.saturating_add(n);
            let byte = if at < half {
                self.registers.gpe_status >> (at * 8)
            } else if at < size {
                self.registers.gpe_enable >> ((at - half) * 8)
            } else {
                0xff
            };
            value |= (byte & 0xff) << (n * 8);
        }
        value & ones(bytes)
    }

    /// Writes there; ones clear status.
    pub(crate) fn gpe_write(&mut self, offset: u64, bytes: usize, size: u64, value: u64) {
        let half = size / 2;
        for n in 0..(bytes as u64).min(8) {
            let at = offset.saturating_add(n);
            let byte = value >> (n * 8) & 0xff;
            if at < half {
                self.registers.gpe_status &= !(byte << (at * 8));
            } else if at < size {
                let shift = (at - half) * 8;
                let kept = self.registers.gpe_enable & !(0xff << shift);
                self.registers.gpe_enable = kept | byte << shift;
            }
        }
        self.settle();
    }

    /// The guest asked by the APM port that ACPI be on or off.
    pub(crate) fn set_acpi(&mut self, on: bool) {
        self.registers.control = self.registers.control & !SCI_ON | u16::from(on);
        self.settle();
    }

    /// Someone pressed the power button.
    pub(crate) fn power_button(&mut self) {
        if self.registers.enable & POWER_BUTTON != 0 {
            self.registers.status |= POWER_BUTTON;
        }
        self.settle();
    }

    /// The real-time clock's line went high (ACPI 6.5, 4.8.2.4): it wakes a sleeping machine that has asked for that.
    pub(crate) fn clock_signal(&mut self) {
        if self.registers.asleep.is_some() && self.registers.enable & REAL_TIME_CLOCK != 0 {
            self.registers.asleep = Some(REAL_TIME_CLOCK);
            self.control.ask(Request::Wake);
        }
    }

    /// Someone pressed a key.
    pub(crate) fn key(&mut self) {
        if self.registers.asleep.is_some() {
            self.control.ask(Request::Wake);
        }
    }

    /// The machine wakes from suspend to RAM, after its reset.
    pub(crate) fn wake(&mut self) {
        let Some(cause) = self.registers.asleep.take() else {
            return;
        };
        self.registers.status |= WAKE | cause;
        self.settle();
    }

    /// Power stays on where wake events are noticed, so what woke the machine is known after the reset.
    pub(crate) fn reset(&mut self) {
        self.registers = Registers {
            halves: Self::halves(self.clock.now()),
            asleep: self.registers.asleep,
            ..Registers::default()
        };
        self.settle();
    }

    /// The registers as they are now.
    pub(crate) fn save(&self) -> Registers {
        let halves = Self::halves(self.clock.now());
        let mut registers = self.registers.clone();
        if halves != registers.halves {
            registers.halves = halves;
            registers.status |= TIMER;
        }
        registers
    }

    pub(crate) fn restore(&mut self, registers: Registers) {
        self.registers = registers;
        self.settle();
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let wanted = self.registers.enable & TIMER != 0 && self.registers.status & TIMER == 0;
        wanted.then(|| nanoseconds((self.registers.halves + 1) << 23, HERTZ))
    }

    pub(crate) fn tick(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_core::Lines;

    fn pm() -> (Pm, Clock, Lines, Control) {
        let (clock, lines, control) = (Clock::stopped(), Lines::new(1), Control::new());
        let types = SleepTypes {
            off: 0,
            suspend: Some(1),
            hibernate: Some(2),
        };
        let pm = Pm::new(clock.clone(), lines.line(0), control.clone(), types);
        (pm, clock, lines, control)
    }

    #[test]
    fn the_power_button_interrupts_when_it_is_enabled() {
        let (mut pm, _, lines, _) = pm();
        pm.power_button();
        assert_eq!(pm.read(0, 2), 0);
        pm.set_acpi(true);
        pm.write(2, 2, 0x100);
        pm.power_button();
        assert!(lines.level(0));
        assert_eq!(pm.read(0, 4), 0x0100_0100);
        pm.write(1, 1, 1);
        assert!(!lines.level(0));
    }

    #[test]
    fn sleeping_is_asked_of_the_machine() {
        let (mut pm, _, _, control) = pm();
        pm.write(4, 2, 0x0401);
        assert_eq!(control.take(), None);
        pm.write(4, 2, 0x2001);
        assert_eq!(control.take(), Some(Request::Shutdown));
        pm.write(4, 2, 0x2401);
        assert_eq!(control.take(), Some(Request::Suspend));
        assert_eq!(pm.read(4, 2), 0x0401);
    }

    #[test]
    fn a_sleeping_machine_wakes_by_what_it_has_asked_for() {
        let (mut pm, _, _, control) = pm();
        pm.write(2, 2, 0x400);
        pm.clock_signal();
        assert_eq!(control.take(), None);
        pm.write(4, 2, 0x2401);
        pm.clock_signal();
        assert_eq!(control.take(), Some(Request::Suspend));
        assert_eq!(control.take(), Some(Request::Wake));
        pm.reset();
        pm.wake();
        assert_eq!(pm.read(0, 4), 0x8400);
        // Not asked for: the clock. A key always wakes, and looks like the power button.
        pm.write(4, 2, 0x2401);
        pm.clock_signal();
        assert_eq!(control.take(), Some(Request::Suspend));
        assert_eq!(control.take(), None);
        pm.key();
        assert_eq!(control.take(), Some(Request::Wake));
        pm.reset();
        pm.wake();
        assert_eq!(pm.read(0, 4), 0x8100);
        // Awake, nothing is left of it.
        pm.reset();
        pm.wake();
        assert_eq!(pm.read(0, 4), 0);
    }

    #[test]
    fn the_timer_tells_when_its_top_bit_turns() {
        let (mut pm, clock, lines, _) = pm();
        pm.set_acpi(true);
        pm.write(2, 2, 1);
        let at = pm.deadline().expect("enabled");
        clock.advance(at);
        pm.tick();
        assert!(lines.level(0));
        assert_eq!(pm.read(8, 4), 0x80_0000);
    }

    #[test]
    fn general_purpose_events_are_cleared_by_ones() {
        let (mut pm, _, lines, _) = pm();
        pm.set_acpi(true);
        pm.registers.gpe_status = 0x12;
        pm.gpe_write(2, 2, 4, 0x10);
        assert!(lines.level(0));
        pm.gpe_write(0, 1, 4, 0x10);
        assert!(!lines.level(0));
        assert_eq!(pm.gpe_read(0, 4, 4), 0x0010_0002);
    }
}
