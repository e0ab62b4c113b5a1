//! Instructions as compact operations.
//!
//! [`Decoding`] turns bytes into [`Op`]s, once: iced-x86 decodes, and the tables under `table/` (one file a group) say which function
//! of `exec` is the meaning of an instruction. `Op::code` stays the full identity of the instruction, so a
//! translator needs nothing but the same records.

mod decode;
pub(crate) mod table;

pub use decode::{Decoding, Undecoded};
pub use iced_x86::Code;

use crate::fault::Step;
use crate::state::CpuState;

/// The meaning of an operation.
pub type Handler<M> = fn(&mut CpuState, &mut M, &Op<M>) -> Step;

/// Bits of [`Op::flags`].
pub mod op {
    /// LOCK prefix.
    pub const LOCK: u8 = 1;
    /// REP or REPE prefix (F3).
    pub const REP: u8 = 2;
    /// REPNE prefix (F2).
    pub const REPNE: u8 = 4;
    /// There is a memory operand.
    pub const MEMORY: u8 = 8;
    /// Nothing of a block may follow it: a jump, or something after which code, mode or interrupts may be others.
    pub const ENDS: u8 = 16;
    /// It leaves `rip` by itself.
    pub const JUMPS: u8 = 32;
    /// 16-bit operand size prefix is in effect in 64-bit code or the code's own width; for far transfers and strings.
    pub const WIDE: u8 = 64;
}

/// One decoded instruction.
///
/// Register operands are numbers: general registers 0 to 15, or 0x10 to 0x13 for AH CH DH BH; segment, control, debug, MMX, x87 and
/// vector registers from zero.
pub struct Op<M> {
    /// What it does.
    pub run: Handler<M>,
    /// Immediate, sign-extended as the instruction says; for a near jump the target relative to the block's first
    /// instruction; for ENTER and EXTRQ the second immediate in bits 32 and up; for a far pointer the selector there.
    pub imm: u64,
    /// Displacement of the memory operand.
    pub disp: u64,
    /// Register of each operand (zero where the operand is no register).
    pub reg: [u8; 4],
    /// Index in [`CpuState::gpr`] of the base.
    pub base: u8,
    /// Index in [`CpuState::gpr`] of the index; a vector register's number for gathers.
    pub index: u8,
    /// Shift of the index.
    pub scale: u8,
    /// Index in [`CpuState::seg`].
    pub segment: u8,
    /// Instruction.
    pub code: Code,
    /// Offset from the block's first instruction.
    pub start: u16,
    /// Bytes.
    pub length: u8,
    /// 0, 32 or 48: how many upper bits of an address are cut.
    pub address_shift: u8,
    /// See [`op`].
    pub flags: u8,
}

impl<M> Clone for Op<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Op<M> {}

impl<M> Op<M> {
    /// The effective address.
    #[inline(always)]
    pub fn offset(&self, cpu: &CpuState) -> u64 {
        let base = cpu.gpr[usize::from(self.base & 31)];
        let index = cpu.gpr[usize::from(self.index & 31)] << (self.scale & 3);
        self.cut_address(base.wrapping_add(index).wrapping_add(self.disp))
    }

    /// Cuts to the address size.
    #[inline(always)]
    pub fn cut_address(&self, offset: u64) -> u64 {
        offset & (u64::MAX >> (self.address_shift & 63))
    }

    /// Address of this instruction.
    #[inline(always)]
    pub fn ip(&self, cpu: &CpuState) -> u64 {
        cpu.cut_ip(cpu.gpr[crate::state::reg::BLOCK].wrapping_add(u64::from(self.start)))
    }

    /// Address of the next instruction.
    #[inline(always)]
    pub fn next(&self, cpu: &CpuState) -> u64 {
        let offset = u64::from(self.start) + u64::from(self.length);
        cpu.cut_ip(cpu.gpr[crate::state::reg::BLOCK].wrapping_add(offset))
    }

    /// Whether any of `mask` is on.
    #[inline(always)]
    pub fn has(&self, mask: u8) -> bool {
        self.flags & mask != 0
    }
}

/// A row of a table: the functions for an instruction.
pub struct Form<M> {
    /// Register operands only.
    pub(crate) reg: Handler<M>,
    /// One operand in memory.
    pub(crate) mem: Handler<M>,
    /// With LOCK; #UD without one.
    pub(crate) lock: Option<Handler<M>>,
    /// [`op::ENDS`] and [`op::JUMPS`].
    pub(crate) flags: u8,
}

impl<M> Form<M> {
    /// One function for all operands.
    pub(crate) fn any(run: Handler<M>) -> Self {
        Self::two(run, run)
    }

    /// A function for register and one for memory operands.
    pub(crate) fn two(reg: Handler<M>, mem: Handler<M>) -> Self {
        Self {
            reg,
            mem,
            lock: None,
            flags: 0,
        }
    }

    /// The block ends after it.
    pub(crate) fn ends(mut self) -> Self {
        self.flags |= op::ENDS;
        self
    }

    /// It sets `rip`, in all cases.
    pub(crate) fn jumps(mut self) -> Self {
        self.flags |= op::ENDS | op::JUMPS;
        self
    }

    /// What it does with LOCK.
    pub(crate) fn locked(mut self, run: Handler<M>) -> Self {
        self.lock = Some(run);
        self
    }
}
