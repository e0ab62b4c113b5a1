//! Serial port 16550A (National Semiconductor PC16550D data sheet).
//!
//! What is sent leaves at once; what arrives waits in a queue of 16 bytes, and no more is taken from the backend than
//! fits. Break, parity and modem lines are as of a cable that is always ready.

use std::collections::VecDeque;

use backend_core::chars::Sink;
use hw_core::bits::low8;
use hw_core::clock::SECOND;
use hw_core::device::{Device, StateError, restore_record, save_record};
use hw_core::{Clock, Line};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(test)]
mod tests;

const FIFO: usize = 16;
const IER_RECEIVED: u8 = 1;
const IER_EMPTY: u8 = 2;
const IER_LINE: u8 = 4;
const IER_MODEM: u8 = 8;
const LCR_DIVISOR: u8 = 0x80;
const LCR_BREAK: u8 = 0x40;
const LSR_READY: u8 = 1;
const LSR_OVERRUN: u8 = 2;
const LSR_BREAK: u8 = 0x10;
const LSR_EMPTY: u8 = 0x60;
const MCR_LOOP: u8 = 0x10;
const MCR_OUT2: u8 = 8;
const MSR_READY: u8 = 0xb0;
/// Input clock of the divisor.
const BAUD_BASE: u64 = 115_200;

/// All registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Registers {
    divisor: u16,
    interrupt_enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    line_status: u8,
    modem_status: u8,
    scratch: u8,
    received: VecDeque<u8>,
    /// The transmitter became empty and nobody was told yet.
    empty_waits: bool,
    /// Bytes lie in the queue below the trigger level for so long that they are to be said.
    stale: bool,
    stale_at: Option<u64>,
}

impl Registers {
    fn new() -> Self {
        Self {
            divisor: 12,
            interrupt_enable: 0,
            fifo_control: 0,
            line_control: 0,
            modem_control: 8,
            line_status: LSR_EMPTY,
            modem_status: MSR_READY,
            scratch: 0,
            received: VecDeque::new(),
            empty_waits: false,
            stale: false,
            stale_at: None,
        }
    }

    fn fifo_on(&self) -> bool {
        self.fifo_control & 1 != 0
    }

    fn capacity(&self) -> usize {
        if self.fifo_on() { FIFO } else { 1 }
    }

    fn trigger(&self) -> usize {
        match (self.fifo_on(), self.fifo_control >> 6) {
            (false, _) | (true, 0) => 1,
            (true, 1) => 4,
            (true, 2) => 8,
            (true, _) => 14,
        }
    }

    /// The interrupt identification, without the FIFO bits.
    fn cause(&self) -> u8 {
        let on = self.interrupt_enable;
        if on & IER_LINE != 0 && self.line_status & 0x1e != 0 {
            6
        } else if on & IER_RECEIVED != 0 && self.received.len() >= self.trigger() {
            4
        } else if on & IER_RECEIVED != 0 && self.stale && !self.received.is_empty() {
            0xc
        } else if on & IER_EMPTY != 0 && self.empty_waits {
            2
        } else if on & IER_MODEM != 0 && self.modem_status & 0xf != 0 {
            0
        } else {
            1
        }
    }

    /// Four characters' time.
    fn patience(&self) -> u64 {
        u64::from(self.divisor.max(1)) * 40 * SECOND / BAUD_BASE
    }
}

/// A serial port.
pub struct Serial {
    registers: Registers,
    clock: Clock,
    line: Line,
    sink: Box<dyn Sink>,
}

impl Serial {
    /// A port that drives `line` and sends to `sink`.
    pub fn new(clock: Clock, line: Line, sink: Box<dyn Sink>) -> Self {
        Self {
            registers: Registers::new(),
            clock,
            line,
            sink,
        }
    }

    fn settle(&mut self) {
        // Out2 gates the interrupt on a PC's card; Linux and others set it, and a port without it still asks here, as
        // on the chips that have the gate inside the south bridge.
        self.line.set(self.registers.cause() != 1);
    }

    fn put(&mut self, byte: u8) {
        let registers = &mut self.registers;
        if registers.received.len() >= registers.capacity() {
            registers.line_status |= LSR_OVERRUN;
            return;
        }
        registers.received.push_back(byte);
        registers.line_status |= LSR_READY;
        registers.stale_at = Some(self.clock.now().saturating_add(registers.patience()));
    }

    fn take(&mut self) -> u8 {
        let registers = &mut self.registers;
        let byte = registers.received.pop_front().unwrap_or(0);
        registers.stale = false;
        if registers.received.is_empty() {
            registers.line_status &= !(LSR_READY | LSR_BREAK);
            registers.stale_at = None;
        } else {
            registers.stale_at = Some(self.clock.now().saturating_add(registers.patience()));
        }
        byte
    }

    fn transmit(&mut self, byte: u8) {
        self.registers.empty_waits = true;
        if self.registers.modem_control & MCR_LOOP != 0 {
            self.put(byte);
        } else {
            self.sink.send(&[byte]);
        }
    }

    fn set_fifo_control(&mut self, value: u8) {
        let registers = &mut self.registers;
        let switched = (registers.fifo_control ^ value) & 1 != 0;
        if value & 2 != 0 || switched {
            registers.received.clear();
            registers.line_status &= !(LSR_READY | LSR_BREAK);
            registers.stale = false;
            registers.stale_at = None;
        }
        if value & 4 != 0 || switched {
            registers.empty_waits = true;
        }
        registers.fifo_control = value & 0xc9;
    }

    fn modem_status(&self) -> u8 {
        let control = self.registers.modem_control;
        if control & MCR_LOOP == 0 {
            return self.registers.modem_status;
        }
        // In loop mode the outputs come back: RTS as CTS, DTR as DSR, OUT1 as RI, OUT2 as DCD.
        (control & 2) << 3 | (control & 1) << 5 | (control & 4) << 4 | (control & MCR_OUT2) << 4
    }
}

impl Device for Serial {
    fn name(&self) -> &'static str {
        "isa-serial"
    }

    fn widest(&self, _region: u32) -> usize {
        1
    }

    fn read(&mut self, _region: u32, offset: u64, _bytes: usize) -> u64 {
        let divisor = self.registers.line_control & LCR_DIVISOR != 0;
        let value = match offset & 7 {
            0 if divisor => self.registers.divisor.to_le_bytes()[0],
            1 if divisor => self.registers.divisor.to_le_bytes()[1],
            0 => self.take(),
            1 => self.registers.interrupt_enable,
            2 => {
                let cause = self.registers.cause();
                if cause == 2 {
                    self.registers.empty_waits = false;
                }
                cause | if self.registers.fifo_on() { 0xc0 } else { 0 }
            }
            3 => self.registers.line_control,
            4 => self.registers.modem_control,
            5 => {
                let status = self.registers.line_status;
                self.registers.line_status &= !(LSR_OVERRUN | LSR_BREAK);
                status
            }
            6 => {
                let status = self.modem_status();
                self.registers.modem_status &= 0xf0;
                status
            }
            _ => self.registers.scratch,
        };
        self.settle();
        u64::from(value)
    }

    fn write(&mut self, _region: u32, offset: u64, _bytes: usize, value: u64) {
        let value = low8(value);
        let divisor = self.registers.line_control & LCR_DIVISOR != 0;
        let [low, high] = self.registers.divisor.to_le_bytes();
        match offset & 7 {
            0 if divisor => self.registers.divisor = u16::from_le_bytes([value, high]),
            1 if divisor => self.registers.divisor = u16::from_le_bytes([low, value]),
            0 => self.transmit(value),
            1 => {
                let new = value & 15;
                if new & !self.registers.interrupt_enable & IER_EMPTY != 0 {
                    self.registers.empty_waits = true;
                }
                self.registers.interrupt_enable = new;
            }
            2 => self.set_fifo_control(value),
            3 => self.registers.line_control = value,
            4 => self.registers.modem_control = value & 0x1f,
            7 => self.registers.scratch = value,
            _ => {}
        }
        self.settle();
    }

    fn reset(&mut self) {
        self.registers = Registers::new();
        self.line.set(false);
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let registers: Registers = restore_record(state)?;
        if registers.received.len() > FIFO {
            return Err(StateError("more received bytes than fit".to_owned()));
        }
        self.registers = registers;
        self.settle();
        Ok(())
    }

    fn deadline(&self) -> Option<u64> {
        let wanted = self.registers.interrupt_enable & IER_RECEIVED != 0 && !self.registers.stale;
        self.registers.stale_at.filter(|_| wanted)
    }

    fn tick(&mut self, _now: u64) {
        self.registers.stale_at = None;
        self.registers.stale = !self.registers.received.is_empty();
        self.settle();
    }

    fn receive(&mut self, bytes: &[u8]) -> usize {
        if self.registers.modem_control & MCR_LOOP != 0
            || self.registers.line_control & LCR_BREAK != 0
        {
            return 0;
        }
        let room = self.registers.capacity() - self.registers.received.len();
        let taken = bytes.len().min(room);
        for byte in &bytes[..taken] {
            self.put(*byte);
        }
        self.settle();
        taken
    }
}
