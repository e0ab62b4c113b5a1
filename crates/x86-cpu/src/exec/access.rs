//! Operands: registers, memory through segments.

use crate::fault::{self, Step, Trap};
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::{CpuState, attr, cr, seg};
use crate::word::{Unit, Word, low8};

/// Where the operand that is changed lies.
pub type Place = u8;
/// In register `reg[0]`.
pub const REG: Place = 0;
/// In memory.
pub const MEM: Place = 1;
/// In memory, changed in one atomic step.
pub const LOCK: Place = 2;

/// A register, zero-extended.
#[inline(always)]
pub fn get<W: Word>(cpu: &CpuState, register: u8) -> u64 {
    let value = cpu.gpr[usize::from(register & 15)];
    if W::BITS == 8 {
        value >> ((register & 0x10) >> 1) & 0xff
    } else {
        value & W::MASK
    }
}

/// Sets a register: 32 bits clear the upper half, 8 and 16 keep the rest.
#[inline(always)]
pub fn set<W: Word>(cpu: &mut CpuState, register: u8, value: u64) {
    let into = &mut cpu.gpr[usize::from(register & 15)];
    match W::BITS {
        8 => {
            let shift = (register & 0x10) >> 1;
            *into = *into & !(0xff << shift) | (value & 0xff) << shift;
        }
        16 => *into = *into & !0xffff | value & 0xffff,
        32 => *into = value & 0xffff_ffff,
        _ => *into = value,
    }
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It reads.
    Read,
    /// It writes (or reads to write).
    Write,
}

/// Linear address of `bytes` at an offset in a segment.
///
/// # Errors
/// The segment does not allow it.
#[inline(always)]
pub fn segmented(
    cpu: &mut CpuState,
    segment: u8,
    offset: u64,
    bytes: usize,
    access: Access,
) -> Step<u64> {
    let descriptor = &cpu.seg[usize::from(segment & 7)];
    if descriptor.unchecked {
        return Ok(descriptor.base.wrapping_add(offset));
    }
    checked(cpu, segment, offset, bytes, access)
}

#[inline(never)]
fn checked(
    cpu: &mut CpuState,
    segment: u8,
    offset: u64,
    bytes: usize,
    access: Access,
) -> Step<u64> {
    let vector = if usize::from(segment) == seg::SS {
        fault::SS
    } else {
        fault::GP
    };
    let descriptor = cpu.seg[usize::from(segment & 7)];
    // Real and virtual-8086 mode know no types: what is kept there of a descriptor does not forbid anything.
    let typed = cpu.cr0 & cr::PE != 0 && !cpu.v86();
    let code = descriptor.is(attr::CODE);
    let allowed = match access {
        Access::Read => !code || descriptor.is(attr::RW),
        Access::Write => !code && descriptor.is(attr::RW),
    };
    let last = offset.wrapping_add(bytes as u64 - 1);
    let within = if !code && descriptor.is(attr::DC) {
        let top = if descriptor.is(attr::DB) {
            u64::from(u32::MAX)
        } else {
            0xffff
        };
        offset > u64::from(descriptor.limit) && last <= top
    } else {
        last <= u64::from(descriptor.limit) && offset <= last
    };
    if typed && !(descriptor.is(attr::PRESENT) && allowed) || !within {
        return Err(cpu.raise(vector, 0));
    }
    Ok(descriptor.base.wrapping_add(offset) & 0xffff_ffff)
}

/// Linear address of the memory operand.
///
/// # Errors
/// The segment does not allow it.
#[inline(always)]
pub fn linear<M>(cpu: &mut CpuState, op: &Op<M>, bytes: usize, access: Access) -> Step<u64> {
    let offset = op.offset(cpu);
    segmented(cpu, op.segment, offset, bytes, access)
}

/// Reads the memory operand.
///
/// # Errors
/// The access faults.
#[inline(always)]
pub fn load<T: Unit, M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step<T> {
    let linear = linear(cpu, op, T::BYTES, Access::Read)?;
    memory.read(cpu, linear)
}

/// Writes the memory operand.
///
/// # Errors
/// The access faults.
#[inline(always)]
pub fn store<T: Unit, M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>, value: T) -> Step {
    let linear = linear(cpu, op, T::BYTES, Access::Write)?;
    memory.write(cpu, linear, value)
}

/// Operand 0: register `reg[0]` or memory.
///
/// # Errors
/// The access faults.
#[inline(always)]
pub fn first<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step<u64> {
    if P == REG {
        Ok(get::<W>(cpu, op.reg[0]))
    } else {
        load::<W, M>(cpu, memory, op).map(W::zx)
    }
}

/// Operand 1: register `reg[1]` or memory.
///
/// # Errors
/// The access faults.
#[inline(always)]
pub fn second<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step<u64> {
    if P == REG {
        Ok(get::<W>(cpu, op.reg[1]))
    } else {
        load::<W, M>(cpu, memory, op).map(W::zx)
    }
}

/// Sets operand 0.
///
/// # Errors
/// The access faults.
#[inline(always)]
pub fn put<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    value: u64,
) -> Step {
    if P == REG {
        set::<W>(cpu, op.reg[0], value);
        Ok(())
    } else {
        store(cpu, memory, op, W::cut(value))
    }
}

/// Replaces operand 0 by `change` of it; `change` also sets the flags, which are kept only if nothing faults.
///
/// # Errors
/// The access faults.
#[inline(always)]
pub fn modify<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    change: impl Fn(&mut crate::flags::Flags, u64) -> u64,
) -> Step {
    if P == REG {
        let old = get::<W>(cpu, op.reg[0]);
        let new = change(&mut cpu.flags, old);
        set::<W>(cpu, op.reg[0], new);
        return Ok(());
    }
    let linear = linear(cpu, op, W::BYTES, Access::Write)?;
    if P == MEM {
        let old = memory.read_to_write::<W>(cpu, linear)?.zx();
        let mut flags = cpu.flags;
        let new = change(&mut flags, old);
        memory.write(cpu, linear, W::cut(new))?;
        cpu.flags = flags;
    } else {
        let flags = cpu.flags;
        let old = memory.update::<W>(cpu, linear, |old| change(&mut flags.clone(), old))?;
        change(&mut cpu.flags, old);
    }
    Ok(())
}

/// The stack segment's number for [`segmented`].
#[inline(always)]
fn stack_segment(cpu: &CpuState) -> u8 {
    low8(if cpu.long_code() {
        seg::FLAT_STACK
    } else {
        seg::SS
    } as u64)
}

/// A fault of a stack access: a non-canonical address is #SS.
#[cold]
fn stack_fault(cpu: &mut CpuState, trap: Trap) -> Trap {
    if trap == Trap::Fault && cpu.fault.non_canonical {
        cpu.fault.vector = fault::SS;
    }
    trap
}

/// The stack pointer moved by `by`, cut to the stack's width.
#[inline(always)]
pub fn stack_moved(cpu: &CpuState, by: i64) -> u64 {
    cpu.gpr[4].wrapping_add_signed(by) & cpu.stack_mask
}

/// Sets the stack pointer; bits beyond the stack's width stay, but 32 bits clear the upper half.
#[inline(always)]
pub fn set_stack(cpu: &mut CpuState, value: u64) {
    let mask = cpu.stack_mask;
    cpu.gpr[4] = if mask == 0xffff {
        cpu.gpr[4] & !mask | value & mask
    } else {
        value & mask
    };
}

/// Reads the stack at an offset.
///
/// # Errors
/// The access faults.
#[inline(always)]
pub fn stack_read<T: Unit, M: Memory>(cpu: &mut CpuState, memory: &mut M, offset: u64) -> Step<T> {
    let linear = segmented(cpu, stack_segment(cpu), offset, T::BYTES, Access::Read)?;
    memory
        .read(cpu, linear)
        .map_err(|trap| stack_fault(cpu, trap))
}

/// Writes the stack at an offset.
///
/// # Errors
/// The access faults.
#[inline(always)]
pub fn stack_write<T: Unit, M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    offset: u64,
    value: T,
) -> Step {
    let linear = segmented(cpu, stack_segment(cpu), offset, T::BYTES, Access::Write)?;
    memory
        .write(cpu, linear, value)
        .map_err(|trap| stack_fault(cpu, trap))
}

/// Pushes.
///
/// # Errors
/// The access faults; the stack pointer has not moved.
#[inline(always)]
pub fn push<T: Unit, M: Memory>(cpu: &mut CpuState, memory: &mut M, value: T) -> Step {
    let top = stack_moved(cpu, -i64::from(low8(T::BYTES as u64)));
    stack_write(cpu, memory, top, value)?;
    set_stack(cpu, top);
    Ok(())
}

/// Pops.
///
/// # Errors
/// The access faults; the stack pointer has not moved.
#[inline(always)]
pub fn pop<T: Unit, M: Memory>(cpu: &mut CpuState, memory: &mut M) -> Step<T> {
    let top = stack_moved(cpu, 0);
    let value = stack_read(cpu, memory, top)?;
    set_stack(cpu, stack_moved(cpu, i64::from(low8(T::BYTES as u64))));
    Ok(value)
}
