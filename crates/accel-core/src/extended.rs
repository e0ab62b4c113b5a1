//! The rest of a processor's state: floating point, vectors, debug registers, model-specific registers, and what it was doing.

use serde::{Deserialize, Serialize};

use crate::Registers;

/// The x87 unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Float {
    /// R0 to R7 (not by the stack's top): significand, and sign with exponent. MMX registers are the significands.
    pub registers: [(u64, u16); 8],
    /// Control word.
    pub control: u16,
    /// Status word, with the stack's top.
    pub status: u16,
    /// Tag word, two bits a register.
    pub tags: u16,
    /// Last opcode.
    pub opcode: u16,
    /// Last instruction: offset, selector.
    pub instruction: (u64, u16),
    /// Last operand: offset, selector.
    pub operand: (u64, u16),
}

impl Default for Float {
    /// As FNINIT leaves it.
    fn default() -> Self {
        Self {
            registers: [(0, 0); 8],
            control: 0x37f,
            status: 0,
            tags: 0xffff,
            opcode: 0,
            instruction: (0, 0),
            operand: (0, 0),
        }
    }
}

/// Registers beside [`Registers`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extended {
    /// x87 and MMX.
    pub float: Float,
    /// ymm0 to ymm15, lowest quarter first.
    pub vectors: [[u64; 4]; 16],
    /// MXCSR.
    pub mxcsr: u32,
    /// XCR0.
    pub xcr0: u64,
    /// PKRU.
    pub pkru: u32,
    /// DR0 to DR3.
    pub breakpoints: [u64; 4],
    /// DR6.
    pub debug_status: u64,
    /// DR7.
    pub debug_control: u64,
    /// What the time-stamp counter shows beyond its source.
    pub counter_offset: u64,
    /// Model-specific registers, by number.
    pub msrs: Vec<(u32, u64)>,
}

/// What a processor is in the middle of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// It waits in HLT.
    pub halted: bool,
    /// Interrupts wait until the next instruction has ended.
    pub shadow: bool,
    /// So do debug exceptions.
    pub shadow_debug: bool,
    /// NMIs are blocked until IRET.
    pub nmi_blocked: bool,
    /// NMIs that wait.
    pub nmis: u8,
    /// Bits of DR6 of a debug trap that is due.
    pub debug_hits: u64,
}

/// Everything that a processor holds, for a machine that is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedCpu {
    /// The registers every program sees.
    pub registers: Registers,
    /// The others.
    pub extended: Extended,
    /// What it is in the middle of.
    pub activity: Activity,
}
