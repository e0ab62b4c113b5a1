//! Registers (chapter 11.4), as words of 32 bits.

use hw_core::bits::{low16, low32};
use serde::{Deserialize, Serialize};

use super::{Choices, Unit};

const VERSION: u32 = 0x10;
const CAP: u64 = 0x08;
const ECAP: u64 = 0x10;
const GCMD: u64 = 0x18;
const GSTS: u64 = 0x1c;
const RTADDR: u64 = 0x20;
const CCMD: u64 = 0x28;
const FSTS: u64 = 0x34;
const FECTL: u64 = 0x38;
const IQH: u64 = 0x80;
const IQT: u64 = 0x88;
const IQA: u64 = 0x90;
const ICS: u64 = 0x9c;
const IECTL: u64 = 0xa0;
const IRTA: u64 = 0xb8;
const IVA: u64 = 0xf0;
const IOTLB: u64 = 0xf8;
/// The one fault recording register.
const FRCD: u64 = 0x220;

/// Global command and status bits.
pub(super) const TRANSLATE: u32 = 1 << 31;
const SET_ROOT: u32 = 1 << 30;
pub(super) const QUEUE: u32 = 1 << 26;
pub(super) const REMAP: u32 = 1 << 25;
const SET_TABLE: u32 = 1 << 24;
const COMPATIBLE: u32 = 1 << 23;

const OVERFLOW: u32 = 1;
const PENDING: u32 = 1 << 1;
pub(super) const QUEUE_ERROR: u32 = 1 << 4;
/// Status bits that ones clear.
const CLEARABLE: u32 = OVERFLOW | QUEUE_ERROR | 0x60;

const MASKED: u32 = 1 << 31;
const WAITING: u32 = 1 << 30;
/// Top bit of a command or of a recorded fault.
const TOP: u64 = 1 << 63;

/// An event's control, data and address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Event {
    control: u32,
    data: u32,
    address: u64,
}

impl Default for Event {
    fn default() -> Self {
        Self {
            control: MASKED,
            data: 0,
            address: 0,
        }
    }
}

/// All registers that hold something.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Registers {
    pub(super) status: u32,
    root: u64,
    /// The root table in use.
    pub(super) root_used: u64,
    context: u64,
    pub(super) faults: u32,
    fault_event: Event,
    pub(super) head: u64,
    pub(super) tail: u64,
    pub(super) queue: u64,
    pub(super) done: u32,
    done_event: Event,
    table: u64,
    /// The interrupt table in use.
    pub(super) table_used: u64,
    address: u64,
    iotlb: u64,
    record: [u64; 2],
}

/// The half of a register that a word is.
fn half(value: u64, offset: u64) -> u32 {
    low32(if offset & 4 == 0 { value } else { value >> 32 })
}

/// Puts a word into its half.
fn put(register: &mut u64, offset: u64, word: u32) {
    let shift = (offset & 4) * 8;
    *register = *register & !(u64::from(u32::MAX) << shift) | u64::from(word) << shift;
}

impl Registers {
    /// What a word reads as.
    pub(super) fn word(&self, offset: u64, choices: Choices) -> u32 {
        match offset & !7 {
            CAP => return half(capabilities(choices), offset),
            ECAP => return half(extended(choices), offset),
            RTADDR => return half(self.root, offset),
            CCMD => return half(self.context, offset),
            IQH => return half(self.head, offset),
            IQT => return half(self.tail, offset),
            IQA => return half(self.queue, offset),
            IRTA => return half(self.table, offset),
            IVA => return half(self.address, offset),
            IOTLB => return half(self.iotlb, offset),
            FRCD => return half(self.record[0], offset),
            at if at == FRCD + 8 => return half(self.record[1], offset),
            _ => {}
        }
        match offset {
            0 => VERSION,
            GSTS => self.status,
            FSTS => self.faults,
            ICS => self.done,
            FECTL..0x48 => self.fault_event.word(offset - FECTL),
            IECTL..0xb0 => self.done_event.word(offset - IECTL),
            _ => 0,
        }
    }
}

impl Event {
    fn word(&self, offset: u64) -> u32 {
        match offset {
            0 => self.control,
            4 => self.data,
            _ => half(self.address, offset - 8),
        }
    }

    fn write(&mut self, offset: u64, word: u32) {
        match offset {
            0 => self.control = self.control & WAITING | word & MASKED,
            4 => self.data = word,
            _ => put(&mut self.address, offset - 8, word),
        }
    }

    /// It waits, and may go out.
    fn due(&self) -> bool {
        self.control == WAITING
    }
}

fn capabilities(choices: Choices) -> u64 {
    let widths = if choices.address_bits > 39 { 6 } else { 2 };
    let domains = 6;
    let pages = 3 << 34 | 1 << 39 | 0x12 << 48;
    let drains = 3 << 54;
    domains | widths << 8 | u64::from(choices.address_bits - 1) << 16 | 0x22 << 24 | pages | drains
}

fn extended(choices: Choices) -> u64 {
    let interrupts = if choices.interrupts { 1 << 3 } else { 0 };
    // Queued invalidation, pass-through, where IVA and IOTLB are, handle mask.
    1 << 1 | interrupts | 1 << 6 | 0xf << 8 | 0xf << 20
}

impl Unit {
    /// The guest writes a word.
    pub(super) fn write(&mut self, offset: u64, word: u32) {
        let registers = &mut self.registers;
        match offset & !7 {
            RTADDR => return put(&mut registers.root, offset, word),
            CCMD => {
                put(&mut registers.context, offset, word);
                return complete(&mut registers.context, 61, 59);
            }
            IQT => {
                if offset == IQT {
                    registers.tail = u64::from(word & 0x7_fff0);
                    self.run_queue();
                }
                return;
            }
            IQA => return put(&mut registers.queue, offset, word),
            IRTA => return put(&mut registers.table, offset, word),
            IVA => return put(&mut registers.address, offset, word),
            IOTLB => {
                put(&mut registers.iotlb, offset, word);
                return complete(&mut registers.iotlb, 60, 57);
            }
            _ => {}
        }
        match offset {
            GCMD => self.command(word),
            FSTS => registers.faults &= !(word & CLEARABLE),
            ICS => registers.done &= !(word & 1),
            FECTL..0x48 => {
                registers.fault_event.write(offset - FECTL, word);
                self.send_due();
            }
            IECTL..0xb0 => {
                registers.done_event.write(offset - IECTL, word);
                self.send_due();
            }
            at if at == FRCD + 12 && word & MASKED != 0 => {
                registers.record[1] &= !TOP;
                registers.faults &= !PENDING;
            }
            _ => {}
        }
    }

    fn command(&mut self, word: u32) {
        let registers = &mut self.registers;
        if word & SET_ROOT != 0 {
            registers.root_used = registers.root & !0xfff;
            registers.status |= SET_ROOT;
        }
        if word & SET_TABLE != 0 {
            registers.table_used = registers.table;
            registers.status |= SET_TABLE;
        }
        let before = registers.status;
        let mut switches = TRANSLATE | QUEUE;
        if self.choices.interrupts {
            switches |= REMAP | COMPATIBLE;
        }
        registers.status = before & !switches | word & switches;
        if before & QUEUE == 0 && word & QUEUE != 0 {
            registers.head = 0;
            self.run_queue();
        }
    }

    /// Records a fault of a transfer or a message, and tells the guest.
    pub(super) fn fault(&mut self, low: u64, source: u16, reason: u8, read: bool) {
        let registers = &mut self.registers;
        if registers.record[1] & TOP != 0 {
            registers.faults |= OVERFLOW;
            return;
        }
        let kind = if read { 1 << 62 } else { 0 };
        registers.record = [
            low,
            u64::from(source) | u64::from(reason) << 32 | kind | TOP,
        ];
        registers.faults |= PENDING;
        self.fault_event();
    }

    /// Sends what waited and is no longer masked.
    fn send_due(&mut self) {
        if self.registers.fault_event.due() {
            self.fault_event();
        }
        if self.registers.done_event.due() {
            self.done_event();
        }
    }

    pub(super) fn fault_event(&mut self) {
        if let Some((address, data)) = self.registers.fault_event.send() {
            self.lines.message(address, data);
        }
    }

    pub(super) fn done_event(&mut self) {
        if let Some((address, data)) = self.registers.done_event.send() {
            self.lines.message(address, data);
        }
    }
}

impl Event {
    /// The message to send; while it is masked it waits.
    fn send(&mut self) -> Option<(u64, u32)> {
        if self.control & MASKED != 0 {
            self.control |= WAITING;
            return None;
        }
        self.control &= !WAITING;
        Some((self.address, u32::from(low16(u64::from(self.data)))))
    }
}

/// An invalidation by register is done when it is asked for: what was asked (two bits at `from`) is what was done.
fn complete(register: &mut u64, from: u32, to: u32) {
    if *register & TOP != 0 {
        let what = *register >> from & 3;
        *register = *register & !TOP & !(3 << to) | what << to;
    }
}
