//! AVX instructions that move between the halves.

use super::{
    Align, Value, XMM, YMM, available, get, immediate, load, operand, set, sources, store,
};
use crate::fault::Step;
use crate::isa::{Op, op};
use crate::memory::Memory;
use crate::simd::lanes::Lanes;
use crate::state::CpuState;

/// VPERM2F128, VPERM2I128.
pub(crate) fn halves<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<YMM>(cpu)?;
    let (a, b) = sources::<M, YMM>(cpu, memory, op)?;
    let pick = |field: u8| match field & 0xb {
        0 => a[0],
        1 => a[1],
        2 => b[0],
        3 => b[1],
        _ => 0,
    };
    let control = immediate(op);
    set::<YMM>(cpu, op.reg[0], [pick(control), pick(control >> 4)]);
    Ok(())
}

/// VINSERTF128, VINSERTI128.
pub(crate) fn insert<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<YMM>(cpu)?;
    let half = operand::<M, XMM>(cpu, memory, op, 2, Align::No)?[0];
    let mut value = get(cpu, op.reg[1]);
    value[usize::from(immediate(op) & 1)] = half;
    set::<YMM>(cpu, op.reg[0], value);
    Ok(())
}

/// VEXTRACTF128, VEXTRACTI128.
pub(crate) fn extract<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<YMM>(cpu)?;
    let half = get(cpu, op.reg[1])[usize::from(immediate(op) & 1)];
    if op.has(op::MEMORY) {
        return store::<M, XMM>(cpu, memory, op, Align::No, [half, 0]);
    }
    set::<XMM>(cpu, op.reg[0], [half, 0]);
    Ok(())
}

fn quads(value: Value) -> [u64; 4] {
    let ([a, b], [c, d]) = (u64::split(value[0]), u64::split(value[1]));
    [a, b, c, d]
}

fn doubles(value: Value) -> [u32; 8] {
    let (low, high) = (u32::split(value[0]), u32::split(value[1]));
    std::array::from_fn(|i| if i < 4 { low[i] } else { high[i - 4] })
}

/// VPERMQ, VPERMPD.
pub(crate) fn quads_by_immediate<M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<YMM>(cpu)?;
    let source = quads(operand::<M, YMM>(cpu, memory, op, 1, Align::No)?);
    let control = immediate(op);
    let at = |place: u8| source[usize::from(control >> (place * 2) & 3)];
    let value = [u64::join([at(0), at(1)]), u64::join([at(2), at(3)])];
    set::<YMM>(cpu, op.reg[0], value);
    Ok(())
}

/// VPERMD, VPERMPS.
pub(crate) fn doubles_by_register<M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<YMM>(cpu)?;
    let source = if op.has(op::MEMORY) {
        load::<M, YMM>(cpu, memory, op, Align::No)?
    } else {
        get(cpu, op.reg[2])
    };
    let (source, control) = (doubles(source), doubles(get(cpu, op.reg[1])));
    let at = |place: usize| source[crate::word::index((control[place] & 7).into())];
    let half = |from: usize| u32::join(std::array::from_fn(|i| at(from + i)));
    set::<YMM>(cpu, op.reg[0], [half(0), half(4)]);
    Ok(())
}
