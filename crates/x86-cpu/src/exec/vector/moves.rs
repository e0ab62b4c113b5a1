//! Moves between registers and memory.

use super::{Align, Width, YMM, available, first_source, get, operand, part, set, store};
use crate::exec::access::{self, Access};
use crate::fault::Step;
use crate::isa::{Form, Op, op};
use crate::memory::Memory;
use crate::state::{CpuState, reg};
use crate::word::{Unit, Word, high64, low64};

/// MXCSR bits that exist.
pub(crate) const MXCSR_MASK: u32 = 0xffff;

const fn alignment(aligned: bool) -> Align {
    if aligned { Align::Yes } else { Align::No }
}

fn whole_load_run<M: Memory, const ALIGNED: bool, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = operand::<M, W>(cpu, memory, op, 1, alignment(ALIGNED))?;
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

/// MOVAPS and its kin, to a register.
pub(crate) fn whole_load<M: Memory, const ALIGNED: bool, const W: Width>() -> Form<M> {
    Form::any(whole_load_run::<M, ALIGNED, W>)
}

fn whole_store_run<M: Memory, const ALIGNED: bool, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = get(cpu, op.reg[1]);
    if op.has(op::MEMORY) {
        return store::<M, W>(cpu, memory, op, alignment(ALIGNED), value);
    }
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

/// MOVAPS and its kin, from a register.
pub(crate) fn whole_store<M: Memory, const ALIGNED: bool, const W: Width>() -> Form<M> {
    Form::any(whole_store_run::<M, ALIGNED, W>)
}

/// The lowest bits of one value, the others of another.
fn merge<T: Unit>(low: u128, rest: u128) -> u128 {
    let mask = u128::MAX >> (128 - 8 * T::BYTES);
    (low & mask) | (rest & !mask)
}

fn scalar_load_run<T: Unit + Into<u128>, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = if op.has(op::MEMORY) {
        access::load::<T, M>(cpu, memory, op)?.into()
    } else {
        let slot = first_source::<W>();
        let low = get(cpu, op.reg[slot + 1])[0];
        merge::<T>(low, get(cpu, op.reg[slot])[0])
    };
    set::<W>(cpu, op.reg[0], [value, 0]);
    Ok(())
}

/// MOVSS, MOVSD: a load clears the rest, a move between registers keeps it.
pub(crate) fn scalar_load<T: Unit + Into<u128>, M: Memory, const W: Width>() -> Form<M> {
    Form::any(scalar_load_run::<T, M, W>)
}

fn scalar_store_run<T: Word, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = get(cpu, op.reg[1])[0];
    if op.has(op::MEMORY) {
        return access::store(cpu, memory, op, T::cut(low64(value)));
    }
    let kept = get(cpu, op.reg[0])[0];
    set::<W>(cpu, op.reg[0], [merge::<T>(value, kept), 0]);
    Ok(())
}

/// MOVSS, MOVSD from a register.
pub(crate) fn scalar_store<T: Word, M: Memory, const W: Width>() -> Form<M> {
    Form::any(scalar_store_run::<T, M, W>)
}

fn half_load_run<M: Memory, const HIGH: bool, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let half = u128::from(access::load::<u64, M>(cpu, memory, op)?);
    let other = get(cpu, op.reg[first_source::<W>()])[0];
    let value = if HIGH {
        u128::from(low64(other)) | (half << 64)
    } else {
        (other >> 64 << 64) | half
    };
    set::<W>(cpu, op.reg[0], [value, 0]);
    Ok(())
}

/// MOVLPS, MOVHPS from memory.
pub(crate) fn half_load<M: Memory, const HIGH: bool, const W: Width>() -> Form<M> {
    Form::any(half_load_run::<M, HIGH, W>)
}

fn half_store_run<M: Memory, const HIGH: bool, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = get(cpu, op.reg[1])[0];
    let half = if HIGH { high64(value) } else { low64(value) };
    access::store(cpu, memory, op, half)
}

/// MOVLPS, MOVHPS, VMOVSD to memory.
pub(crate) fn half_store<M: Memory, const HIGH: bool, const W: Width>() -> Form<M> {
    Form::any(half_store_run::<M, HIGH, W>)
}

fn from_general_run<T: Word, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = if op.has(op::MEMORY) {
        access::load::<T, M>(cpu, memory, op)?.zx()
    } else {
        access::get::<T>(cpu, op.reg[1])
    };
    set::<W>(cpu, op.reg[0], [value.into(), 0]);
    Ok(())
}

/// MOVD, MOVQ from a general register or memory.
pub(crate) fn from_general<T: Word, M: Memory, const W: Width>() -> Form<M> {
    Form::any(from_general_run::<T, M, W>)
}

fn to_general_run<T: Word, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = low64(get(cpu, op.reg[1])[0]);
    if op.has(op::MEMORY) {
        return access::store(cpu, memory, op, T::cut(value));
    }
    access::set::<T>(cpu, op.reg[0], value);
    Ok(())
}

/// MOVD, MOVQ to a general register or memory.
pub(crate) fn to_general<T: Word, M: Memory, const W: Width>() -> Form<M> {
    Form::any(to_general_run::<T, M, W>)
}

fn quad_load_run<M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = part::<u64, M>(cpu, memory, op, 1)?;
    set::<W>(cpu, op.reg[0], [value, 0]);
    Ok(())
}

/// MOVQ to a vector register.
pub(crate) fn quad_load<M: Memory, const W: Width>() -> Form<M> {
    Form::any(quad_load_run::<M, W>)
}

fn quad_store_run<M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = low64(get(cpu, op.reg[1])[0]);
    if op.has(op::MEMORY) {
        return access::store(cpu, memory, op, value);
    }
    set::<W>(cpu, op.reg[0], [value.into(), 0]);
    Ok(())
}

/// MOVQ from a vector register.
pub(crate) fn quad_store<M: Memory, const W: Width>() -> Form<M> {
    Form::any(quad_store_run::<M, W>)
}

/// MOVNTI.
pub(crate) fn movnti<T: Word, M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    let value = T::cut(access::get::<T>(cpu, op.reg[1]));
    access::store(cpu, memory, op, value)
}

/// The bytes of `value` whose mask byte has its sign set go to DS:rDI.
pub(crate) fn masked_bytes<M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    (value, mask): (u128, u128),
    count: usize,
) -> Step {
    let offset = op.cut_address(cpu.gpr[reg::RDI]);
    let bytes = value.to_le_bytes().into_iter().zip(mask.to_le_bytes());
    let chosen =
        |(place, (byte, mask)): (u64, (u8, u8))| (mask & 0x80 != 0).then_some((place, byte));
    let bytes = (0_u64..).zip(bytes).take(count);
    // All of it is checked, whatever the mask says: the manuals leave that to the processor.
    let linear = access::segmented(cpu, op.segment, offset, count, Access::Write)?;
    memory.check_write(cpu, linear, count)?;
    for (place, byte) in bytes.filter_map(chosen) {
        let at = op.cut_address(offset.wrapping_add(place));
        let linear = access::segmented(cpu, op.segment, at, 1, Access::Write)?;
        memory.write(cpu, linear, byte)?;
    }
    Ok(())
}

fn maskmovdqu_run<M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let pair = (get(cpu, op.reg[1])[0], get(cpu, op.reg[2])[0]);
    masked_bytes(cpu, memory, op, pair, 16)
}

/// MASKMOVDQU.
pub(crate) fn maskmovdqu<M: Memory, const W: Width>() -> Form<M> {
    Form::any(maskmovdqu_run::<M, W>)
}

fn ldmxcsr_run<M: Memory, const W: Width>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<W>(cpu)?;
    let value = access::load::<u32, M>(cpu, memory, op)?;
    if value & !MXCSR_MASK != 0 {
        return Err(cpu.gp());
    }
    cpu.mxcsr = value;
    Ok(())
}

/// LDMXCSR.
pub(crate) fn ldmxcsr<M: Memory, const W: Width>() -> Form<M> {
    Form::any(ldmxcsr_run::<M, W>)
}

fn stmxcsr_run<M: Memory, const W: Width>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<W>(cpu)?;
    let value = cpu.mxcsr;
    access::store(cpu, memory, op, value)
}

/// STMXCSR.
pub(crate) fn stmxcsr<M: Memory, const W: Width>() -> Form<M> {
    Form::any(stmxcsr_run::<M, W>)
}

/// VZEROUPPER, VZEROALL. Outside 64-bit code the upper eight registers are out of reach.
fn zero(cpu: &mut CpuState, from: usize) -> Step {
    available::<YMM>(cpu)?;
    let count = if cpu.long_code() { 16 } else { 8 };
    for register in cpu.vector.iter_mut().take(count) {
        for word in register.iter_mut().skip(from) {
            *word = 0;
        }
    }
    Ok(())
}

/// VZEROUPPER.
pub(crate) fn vzeroupper<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    zero(cpu, 2)
}

/// VZEROALL.
pub(crate) fn vzeroall<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    zero(cpu, 0)
}
