//! Loads and stores of single elements: VMASKMOV, VPMASKMOV, VGATHER, VPGATHER.

use super::{SSE, Value, Width, XMM, YMM, available, get, set};
use crate::exec::access::{self, Access};
use crate::fault::Step;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::Word;

/// Element `i` of a register.
fn element<T: Word>(value: Value, i: u32) -> u64 {
    let bit = i * T::BITS;
    let half = if bit < 128 { value[0] } else { value[1] };
    crate::word::low64(half >> (bit & 127)) & T::MASK
}

/// Sets element `i` of a register.
fn set_element<T: Word>(value: &mut Value, i: u32, element: u64) {
    let bit = i * T::BITS;
    let half = if bit < 128 {
        &mut value[0]
    } else {
        &mut value[1]
    };
    let mask = u128::from(T::MASK) << (bit & 127);
    *half = (*half & !mask) | (u128::from(element) << (bit & 127));
}

fn elements<T: Word, const W: Width>() -> u32 {
    (if W == YMM { 256 } else { 128 }) / T::BITS
}

/// Linear address of element `i` of the memory operand.
fn place<T: Word, M>(cpu: &mut CpuState, op: &Op<M>, i: u32, access: Access) -> Step<u64> {
    let offset = op.offset(cpu).wrapping_add(u64::from(i) * T::BYTES as u64);
    access::segmented(cpu, op.segment, op.cut_address(offset), T::BYTES, access)
}

fn mask_load_run<T: Word, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let mask = get(cpu, op.reg[1]);
    let mut value = [0; 2];
    for i in 0..elements::<T, W>() {
        if element::<T>(mask, i) & T::SIGN != 0 {
            let linear = place::<T, M>(cpu, op, i, Access::Read)?;
            let loaded = memory.read::<T>(cpu, linear)?.zx();
            set_element::<T>(&mut value, i, loaded);
        }
    }
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

/// VMASKMOVPS and its kin from memory.
pub(crate) fn mask_load<T: Word, M: Memory, const W: Width>() -> Form<M> {
    Form::any(mask_load_run::<T, M, W>)
}

fn mask_store_run<T: Word, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let (mask, value) = (get(cpu, op.reg[1]), get(cpu, op.reg[2]));
    let chosen = |i: &u32| element::<T>(mask, *i) & T::SIGN != 0;
    for i in (0..elements::<T, W>()).filter(chosen) {
        let linear = place::<T, M>(cpu, op, i, Access::Write)?;
        memory.check_write(cpu, linear, T::BYTES)?;
    }
    for i in (0..elements::<T, W>()).filter(chosen) {
        let linear = place::<T, M>(cpu, op, i, Access::Write)?;
        memory.write(cpu, linear, T::cut(element::<T>(value, i)))?;
    }
    Ok(())
}

/// VMASKMOVPS and its kin to memory.
pub(crate) fn mask_store<T: Word, M: Memory, const W: Width>() -> Form<M> {
    Form::any(mask_store_run::<T, M, W>)
}

fn gather_run<I: Word, T: Word, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let index = get(cpu, op.index);
    let (mut mask, mut value) = (get(cpu, op.reg[2]), get(cpu, op.reg[0]));
    let bits = if W == YMM { 256 } else { 128 };
    let count = bits / I::BITS.max(T::BITS);
    let base = cpu.gpr[usize::from(op.base & 31)].wrapping_add(op.disp);
    for i in 0..count {
        if element::<T>(mask, i) & T::SIGN != 0 {
            let step = I::cut(element::<I>(index, i)).sx() << (op.scale & 3);
            let offset = op.cut_address(base.wrapping_add(step));
            let loaded = access::segmented(cpu, op.segment, offset, T::BYTES, Access::Read)
                .and_then(|linear| memory.read::<T>(cpu, linear));
            match loaded {
                Ok(loaded) => set_element::<T>(&mut value, i, loaded.zx()),
                Err(trap) => {
                    // What was gathered stays, and its mask says so; the upper halves wait for the end.
                    set::<SSE>(cpu, op.reg[0], value);
                    set::<SSE>(cpu, op.reg[2], mask);
                    if W == YMM {
                        set::<YMM>(cpu, op.reg[0], value);
                        set::<YMM>(cpu, op.reg[2], mask);
                    }
                    return Err(trap);
                }
            }
        }
        set_element::<T>(&mut mask, i, 0);
    }
    let used = count * T::BITS;
    let cut = |value: Value| match used {
        64 => [value[0] & u128::from(u64::MAX), 0],
        128 => [value[0], 0],
        _ => value,
    };
    keep::<W>(cpu, op, cut(value), [0; 2]);
    Ok(())
}

fn keep<const W: Width>(cpu: &mut CpuState, op: &Op<impl Memory>, value: Value, mask: Value) {
    if W == YMM {
        set::<YMM>(cpu, op.reg[0], value);
        set::<YMM>(cpu, op.reg[2], mask);
    } else {
        set::<XMM>(cpu, op.reg[0], value);
        set::<XMM>(cpu, op.reg[2], mask);
    }
}

/// VGATHER, VPGATHER: indexes of type `I`, elements of type `T`; the width is that of the wider of both.
pub(crate) fn gather<I: Word, T: Word, M: Memory, const W: Width>() -> Form<M> {
    Form::any(gather_run::<I, T, M, W>)
}
