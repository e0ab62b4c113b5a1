//! SSE to AVX2 and what came beside them: operands, checks, and the shapes of instructions.
//!
//! A width is legacy SSE (128 bits, the upper half of the register stays), VEX with 128 bits (the upper half
//! becomes zero) or VEX with 256 bits. Two-operand forms read their destination, three-operand forms their
//! second operand: [`sources`] knows.

pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod element;
pub(crate) mod float;
pub(crate) mod gather;
pub(crate) mod integer;
pub(crate) mod kernels;
pub(crate) mod moves;
pub(crate) mod permute;
pub(crate) mod strings;

use crate::exec::access::{self, Access};
use crate::fault::{self, Step};
use crate::fp::{Env, flag};
use crate::isa::{Op, op};
use crate::memory::Memory;
use crate::state::{CpuState, cr};
use crate::word::{Unit, high64, low64};

/// Encoding and width.
pub(crate) type Width = u8;
/// Legacy encoding, 128 bits.
pub(crate) const SSE: Width = 0;
/// VEX, 128 bits.
pub(crate) const XMM: Width = 1;
/// VEX, 256 bits.
pub(crate) const YMM: Width = 2;

/// A register: lower and upper half.
pub(crate) type Value = [u128; 2];

/// XCR0: SSE and AVX.
const XCR0_AVX: u64 = 6;

/// Raises what keeps vector instructions from running.
#[inline(always)]
pub(crate) fn available<const W: Width>(cpu: &mut CpuState) -> Step {
    let absent = if W == SSE {
        cpu.cr0 & cr::EM != 0 || cpu.cr4 & cr::OSFXSR == 0
    } else {
        cpu.cr4 & cr::OSXSAVE == 0
            || cpu.xcr0 & XCR0_AVX != XCR0_AVX
            || !cpu.protected()
            || cpu.v86()
    };
    if absent {
        return Err(cpu.ud());
    }
    if cpu.cr0 & cr::TS != 0 {
        return Err(cpu.raise(fault::NM, 0));
    }
    Ok(())
}

fn join(low: u64, high: u64) -> u128 {
    u128::from(low) | (u128::from(high) << 64)
}

/// A register.
#[inline(always)]
pub(crate) fn get(cpu: &CpuState, register: u8) -> Value {
    let [a, b, c, d] = cpu.vector[usize::from(register & 15)];
    [join(a, b), join(c, d)]
}

/// Sets a register as the encoding does.
#[inline(always)]
pub(crate) fn set<const W: Width>(cpu: &mut CpuState, register: u8, value: Value) {
    let into = &mut cpu.vector[usize::from(register & 15)];
    into[0] = low64(value[0]);
    into[1] = high64(value[0]);
    match W {
        SSE => {}
        XMM => {
            into[2] = 0;
            into[3] = 0;
        }
        _ => {
            into[2] = low64(value[1]);
            into[3] = high64(value[1]);
        }
    }
}

/// Whether a memory operand must be aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// It must.
    Yes,
    /// It need not.
    No,
}

/// What legacy SSE asks of most memory operands and VEX does not.
pub(crate) const fn usual<const W: Width>() -> Align {
    if W == SSE { Align::Yes } else { Align::No }
}

fn address<M, const W: Width>(
    cpu: &mut CpuState,
    op: &Op<M>,
    align: Align,
    access: Access,
) -> Step<u64> {
    let bytes = if W == YMM { 32 } else { 16 };
    let linear = access::linear(cpu, op, bytes, access)?;
    if align == Align::Yes && linear & (bytes as u64 - 1) != 0 {
        return Err(cpu.gp());
    }
    Ok(linear)
}

/// Reads the memory operand.
#[inline(always)]
pub(crate) fn load<M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    align: Align,
) -> Step<Value> {
    let linear = address::<M, W>(cpu, op, align, Access::Read)?;
    if W == YMM {
        let [a, b, c, d] = memory.read::<[u64; 4]>(cpu, linear)?;
        Ok([join(a, b), join(c, d)])
    } else {
        Ok([memory.read::<u128>(cpu, linear)?, 0])
    }
}

/// Writes the memory operand.
#[inline(always)]
pub(crate) fn store<M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    align: Align,
    value: Value,
) -> Step {
    let linear = address::<M, W>(cpu, op, align, Access::Write)?;
    if W == YMM {
        let [low, high] = value;
        memory.write(
            cpu,
            linear,
            [low64(low), high64(low), low64(high), high64(high)],
        )
    } else {
        memory.write(cpu, linear, value[0])
    }
}

/// A whole operand: register or memory.
#[inline(always)]
pub(crate) fn operand<M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    slot: usize,
    align: Align,
) -> Step<Value> {
    if op.has(op::MEMORY) {
        load::<M, W>(cpu, memory, op, align)
    } else {
        Ok(get(cpu, op.reg[slot & 3]))
    }
}

/// The low part of an operand: register, or memory of that size.
#[inline(always)]
pub(crate) fn part<T: Unit + Into<u128>, M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    slot: usize,
) -> Step<u128> {
    if op.has(op::MEMORY) {
        Ok(access::load::<T, M>(cpu, memory, op)?.into())
    } else {
        Ok(get(cpu, op.reg[slot & 3])[0] & (u128::MAX >> (128 - 8 * T::BYTES)))
    }
}

/// Slot of the first source of a binary instruction; the second is behind it.
pub(crate) const fn first_source<const W: Width>() -> usize {
    if W == SSE { 0 } else { 1 }
}

/// Both sources of a binary instruction.
#[inline(always)]
pub(crate) fn sources<M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step<(Value, Value)> {
    let slot = first_source::<W>();
    let b = operand::<M, W>(cpu, memory, op, slot + 1, usual::<W>())?;
    Ok((get(cpu, op.reg[slot]), b))
}

/// The first byte of the immediate.
#[inline(always)]
pub(crate) fn immediate<M>(op: &Op<M>) -> u8 {
    crate::word::low8(op.imm)
}

/// Puts the flags of floating-point operations into MXCSR and raises what is not masked.
#[inline(always)]
pub(crate) fn settle(cpu: &mut CpuState, env: &Env) -> Step {
    let unmasked = env.unmasked();
    if unmasked == 0 {
        cpu.mxcsr |= u32::from(env.flags);
        return Ok(());
    }
    // Nothing is computed once an operand is found wanting, so the flags of results stay away.
    let shown = if unmasked & flag::BEFORE == 0 {
        env.flags
    } else {
        (env.flags & flag::BEFORE) | env.earlier
    };
    cpu.mxcsr |= u32::from(shown);
    if cpu.cr4 & cr::OSXMMEXCPT == 0 {
        return Err(cpu.ud());
    }
    Err(cpu.raise(fault::XM, 0))
}
