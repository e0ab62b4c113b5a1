//! Conversions.

use super::float::Element;
use super::{
    Value, Width, XMM, YMM, available, first_source, get, immediate, operand, part, set, settle,
    usual,
};
use crate::exec::access;
use crate::fault::Step;
use crate::fp::{Env, Rounding, scalar};
use crate::isa::{Form, Op, op};
use crate::memory::Memory;
use crate::simd::float;
use crate::state::CpuState;
use crate::word::{Word, low64};

/// The rounding mode of CVT (MXCSR's) or CVTT (toward zero).
fn mode<const TRUNCATE: bool>(env: &Env) -> Rounding {
    if TRUNCATE {
        Rounding::Zero
    } else {
        env.rounding
    }
}

fn from_integer_run<I: Word, T: Element, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let slot = first_source::<W>();
    let value = if op.has(op::MEMORY) {
        access::load::<I, M>(cpu, memory, op)?
    } else {
        I::cut(access::get::<I>(cpu, op.reg[slot + 1]))
    };
    let a = get(cpu, op.reg[slot])[0];
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let low: T = scalar::from_signed(&mut env, value.sx().cast_signed());
    settle(cpu, &env)?;
    let result = float::each::<T>(a, 0, 1, |_, _| low);
    set::<W>(cpu, op.reg[0], [result, 0]);
    Ok(())
}

/// CVTSI2SS, CVTSI2SD.
pub(crate) fn from_integer<I: Word, T: Element, M: Memory, const W: Width>() -> Form<M> {
    Form::any(from_integer_run::<I, T, M, W>)
}

fn to_integer_run<I: Word, T: Element, M: Memory, const TRUNCATE: bool, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let value = T::cut(low64(part::<T, M>(cpu, memory, op, 1)?));
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let mode = mode::<TRUNCATE>(&env);
    let result = scalar::to_signed(&mut env, mode, value, <I as Word>::BITS);
    settle(cpu, &env)?;
    access::set::<I>(cpu, op.reg[0], result.cast_unsigned());
    Ok(())
}

/// CVTSS2SI, CVTTSD2SI and their kin.
pub(crate) fn to_integer<I: Word, T: Element, M: Memory, const TRUNCATE: bool, const W: Width>()
-> Form<M> {
    Form::any(to_integer_run::<I, T, M, TRUNCATE, W>)
}

fn between_run<A: Element, B: Element, M: Memory, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let slot = first_source::<W>();
    let value = A::cut(low64(part::<A, M>(cpu, memory, op, slot + 1)?));
    let a = get(cpu, op.reg[slot])[0];
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let low: B = scalar::convert(&mut env, value);
    settle(cpu, &env)?;
    let result = float::each::<B>(a, 0, 1, |_, _| low);
    set::<W>(cpu, op.reg[0], [result, 0]);
    Ok(())
}

/// CVTSS2SD, CVTSD2SS.
pub(crate) fn between<A: Element, B: Element, M: Memory, const W: Width>() -> Form<M> {
    Form::any(between_run::<A, B, M, W>)
}

/// A conversion of whole vectors.
pub(crate) trait Conversion: 'static {
    /// Source bits for 128 bits of the wider side: 64 when lanes get wider, 128 otherwise.
    const SOURCE: u32;
    /// Result bits: 64 when lanes get narrower.
    const RESULT: u32;
    /// Converts 128 bits of the wider side.
    fn run(env: &mut Env, source: u128) -> u128;
}

macro_rules! conversions {
    ($($name:ident, $source:literal, $result:literal, |$env:ident, $a:ident| $body:expr;)*) => {
        $(
            #[doc = concat!(stringify!($name), ".")]
            pub(crate) struct $name;
            impl Conversion for $name {
                const SOURCE: u32 = $source;
                const RESULT: u32 = $result;
                fn run($env: &mut Env, $a: u128) -> u128 {
                    $body
                }
            }
        )*
    };
}

conversions! {
    Cvtdq2ps, 128, 128, |env, a| float::cvtdq2ps(env, a);
    Cvtps2dq, 128, 128, |env, a| float::cvtps2dq(env, env.rounding, a);
    Cvttps2dq, 128, 128, |env, a| float::cvtps2dq(env, Rounding::Zero, a);
    Cvtdq2pd, 64, 128, |env, a| float::cvtdq2pd(env, low64(a));
    Cvtps2pd, 64, 128, |env, a| float::cvtps2pd(env, low64(a));
    Cvtph2ps, 64, 128, |env, a| float::vcvtph2ps(env, low64(a));
    Cvtpd2ps, 128, 64, |env, a| float::cvtpd2ps(env, a).into();
    Cvtpd2dq, 128, 64, |env, a| float::cvtpd2dq(env, env.rounding, a).into();
    Cvttpd2dq, 128, 64, |env, a| float::cvtpd2dq(env, Rounding::Zero, a).into();
}

fn packed_run<M: Memory, C: Conversion, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let source: Value = match (C::SOURCE, W) {
        (64, YMM) => {
            let both = operand::<M, XMM>(cpu, memory, op, 1, super::Align::No)?[0];
            [both, both >> 64]
        }
        (64, _) => [part::<u64, M>(cpu, memory, op, 1)?, 0],
        _ => operand::<M, W>(cpu, memory, op, 1, usual::<W>())?,
    };
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let low = C::run(&mut env, source[0]);
    let high = if W == YMM {
        C::run(&mut env, source[1])
    } else {
        0
    };
    settle(cpu, &env)?;
    if C::RESULT == 128 {
        set::<W>(cpu, op.reg[0], [low, high]);
    } else if W == YMM {
        set::<XMM>(cpu, op.reg[0], [low | (high << 64), 0]);
    } else {
        set::<W>(cpu, op.reg[0], [low, 0]);
    }
    Ok(())
}

/// A conversion of all lanes; the width is that of the wider side.
pub(crate) fn packed<M: Memory, C: Conversion, const W: Width>() -> Form<M> {
    Form::any(packed_run::<M, C, W>)
}

fn to_half_run<M: Memory, const W: Width>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    available::<W>(cpu)?;
    let source = get(cpu, op.reg[1]);
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let low = float::vcvtps2ph(&mut env, source[0], immediate(op));
    let mut result = u128::from(low);
    if W == YMM {
        let high = float::vcvtps2ph(&mut env, source[1], immediate(op));
        result |= u128::from(high) << 64;
    }
    if !op.has(op::MEMORY) {
        settle(cpu, &env)?;
        set::<XMM>(cpu, op.reg[0], [result, 0]);
        return Ok(());
    }
    let bytes = if W == YMM { 16 } else { 8 };
    let linear = access::linear(cpu, op, bytes, access::Access::Write)?;
    memory.check_write(cpu, linear, bytes)?;
    settle(cpu, &env)?;
    if W == YMM {
        memory.write(cpu, linear, result)
    } else {
        memory.write(cpu, linear, low)
    }
}

/// VCVTPS2PH.
pub(crate) fn to_half<M: Memory, const W: Width>() -> Form<M> {
    Form::any(to_half_run::<M, W>)
}
