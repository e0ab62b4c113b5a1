//! The shapes of floating-point arithmetic.

use super::{
    SSE, Value, Width, YMM, available, first_source, get, immediate, operand, part, set, settle,
    sources, usual,
};
use crate::fault::Step;
use crate::fp::{Env, scalar};
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::simd::approx;
use crate::simd::float::{self, Binary, Lane, Signs};
use crate::state::CpuState;
use crate::word::Word;

/// An element type with its memory operand.
pub(crate) trait Element: Lane + Word + Into<u128> {}
impl Element for u32 {}
impl Element for u64 {}

/// What is done to each pair of lanes.
pub(crate) trait Operation: 'static {
    /// The bits of the immediate that have a meaning in the legacy encoding.
    const LEGACY: u8 = 15;
    /// Whether there is only one source (the packed VEX form has two operands then).
    const UNARY: bool = false;
    /// The operation.
    fn run<T: Element>(env: &mut Env, a: T, b: T, immediate: u8) -> T;
}

macro_rules! arithmetic {
    ($($name:ident, $unary:literal;)*) => {
        $(
            #[doc = concat!("See [`Binary::", stringify!($name), "`].")]
            pub(crate) struct $name;
            impl Operation for $name {
                const UNARY: bool = $unary;
                #[inline(always)]
                fn run<T: Element>(env: &mut Env, a: T, b: T, _: u8) -> T {
                    Binary::$name.apply(env, a, b)
                }
            }
        )*
    };
}

arithmetic! {
    Add, false;
    Sub, false;
    Mul, false;
    Div, false;
    Min, false;
    Max, false;
    Sqrt, true;
}

/// CMPPS and its kin.
pub(crate) struct Compare;
impl Operation for Compare {
    const LEGACY: u8 = 7;
    fn run<T: Element>(env: &mut Env, a: T, b: T, immediate: u8) -> T {
        T::mask(scalar::predicate(env, a, b, immediate))
    }
}

/// ROUNDPS and its kin.
pub(crate) struct Round;
impl Operation for Round {
    const UNARY: bool = true;
    fn run<T: Element>(env: &mut Env, _: T, b: T, immediate: u8) -> T {
        scalar::round(env, b, immediate)
    }
}

fn packed_run<M: Memory, O: Operation, T: Element, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let (a, b) = if O::UNARY {
        let b = operand::<M, W>(cpu, memory, op, 1, usual::<W>())?;
        (b, b)
    } else {
        sources::<M, W>(cpu, memory, op)?
    };
    let mut immediate = immediate(op);
    if W == SSE {
        immediate &= O::LEGACY;
    }
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let mut half =
        |a, b| float::each::<T>(a, b, usize::MAX, |x, y| O::run(&mut env, x, y, immediate));
    let low = half(a[0], b[0]);
    let high = if W == YMM { half(a[1], b[1]) } else { 0 };
    settle(cpu, &env)?;
    set::<W>(cpu, op.reg[0], [low, high]);
    Ok(())
}

/// All lanes.
pub(crate) fn packed<M: Memory, O: Operation, T: Element, const W: Width>() -> Form<M> {
    Form::any(packed_run::<M, O, T, W>)
}

fn single_run<M: Memory, O: Operation, T: Element, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let slot = first_source::<W>();
    let b = part::<T, M>(cpu, memory, op, slot + 1)?;
    let a = get(cpu, op.reg[slot])[0];
    let mut immediate = immediate(op);
    if W == SSE {
        immediate &= O::LEGACY;
    }
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let low = float::each::<T>(a, b, 1, |x, y| O::run(&mut env, x, y, immediate));
    settle(cpu, &env)?;
    set::<W>(cpu, op.reg[0], [low, 0]);
    Ok(())
}

/// The lowest lane.
pub(crate) fn single<M: Memory, O: Operation, T: Element, const W: Width>() -> Form<M> {
    Form::any(single_run::<M, O, T, W>)
}

/// What is done to 128 bits at once.
pub(crate) trait Whole: 'static {
    /// The operation.
    fn run(env: &mut Env, a: u128, b: u128, immediate: u8) -> u128;
}

macro_rules! wholes {
    ($($name:ident = |$env:ident, $a:ident, $b:ident, $immediate:pat_param| $body:expr;)*) => {
        $(
            #[doc = concat!("V", stringify!($name), " and the form without V.")]
            pub(crate) struct $name;
            impl Whole for $name {
                fn run($env: &mut Env, $a: u128, $b: u128, $immediate: u8) -> u128 {
                    $body
                }
            }
        )*
    };
}

wholes! {
    Haddps = |env, a, b, _| float::horizontal::<u32>(env, Binary::Add, a, b);
    Haddpd = |env, a, b, _| float::horizontal::<u64>(env, Binary::Add, a, b);
    Hsubps = |env, a, b, _| float::horizontal::<u32>(env, Binary::Sub, a, b);
    Hsubpd = |env, a, b, _| float::horizontal::<u64>(env, Binary::Sub, a, b);
    Addsubps = |env, a, b, _| float::addsub::<u32>(env, a, b);
    Addsubpd = |env, a, b, _| float::addsub::<u64>(env, a, b);
}

fn whole_run<M: Memory, O: Whole, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let (a, b) = sources::<M, W>(cpu, memory, op)?;
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let low = O::run(&mut env, a[0], b[0], immediate(op));
    let high = if W == YMM {
        O::run(&mut env, a[1], b[1], immediate(op))
    } else {
        0
    };
    settle(cpu, &env)?;
    set::<W>(cpu, op.reg[0], [low, high]);
    Ok(())
}

/// An operation across lanes.
pub(crate) fn whole<M: Memory, O: Whole, const W: Width>() -> Form<M> {
    Form::any(whole_run::<M, O, W>)
}

fn dot_run<M: Memory, T: Element, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let (a, b) = sources::<M, W>(cpu, memory, op)?;
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let value = if W == YMM {
        float::dot::<T, 2>(&mut env, a, b, immediate(op))
    } else {
        let [low] = float::dot::<T, 1>(&mut env, [a[0]], [b[0]], immediate(op));
        [low, 0]
    };
    settle(cpu, &env)?;
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

/// DPPS, DPPD.
pub(crate) fn dot<M: Memory, T: Element, const W: Width>() -> Form<M> {
    Form::any(dot_run::<M, T, W>)
}

/// The approximations, which raise nothing.
pub(crate) trait Approximate: 'static {
    /// The operation.
    fn run(a: u32) -> u32;
}

/// RCPPS, RCPSS.
pub(crate) struct Rcp;
impl Approximate for Rcp {
    fn run(a: u32) -> u32 {
        approx::reciprocal(a)
    }
}

/// RSQRTPS, RSQRTSS.
pub(crate) struct Rsqrt;
impl Approximate for Rsqrt {
    fn run(a: u32) -> u32 {
        approx::reciprocal_root(a)
    }
}

fn approximate_run<M: Memory, O: Approximate, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let b = operand::<M, W>(cpu, memory, op, 1, usual::<W>())?;
    let half = |b| crate::simd::lanes::map::<u32>(b, O::run);
    let high = if W == YMM { half(b[1]) } else { 0 };
    set::<W>(cpu, op.reg[0], [half(b[0]), high]);
    Ok(())
}

/// An approximation of all lanes.
pub(crate) fn approximate<M: Memory, O: Approximate, const W: Width>() -> Form<M> {
    Form::any(approximate_run::<M, O, W>)
}

fn approximate_single_run<M: Memory, O: Approximate, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let slot = first_source::<W>();
    let b = part::<u32, M>(cpu, memory, op, slot + 1)?;
    let a = get(cpu, op.reg[slot])[0];
    let low = float::each::<u32>(a, b, 1, |_, y| O::run(y));
    set::<W>(cpu, op.reg[0], [low, 0]);
    Ok(())
}

/// An approximation of the lowest lane.
pub(crate) fn approximate_single<M: Memory, O: Approximate, const W: Width>() -> Form<M> {
    Form::any(approximate_single_run::<M, O, W>)
}

/// The signs in a fused multiply-add, by its name.
pub(crate) trait Fused: 'static {
    /// The signs.
    const SIGNS: Signs;
}

macro_rules! fused {
    ($($name:ident: $product:literal, $even:literal, $odd:literal;)*) => {
        $(
            #[doc = concat!("V", stringify!($name), ".")]
            pub(crate) struct $name;
            impl Fused for $name {
                const SIGNS: Signs = Signs { product: $product, even: $even, odd: $odd };
            }
        )*
    };
}

fused! {
    Fmadd: false, false, false;
    Fmsub: false, true, true;
    Fnmadd: true, false, false;
    Fnmsub: true, true, true;
    Fmaddsub: false, true, false;
    Fmsubadd: false, false, true;
}

/// Which operands are multiplied: 132, 213 or 231.
fn ordered<const ORDER: u16>(operands: [u128; 3]) -> [u128; 3] {
    let [first, second, third] = operands;
    match ORDER {
        132 => [first, third, second],
        213 => [second, first, third],
        _ => [second, third, first],
    }
}

fn fma_run<M: Memory, O: Fused, T: Element, const ORDER: u16, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let (b, c) = sources::<M, W>(cpu, memory, op)?;
    let a = get(cpu, op.reg[0]);
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let mut half = |i: usize| {
        let operands = ordered::<ORDER>([a[i], b[i], c[i]]);
        float::fma::<T>(&mut env, operands, 0, usize::MAX, O::SIGNS)
    };
    let value: Value = [half(0), if W == YMM { half(1) } else { 0 }];
    settle(cpu, &env)?;
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

/// A fused multiply-add of all lanes.
pub(crate) fn fma<M: Memory, O: Fused, T: Element, const ORDER: u16, const W: Width>() -> Form<M> {
    Form::any(fma_run::<M, O, T, ORDER, W>)
}

fn fma_single_run<M: Memory, O: Fused, T: Element, const ORDER: u16>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<{ super::XMM }>(cpu)?;
    let c = part::<T, M>(cpu, memory, op, 2)?;
    let (a, b) = (get(cpu, op.reg[0])[0], get(cpu, op.reg[1])[0]);
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let low = float::fma::<T>(&mut env, ordered::<ORDER>([a, b, c]), a, 1, O::SIGNS);
    settle(cpu, &env)?;
    set::<{ super::XMM }>(cpu, op.reg[0], [low, 0]);
    Ok(())
}

/// A fused multiply-add of the lowest lane.
pub(crate) fn fma_single<M: Memory, O: Fused, T: Element, const ORDER: u16>() -> Form<M> {
    Form::any(fma_single_run::<M, O, T, ORDER>)
}
