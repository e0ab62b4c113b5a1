//! Single elements in and out of vectors, masks of signs, broadcasts.

use super::{Width, YMM, available, first_source, get, immediate, operand, part, set, usual};
use crate::exec::access;
use crate::fault::Step;
use crate::flags;
use crate::isa::{Form, Op, op};
use crate::memory::Memory;
use crate::simd::shuffle;
use crate::state::CpuState;
use crate::word::{Unit, Word, low32, low64};

/// How far the element that the immediate names lies from the right.
fn place<T: Word>(immediate: u8) -> u32 {
    u32::from(immediate) * T::BITS % 128
}

/// `vector` with the element replaced.
pub(crate) fn with_element<T: Word>(vector: u128, element: u64, immediate: u8) -> u128 {
    let mask = u128::from(T::MASK) << place::<T>(immediate);
    (vector & !mask) | ((u128::from(element) << place::<T>(immediate)) & mask)
}

/// The element, zero-extended.
pub(crate) fn element<T: Word>(vector: u128, immediate: u8) -> u64 {
    low64(vector >> place::<T>(immediate)) & T::MASK
}

/// An element from a general register or memory.
pub(crate) fn general_or_memory<T: Word, M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    slot: usize,
) -> Step<u64> {
    if op.has(op::MEMORY) {
        Ok(access::load::<T, M>(cpu, memory, op)?.zx())
    } else {
        Ok(access::get::<u64>(cpu, op.reg[slot & 3]))
    }
}

fn insert_run<T: Word, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let slot = first_source::<W>();
    let value = general_or_memory::<T, M>(cpu, memory, op, slot + 1)?;
    let vector = get(cpu, op.reg[slot])[0];
    let result = with_element::<T>(vector, value, immediate(op));
    set::<W>(cpu, op.reg[0], [result, 0]);
    Ok(())
}

/// PINSRB, PINSRW, PINSRD, PINSRQ.
pub(crate) fn insert<T: Word, M: Memory, const W: Width>() -> Form<M> {
    Form::any(insert_run::<T, M, W>)
}

fn extract_run<T: Word, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = element::<T>(get(cpu, op.reg[1])[0], immediate(op));
    if op.has(op::MEMORY) {
        return access::store(cpu, memory, op, T::cut(value));
    }
    access::set::<u64>(cpu, op.reg[0], value);
    Ok(())
}

/// PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS.
pub(crate) fn extract<T: Word, M: Memory, const W: Width>() -> Form<M> {
    Form::any(extract_run::<T, M, W>)
}

fn insertps_run<M: Memory, const W: Width>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<W>(cpu)?;
    let slot = first_source::<W>();
    let value = if op.has(op::MEMORY) {
        access::load::<u32, M>(cpu, memory, op)?
    } else {
        let from = get(cpu, op.reg[slot + 1])[0];
        low32(element::<u32>(from, immediate(op) >> 6))
    };
    let vector = get(cpu, op.reg[slot])[0];
    let result = shuffle::insertps(vector, value, immediate(op));
    set::<W>(cpu, op.reg[0], [result, 0]);
    Ok(())
}

/// INSERTPS.
pub(crate) fn insertps<M: Memory, const W: Width>() -> Form<M> {
    Form::any(insertps_run::<M, W>)
}

fn signs_run<T: Word, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let half = |value| match T::BITS {
        8 => shuffle::pmovmskb(value),
        32 => shuffle::movmskps(value),
        _ => shuffle::movmskpd(value),
    };
    let [low, high] = get(cpu, op.reg[1]);
    let mut bits = half(low);
    if W == YMM {
        bits |= half(high) << (128 / T::BITS);
    }
    access::set::<u64>(cpu, op.reg[0], bits.into());
    Ok(())
}

/// PMOVMSKB, MOVMSKPS, MOVMSKPD.
pub(crate) fn signs<T: Word, M: Memory, const W: Width>() -> Form<M> {
    Form::any(signs_run::<T, M, W>)
}

fn broadcast_run<T: Word + Into<u128>, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let lane = part::<T, M>(cpu, memory, op, 1)?;
    let all = shuffle::broadcast(low64(lane), T::BITS);
    set::<W>(cpu, op.reg[0], [all, all]);
    Ok(())
}

/// VBROADCASTSS, VPBROADCASTB and their kin.
pub(crate) fn broadcast<T: Word + Into<u128>, M: Memory, const W: Width>() -> Form<M> {
    Form::any(broadcast_run::<T, M, W>)
}

/// VBROADCASTF128, VBROADCASTI128.
pub(crate) fn broadcast128<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<YMM>(cpu)?;
    let half = access::load::<u128, M>(cpu, memory, op)?;
    set::<YMM>(cpu, op.reg[0], [half, half]);
    Ok(())
}

fn test_run<T: Unit, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let b = operand::<M, W>(cpu, memory, op, 1, usual::<W>())?;
    let a = get(cpu, op.reg[0]);
    let signs = |value| match T::BYTES {
        4 => shuffle::mask_d(value),
        8 => shuffle::mask_q(value),
        _ => value,
    };
    let (mut both, mut only) = (signs(a[0] & b[0]), signs(!a[0] & b[0]));
    if W == YMM {
        both |= signs(a[1] & b[1]);
        only |= signs(!a[1] & b[1]);
    }
    let zero = if both == 0 { flags::ZF } else { 0 };
    let carry = if only == 0 { flags::CF } else { 0 };
    cpu.flags.set_status(zero | carry);
    Ok(())
}

/// PTEST (all bits), VTESTPS, VTESTPD (signs).
pub(crate) fn test<T: Unit, M: Memory, const W: Width>() -> Form<M> {
    Form::any(test_run::<T, M, W>)
}

fn crc32_run<T: Word, M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    let value = if op.has(op::MEMORY) {
        access::load::<T, M>(cpu, memory, op)?.zx()
    } else {
        access::get::<T>(cpu, op.reg[1])
    };
    let crc = low32(access::get::<u32>(cpu, op.reg[0]));
    let bytes = value.to_le_bytes();
    let crc = crate::simd::poly::crc32(crc, &bytes[..T::BYTES]);
    access::set::<u64>(cpu, op.reg[0], crc.into());
    Ok(())
}

/// CRC32.
pub(crate) fn crc32<T: Word, M: Memory>() -> Form<M> {
    Form::any(crc32_run::<T, M>)
}
