//! The registers that every program sees, as data.

use serde::{Deserialize, Serialize};

/// A segment register with its hidden part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Base address.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u32,
    /// Descriptor bits 40 to 55: type, S, DPL, P in the low byte; AVL, L, D, G in bits 12 to 15.
    pub attributes: u16,
}

/// GDTR or IDTR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Base address.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u16,
}

/// General, segment and control registers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// rax rcx rdx rbx rsp rbp rsi rdi r8 to r15.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// es cs ss ds fs gs.
    pub segments: [Segment; 6],
    /// Local descriptor table.
    pub ldt: Segment,
    /// Task register.
    pub task: Segment,
    /// Global descriptor table.
    pub gdt: Table,
    /// Interrupt descriptor table.
    pub idt: Table,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
}

/// Index of CS in [`Registers::segments`].
pub const CS: usize = 1;

impl Registers {
    /// Power-on state (Intel SDM volume 3, table 10-1).
    pub fn power_on() -> Self {
        let data = Segment {
            selector: 0,
            base: 0,
            limit: 0xffff,
            attributes: 0x93,
        };
        let mut segments = [data; 6];
        segments[CS] = Segment {
            selector: 0xf000,
            base: 0xffff_0000,
            limit: 0xffff,
            attributes: 0x9b,
        };
        let mut general = [0; 16];
        general[2] = 0x600;
        let system = |attributes| Segment { attributes, ..data };
        Self {
            general,
            rip: 0xfff0,
            rflags: 2,
            segments,
            ldt: system(0x82),
            task: system(0x8b),
            gdt: Table {
                base: 0,
                limit: 0xffff,
            },
            idt: Table {
                base: 0,
                limit: 0xffff,
            },
            cr0: 0x6000_0010,
            ..Self::default()
        }
    }

    /// Real mode from address zero on, as after power-on but for the code segment, at `rip`.
    pub fn real_mode(rip: u64) -> Self {
        let mut registers = Self::power_on();
        registers.segments[CS].selector = 0;
        registers.segments[CS].base = 0;
        registers.rip = rip;
        registers
    }

    /// 32-bit protected mode without paging, flat segments with the selectors of Linux's boot protocol (code 0x10,
    /// data 0x18), interrupts off, at `rip`.
    pub fn flat_32(rip: u64) -> Self {
        let data = Segment {
            selector: 0x18,
            base: 0,
            limit: u32::MAX,
            attributes: 0xc093,
        };
        let mut registers = Self::power_on();
        registers.segments = [data; 6];
        registers.segments[CS] = Segment {
            selector: 0x10,
            attributes: 0xc09b,
            ..data
        };
        registers.general = [0; 16];
        registers.rip = rip;
        registers.cr0 = 0x11;
        registers
    }
}
