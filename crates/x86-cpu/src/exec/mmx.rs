//! MMX: 64-bit vectors in the significands of the x87's registers.

use super::access::{self};
use super::vector::element::{element, general_or_memory, with_element};
use super::vector::kernels::{Kernel, Shift};
use super::vector::{SSE, available, get as vector, immediate, moves, set as set_vector, settle};
use super::x87::unit;
use crate::fault::Step;
use crate::fp::{Env, Rounding};
use crate::isa::{Form, Op, op};
use crate::memory::Memory;
use crate::simd::{float, shuffle};
use crate::state::{CpuState, F80};
use crate::word::{Word, low64};

/// Raises what keeps MMX instructions from running: the checks of the x87, but #UD with CR0.EM.
fn ready(cpu: &mut CpuState) -> Step {
    if cpu.cr0 & crate::state::cr::EM != 0 {
        return Err(cpu.ud());
    }
    unit::ready(cpu)
}

/// Every MMX instruction but EMMS makes all registers valid and the top of the stack zero (MASKMOVQ and the
/// conversions even when they raise an exception).
fn enter(cpu: &mut CpuState) {
    cpu.fpu.top = 0;
    cpu.fpu.tags = 0;
}

fn get(cpu: &CpuState, register: u8) -> u64 {
    cpu.fpu.registers[usize::from(register & 7)].mantissa
}

fn set(cpu: &mut CpuState, register: u8, value: u64) {
    enter(cpu);
    cpu.fpu.registers[usize::from(register & 7)] = F80 {
        mantissa: value,
        exponent: 0xffff,
    };
}

fn operand<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>, slot: usize) -> Step<u64> {
    if op.has(op::MEMORY) {
        access::load(cpu, memory, op)
    } else {
        Ok(get(cpu, op.reg[slot & 3]))
    }
}

fn binary_run<M: Memory, K: Kernel>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let b = operand(cpu, memory, op, 1)?;
    let a = get(cpu, op.reg[0]);
    set(
        cpu,
        op.reg[0],
        low64(K::run(a.into(), b.into(), immediate(op))),
    );
    Ok(())
}

/// The lower half of what the operation does to 128 bits.
pub(crate) fn binary<M: Memory, K: Kernel>() -> Form<M> {
    Form::any(binary_run::<M, K>)
}

fn low_half_run<M: Memory, K: Kernel>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let b = if op.has(op::MEMORY) {
        access::load::<u32, M>(cpu, memory, op)?.into()
    } else {
        get(cpu, op.reg[1])
    };
    let a = get(cpu, op.reg[0]);
    set(cpu, op.reg[0], low64(K::run(a.into(), b.into(), 0)));
    Ok(())
}

/// PUNPCKL: the memory operand has 32 bits.
pub(crate) fn low_half<M: Memory, K: Kernel>() -> Form<M> {
    Form::any(low_half_run::<M, K>)
}

fn high_run<M: Memory, K: Kernel>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let b = u128::from(operand(cpu, memory, op, 1)?) << 32;
    let a = u128::from(get(cpu, op.reg[0])) << 32;
    set(cpu, op.reg[0], low64(K::run(a, b, 0)));
    Ok(())
}

/// PUNPCKH: the upper halves stand where the 128-bit form looks for them.
pub(crate) fn high<M: Memory, K: Kernel>() -> Form<M> {
    Form::any(high_run::<M, K>)
}

fn packing_run<M: Memory, K: Kernel>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let b = u128::from(operand(cpu, memory, op, 1)?);
    let a = u128::from(get(cpu, op.reg[0]));
    set(cpu, op.reg[0], low64(K::run(a | (b << 64), 0, 0)));
    Ok(())
}

/// Packing and horizontal addition: both operands side by side are the first one of the 128-bit form.
pub(crate) fn packing<M: Memory, K: Kernel>() -> Form<M> {
    Form::any(packing_run::<M, K>)
}

/// PSHUFB.
pub(crate) fn shuffle_bytes<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let b = operand(cpu, memory, op, 1)?;
    let a = u128::from(get(cpu, op.reg[0]));
    // Bit 3 of an index has no say: it finds the same byte in either copy.
    set(
        cpu,
        op.reg[0],
        low64(shuffle::pshufb(a | (a << 64), b.into())),
    );
    Ok(())
}

fn shift_run<M: Memory, K: Shift>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let count = operand(cpu, memory, op, 1)?;
    let a = get(cpu, op.reg[0]);
    set(cpu, op.reg[0], low64(K::run(a.into(), count)));
    Ok(())
}

/// A shift by a register or memory.
pub(crate) fn shift<M: Memory, K: Shift>() -> Form<M> {
    Form::any(shift_run::<M, K>)
}

fn shift_immediate_run<M: Memory, K: Shift>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let a = get(cpu, op.reg[0]);
    set(
        cpu,
        op.reg[0],
        low64(K::run(a.into(), immediate(op).into())),
    );
    Ok(())
}

/// A shift by an immediate.
pub(crate) fn shift_immediate<M: Memory, K: Shift>() -> Form<M> {
    Form::any(shift_immediate_run::<M, K>)
}

/// MOVQ to a register.
pub(crate) fn load<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let value = operand(cpu, memory, op, 1)?;
    set(cpu, op.reg[0], value);
    Ok(())
}

/// MOVQ from a register.
pub(crate) fn store<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let value = get(cpu, op.reg[1]);
    if op.has(op::MEMORY) {
        access::store(cpu, memory, op, value)?;
        enter(cpu);
    } else {
        set(cpu, op.reg[0], value);
    }
    Ok(())
}

fn from_general_run<T: Word, M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let value = if op.has(op::MEMORY) {
        access::load::<T, M>(cpu, memory, op)?.zx()
    } else {
        access::get::<T>(cpu, op.reg[1])
    };
    set(cpu, op.reg[0], value);
    Ok(())
}

/// MOVD, MOVQ from a general register.
pub(crate) fn from_general<T: Word, M: Memory>() -> Form<M> {
    Form::any(from_general_run::<T, M>)
}

fn to_general_run<T: Word, M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let value = get(cpu, op.reg[1]);
    if op.has(op::MEMORY) {
        access::store(cpu, memory, op, T::cut(value))?;
    } else {
        access::set::<T>(cpu, op.reg[0], value);
    }
    enter(cpu);
    Ok(())
}

/// MOVD, MOVQ to a general register.
pub(crate) fn to_general<T: Word, M: Memory>() -> Form<M> {
    Form::any(to_general_run::<T, M>)
}

/// EMMS.
pub(crate) fn emms<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    ready(cpu)?;
    cpu.fpu.top = 0;
    cpu.fpu.tags = 0xffff;
    Ok(())
}

/// MOVQ2DQ.
pub(crate) fn to_vector<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    available::<SSE>(cpu)?;
    ready(cpu)?;
    let value = get(cpu, op.reg[1]);
    enter(cpu);
    set_vector::<SSE>(cpu, op.reg[0], [value.into(), 0]);
    Ok(())
}

/// MOVDQ2Q.
pub(crate) fn from_vector<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    available::<SSE>(cpu)?;
    ready(cpu)?;
    let value = low64(vector(cpu, op.reg[1])[0]);
    set(cpu, op.reg[0], value);
    Ok(())
}

/// PMOVMSKB.
pub(crate) fn signs<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let bits = shuffle::pmovmskb(get(cpu, op.reg[1]).into());
    enter(cpu);
    access::set::<u64>(cpu, op.reg[0], bits.into());
    Ok(())
}

/// PINSRW.
pub(crate) fn insert<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let value = general_or_memory::<u16, M>(cpu, memory, op, 1)?;
    let old = get(cpu, op.reg[0]);
    let new = with_element::<u16>(old.into(), value, immediate(op) & 3);
    set(cpu, op.reg[0], low64(new));
    Ok(())
}

/// PEXTRW.
pub(crate) fn extract<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let value = element::<u16>(get(cpu, op.reg[1]).into(), immediate(op) & 3);
    enter(cpu);
    access::set::<u64>(cpu, op.reg[0], value);
    Ok(())
}

/// MASKMOVQ.
pub(crate) fn masked<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let pair = (get(cpu, op.reg[1]).into(), get(cpu, op.reg[2]).into());
    enter(cpu);
    moves::masked_bytes(cpu, memory, op, pair, 8)
}

/// CVTPI2PS. It touches the x87 only when its source is an MMX register.
pub(crate) fn singles_from<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<SSE>(cpu)?;
    if !op.has(op::MEMORY) {
        ready(cpu)?;
    }
    let value = operand(cpu, memory, op, 1)?;
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let low = low64(float::cvtdq2ps(&mut env, value.into()));
    if !op.has(op::MEMORY) {
        enter(cpu);
    }
    settle(cpu, &env)?;
    let kept = vector(cpu, op.reg[0])[0] >> 64 << 64;
    set_vector::<SSE>(cpu, op.reg[0], [kept | u128::from(low), 0]);
    Ok(())
}

/// CVTPI2PD. It touches the x87 only when its source is an MMX register.
pub(crate) fn doubles_from<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<SSE>(cpu)?;
    if !op.has(op::MEMORY) {
        ready(cpu)?;
    }
    let value = operand(cpu, memory, op, 1)?;
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let result = float::cvtdq2pd(&mut env, value);
    if !op.has(op::MEMORY) {
        enter(cpu);
    }
    settle(cpu, &env)?;
    set_vector::<SSE>(cpu, op.reg[0], [result, 0]);
    Ok(())
}

fn mode<const TRUNCATE: bool>(env: &Env) -> Rounding {
    if TRUNCATE {
        Rounding::Zero
    } else {
        env.rounding
    }
}

/// CVTPS2PI, CVTTPS2PI.
pub(crate) fn from_singles<M: Memory, const TRUNCATE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<SSE>(cpu)?;
    ready(cpu)?;
    let source = super::vector::part::<u64, M>(cpu, memory, op, 1)?;
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let mode = mode::<TRUNCATE>(&env);
    let result = low64(float::cvtps2dq(&mut env, mode, source));
    enter(cpu);
    settle(cpu, &env)?;
    set(cpu, op.reg[0], result);
    Ok(())
}

/// CVTPD2PI, CVTTPD2PI.
pub(crate) fn from_doubles<M: Memory, const TRUNCATE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<SSE>(cpu)?;
    ready(cpu)?;
    let align = super::vector::Align::Yes;
    let source = super::vector::operand::<M, SSE>(cpu, memory, op, 1, align)?[0];
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let mode = mode::<TRUNCATE>(&env);
    let result = float::cvtpd2dq(&mut env, mode, source);
    enter(cpu);
    settle(cpu, &env)?;
    set(cpu, op.reg[0], result);
    Ok(())
}
