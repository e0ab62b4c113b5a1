//! A processor with tables of its own, on which a test runs a few bytes and sees which exception ends them.
//!
//! ```text
//! 1000 code   2000 GDT   3000 IDT   4000 handlers, 16 bytes each: HLT   6000 TSS   7000 inner stack, from 8000 down
//! 9000 outer stack, from a000 down   10000.. page tables   100000 page that tests map, at PROBE
//! ```

use accel_core::contract::Recorder;
use accel_core::{Accel, CS, Exit, Registers, Segment, Slot, Table, Vcpu};
use guest_mem::Ram;

use super::soft;
use crate::SoftAccel;

pub(super) const CODE: u64 = 0x1000;
pub(super) const GDT: u64 = 0x2000;
pub(super) const IDT: u64 = 0x3000;
const HANDLERS: u64 = 0x4000;
pub(super) const TSS: u64 = 0x6000;
pub(super) const INNER: u64 = 0x8000;
pub(super) const OUTER: u64 = 0xa000;
const RAM: u64 = 0x40_0000;

/// Selectors of the table that every bench has.
pub(super) const CODE_0: u16 = 0x08;
pub(super) const DATA_0: u16 = 0x10;
pub(super) const CODE_3: u16 = 0x1b;
pub(super) const DATA_3: u16 = 0x23;
pub(super) const LONG_0: u16 = 0x28;
pub(super) const LONG_3: u16 = 0x33;
pub(super) const TASK: u16 = 0x38;
/// The first entry that is free.
pub(super) const FREE: u16 = 0x48;

/// INT3, the end of every program: its gate is open to all.
pub(super) const DONE: u8 = 3;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) vector: u8,
    /// Zero where the vector has none.
    pub(super) code: u32,
    /// What was pushed.
    pub(super) ip: u64,
    pub(super) cs: u16,
    pub(super) flags: u32,
}

impl End {
    /// Vector and error code.
    pub(super) fn what(&self) -> (u8, u32) {
        (self.vector, self.code)
    }
}

/// A descriptor of the old form; `attributes` are bits 40 to 55.
pub(super) fn descriptor(base: u32, limit: u32, attributes: u16) -> u64 {
    let (base, limit) = (u64::from(base), u64::from(limit));
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | u64::from(attributes & 0xf0ff) << 40
        | (limit >> 16 & 15) << 48
        | (base >> 24) << 56
}

/// A gate to `selector:offset`; `kind` is its access byte, `words` the count of a call gate.
pub(super) fn gate(selector: u16, offset: u32, kind: u8, words: u8) -> u64 {
    let (selector, offset) = (u64::from(selector), u64::from(offset));
    offset & 0xffff
        | selector << 16
        | u64::from(words) << 32
        | u64::from(kind) << 40
        | (offset >> 16) << 48
}

pub(super) struct Bench {
    pub(super) ram: Ram,
    pub(super) cpu: Box<dyn Vcpu>,
    pub(super) bus: Recorder,
    _accel: SoftAccel,
}

impl Bench {
    /// A processor with the tables, and RAM of 4 MiB.
    fn new() -> Self {
        let accel = soft();
        let ram = Ram::new(RAM).expect("memory");
        accel.map(&[Slot::in_place(&ram, 0, RAM)]).expect("mapped");
        let mut cpu = accel.processor(0).expect("a processor");
        cpu.reset().expect("reset");
        let bench = Self {
            ram,
            cpu,
            bus: Recorder::default(),
            _accel: accel,
        };
        let flat = [0xc09b, 0xc093, 0xc0fb, 0xc0f3, 0xa09b, 0xa0fb];
        for (n, attributes) in (1..).zip(flat) {
            bench.set_descriptor(n * 8, descriptor(0, 0xf_ffff, attributes));
        }
        bench.set_descriptor(TASK, descriptor(0x6000, 0x1fff, 0x8b));
        for vector in 0..32 {
            bench.put(HANDLERS + vector * 16, &[0xf4]);
        }
        bench
    }

    /// 32-bit protected mode at privilege level 0, without paging.
    pub(super) fn protected() -> Self {
        let mut bench = Self::new();
        for vector in 0..32u8 {
            let open = if vector == DONE { 0xee } else { 0x8e };
            let at = u32::try_from(HANDLERS).expect("small") + u32::from(vector) * 16;
            bench.set_gate(vector, gate(CODE_0, at, open, 0));
        }
        bench.put_int(TSS + 4, 4, INNER);
        bench.put_int(TSS + 8, 4, u64::from(DATA_0));
        // The map of ports begins behind the limit's end: all are closed.
        bench.put_int(TSS + 102, 2, 0xffff);
        let mut registers = Registers::flat_32(CODE);
        registers.segments[CS].selector = CODE_0;
        for n in [0, 2, 3, 4, 5] {
            registers.segments[n].selector = DATA_0;
        }
        registers.general[4] = INNER - 0x100;
        bench.with_tables(registers, 256 * 8);
        bench
    }

    /// 64-bit mode at privilege level 0; the first 2 MiB are mapped to themselves by 4 KiB pages that all may use.
    pub(super) fn long() -> Self {
        let mut bench = Self::new();
        for vector in 0..32u8 {
            let open = if vector == DONE { 0xee } else { 0x8e };
            let at = u32::try_from(HANDLERS).expect("small") + u32::from(vector) * 16;
            let address = IDT + u64::from(vector) * 16;
            bench.put_int(address, 8, gate(LONG_0, at, open, 0));
            bench.put_int(address + 8, 8, 0);
        }
        bench.put_int(TSS + 4, 8, INNER);
        bench.put_int(0x1_0000, 8, 0x1_1007);
        bench.put_int(0x1_1000, 8, 0x1_2007);
        bench.put_int(0x1_2000, 8, 0x1_3007);
        for n in 0..512 {
            bench.put_int(0x1_3000 + n * 8, 8, n << 12 | 7);
        }
        let mut registers = Registers::flat_32(CODE);
        registers.segments[CS] = Segment {
            selector: LONG_0,
            base: 0,
            limit: u32::MAX,
            attributes: 0xa09b,
        };
        for n in [0, 2, 3, 4, 5] {
            registers.segments[n].selector = DATA_0;
        }
        registers.general[4] = INNER - 0x100;
        registers.cr0 = 0x8000_0031;
        registers.cr3 = 0x1_0000;
        registers.cr4 = 0x20;
        registers.efer = 0xd00;
        bench.with_tables(registers, 256 * 16);
        bench
    }

    fn with_tables(&mut self, mut registers: Registers, idt: u16) {
        registers.gdt = Table {
            base: GDT,
            limit: 0xff,
        };
        registers.idt = Table {
            base: IDT,
            limit: idt - 1,
        };
        registers.task = Segment {
            selector: TASK,
            base: TSS,
            limit: 0x1fff,
            attributes: 0x8b,
        };
        self.cpu.set_registers(&registers).expect("set");
    }

    /// Changes registers.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Registers)) {
        let mut registers = self.registers();
        change(&mut registers);
        self.cpu.set_registers(&registers).expect("set");
    }

    pub(super) fn registers(&self) -> Registers {
        self.cpu.registers().expect("read")
    }

    /// The same at privilege level 3, with a stack of its own.
    pub(super) fn user(mut self) -> Self {
        let long = self.registers().efer & 0x400 != 0;
        self.change(|registers| {
            let code = if long { LONG_3 } else { CODE_3 };
            registers.segments[CS].selector = code;
            registers.segments[CS].attributes |= 0x60;
            for n in [0, 2, 3, 4, 5] {
                registers.segments[n].selector = DATA_3;
                registers.segments[n].attributes |= 0x60;
            }
            registers.general[4] = OUTER;
        });
        self
    }

    pub(super) fn put(&self, at: u64, bytes: &[u8]) {
        self.ram.write(at, bytes).expect("fits");
    }

    pub(super) fn put_int(&self, at: u64, bytes: usize, value: u64) {
        self.ram.write_uint(at, bytes, value).expect("fits");
    }

    pub(super) fn int(&self, at: u64, bytes: usize) -> u64 {
        self.ram.read_uint(at, bytes).expect("fits")
    }

    pub(super) fn set_descriptor(&self, selector: u16, value: u64) {
        self.put_int(GDT + u64::from(selector & !7), 8, value);
    }

    /// Sets an entry of the 32-bit interrupt table.
    pub(super) fn set_gate(&self, vector: u8, value: u64) {
        self.put_int(IDT + u64::from(vector) * 8, 8, value);
    }

    /// Runs `code` at [`CODE`], ended by INT3, and says which exception came.
    pub(super) fn run(&mut self, code: &[u8]) -> End {
        self.put(CODE, code);
        self.put(CODE + code.len() as u64, &[0xcc]);
        self.change(|registers| registers.rip = CODE);
        self.go_on()
    }

    /// Runs on from where the processor is.
    pub(super) fn go_on(&mut self) -> End {
        assert_eq!(self.cpu.run(&mut self.bus), Exit::Halt);
        let registers = self.registers();
        let vector = u8::try_from((registers.rip - 1 - HANDLERS) / 16).expect("a handler");
        let unit: usize = if registers.efer & 0x400 != 0 { 8 } else { 4 };
        let stack = registers.segments[2];
        let narrow = unit == 4 && stack.attributes & 0x4000 == 0;
        let pointer = registers.general[4] & if narrow { 0xffff } else { u64::MAX };
        let top = stack.base + pointer;
        let mut words = (0..).map(|n| self.int(top + n * unit as u64, unit));
        let mut next = || words.next().expect("endless");
        let has_code = matches!(vector, 8 | 10..=14 | 17);
        End {
            vector,
            code: if has_code { low(next()) } else { 0 },
            ip: next(),
            cs: u16::try_from(next() & 0xffff).expect("masked"),
            flags: low(next()),
        }
    }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).expect("masked")
}
