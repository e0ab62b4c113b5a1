//! The shapes of packed integer instructions.

use super::kernels::{Kernel, Shift};
use super::{
    Align, SSE, Value, Width, YMM, available, first_source, get, immediate, operand, part, set,
    sources, usual,
};
use crate::fault::Step;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::low64;

#[inline(always)]
fn halves<K: Kernel, const W: Width>(a: Value, b: Value, immediate: u8) -> Value {
    let low = K::run(a[0], b[0], immediate);
    if W == YMM {
        [low, K::run(a[1], b[1], immediate >> K::STEP)]
    } else {
        [low, 0]
    }
}

fn binary_run<M: Memory, K: Kernel, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let (a, b) = sources::<M, W>(cpu, memory, op)?;
    set::<W>(cpu, op.reg[0], halves::<K, W>(a, b, immediate(op)));
    Ok(())
}

/// Two sources.
pub(crate) fn binary<M: Memory, K: Kernel, const W: Width>() -> Form<M> {
    Form::any(binary_run::<M, K, W>)
}

fn unaligned_run<M: Memory, K: Kernel>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<SSE>(cpu)?;
    let b = operand::<M, SSE>(cpu, memory, op, 1, Align::No)?;
    let a = get(cpu, op.reg[0]);
    set::<SSE>(cpu, op.reg[0], halves::<K, SSE>(a, b, immediate(op)));
    Ok(())
}

/// Two sources; the memory operand of SHA instructions need not be aligned on AMD's processors.
pub(crate) fn unaligned<M: Memory, K: Kernel>() -> Form<M> {
    Form::any(unaligned_run::<M, K>)
}

/// SHA256RNDS2.
pub(crate) fn sha256rnds2<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<SSE>(cpu)?;
    let b = operand::<M, SSE>(cpu, memory, op, 1, Align::No)?[0];
    let (a, words) = (get(cpu, op.reg[0])[0], get(cpu, 0)[0]);
    let value = crate::simd::sha::sha256rnds2(a, b, words);
    set::<SSE>(cpu, op.reg[0], [value, 0]);
    Ok(())
}

fn unary_run<M: Memory, K: Kernel, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let b = operand::<M, W>(cpu, memory, op, 1, usual::<W>())?;
    set::<W>(cpu, op.reg[0], halves::<K, W>(b, b, immediate(op)));
    Ok(())
}

/// One source.
pub(crate) fn unary<M: Memory, K: Kernel, const W: Width>() -> Form<M> {
    Form::any(unary_run::<M, K, W>)
}

#[inline(always)]
fn shifted<K: Shift, const W: Width>(a: Value, count: u64) -> Value {
    let low = K::run(a[0], count);
    if W == YMM {
        [low, K::run(a[1], count)]
    } else {
        [low, 0]
    }
}

fn shift_run<M: Memory, K: Shift, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let slot = first_source::<W>();
    // The count is 128 bits in memory, whatever the width.
    let count = if W == YMM {
        operand::<M, { super::XMM }>(cpu, memory, op, slot + 1, Align::No)?
    } else {
        operand::<M, W>(cpu, memory, op, slot + 1, usual::<W>())?
    };
    let a = get(cpu, op.reg[slot]);
    set::<W>(cpu, op.reg[0], shifted::<K, W>(a, low64(count[0])));
    Ok(())
}

/// A shift by a register or memory.
pub(crate) fn shift<M: Memory, K: Shift, const W: Width>() -> Form<M> {
    Form::any(shift_run::<M, K, W>)
}

fn shift_immediate_run<M: Memory, K: Shift, const W: Width>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let a = get(cpu, op.reg[first_source::<W>()]);
    let count = u64::from(immediate(op));
    set::<W>(cpu, op.reg[0], shifted::<K, W>(a, count));
    Ok(())
}

/// A shift by an immediate.
pub(crate) fn shift_immediate<M: Memory, K: Shift, const W: Width>() -> Form<M> {
    Form::any(shift_immediate_run::<M, K, W>)
}

/// A choice between two sources by the signs of a third operand.
pub(crate) trait Blend: 'static {
    /// The operation.
    fn run(a: u128, b: u128, mask: u128) -> u128;
}

macro_rules! blends {
    ($($name:ident = $function:path;)*) => {
        $(
            #[doc = concat!("`", stringify!($function), "`.")]
            pub(crate) struct $name;
            impl Blend for $name {
                #[inline(always)]
                fn run(a: u128, b: u128, mask: u128) -> u128 {
                    $function(a, b, mask)
                }
            }
        )*
    };
}

blends! {
    Pblendvb = crate::simd::shuffle::pblendvb;
    Blendvps = crate::simd::shuffle::blendvps;
    Blendvpd = crate::simd::shuffle::blendvpd;
}

fn blend_run<M: Memory, K: Blend, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let (a, b) = sources::<M, W>(cpu, memory, op)?;
    let mask = get(cpu, if W == super::SSE { 0 } else { op.reg[3] });
    let low = K::run(a[0], b[0], mask[0]);
    let high = if W == YMM {
        K::run(a[1], b[1], mask[1])
    } else {
        0
    };
    set::<W>(cpu, op.reg[0], [low, high]);
    Ok(())
}

/// The third operand is XMM0 in the legacy encoding.
pub(crate) fn blend<M: Memory, K: Blend, const W: Width>() -> Form<M> {
    Form::any(blend_run::<M, K, W>)
}

fn widen_run<M: Memory, const FROM: u32, const TO: u32, const SIGNED: bool, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let bits = FROM * if W == YMM { 256 } else { 128 } / TO;
    let source = match bits {
        16 => part::<u16, M>(cpu, memory, op, 1)?,
        32 => part::<u32, M>(cpu, memory, op, 1)?,
        64 => part::<u64, M>(cpu, memory, op, 1)?,
        _ => part::<u128, M>(cpu, memory, op, 1)?,
    };
    let widen = |half: u128| crate::simd::shuffle::widen(low64(half), FROM, TO, SIGNED);
    let value = [widen(source), widen(source >> (bits / 2))];
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

/// PMOVSX, PMOVZX.
pub(crate) fn widen<
    M: Memory,
    const FROM: u32,
    const TO: u32,
    const SIGNED: bool,
    const W: Width,
>() -> Form<M> {
    Form::any(widen_run::<M, FROM, TO, SIGNED, W>)
}

fn movddup_run<M: Memory, const W: Width>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<W>(cpu)?;
    let low = part::<u64, M>(cpu, memory, op, 1)?;
    set::<W>(cpu, op.reg[0], [low | (low << 64), 0]);
    Ok(())
}

/// MOVDDUP on 128 bits, which reads 64.
pub(crate) fn movddup<M: Memory, const W: Width>() -> Form<M> {
    Form::any(movddup_run::<M, W>)
}
