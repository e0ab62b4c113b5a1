//! Roots, rounding, remainders, and the transcendental functions.

use super::unit::{
    self, C0, C1, C2, C3, conclude, env, indefinite, is_empty, pop, push, set_codes, set_st, st,
    stack_fault,
};
use crate::fault::Step;
use crate::fp::raw::{Class, note_denormal, propagate, propagate_one};
use crate::fp::rem::{Kind, Progress, remainder, scale, split};
use crate::fp::round::{Exact, round};
use crate::fp::wide::Wide;
use crate::fp::{Env, F80, Raw, arith, convert, flag, trans};
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;

/// A function of ST(0).
pub(crate) trait One: 'static {
    /// The function.
    fn run(env: &mut Env, control: u16, a: Raw) -> Raw;
}

/// A function of ST(0) and ST(1).
pub(crate) trait Two: 'static {
    /// The function: `x` is ST(0), `y` is ST(1).
    fn run(env: &mut Env, control: u16, x: Raw, y: Raw) -> Raw;
}

macro_rules! functions {
    ($kind:ident: $($name:ident = |$($argument:ident),*| $body:expr;)*) => {
        $(
            #[doc = concat!("F", stringify!($name), ".")]
            pub(crate) struct $name;
            functions! { @$kind $name $($argument)* $body }
        )*
    };
    (@One $name:ident $env:ident $control:ident $a:ident $body:expr) => {
        impl One for $name {
            fn run($env: &mut Env, $control: u16, $a: Raw) -> Raw {
                $body
            }
        }
    };
    (@Two $name:ident $env:ident $control:ident $x:ident $y:ident $body:expr) => {
        impl Two for $name {
            fn run($env: &mut Env, $control: u16, $x: Raw, $y: Raw) -> Raw {
                $body
            }
        }
    };
}

functions! { One:
    Sqrt = |env, control, a| arith::sqrt(env, F80, arith::x87_precision(control), a);
    Rndint = |env, _control, a| round_integer(env, a);
    Xm1 = |env, _control, a| power(env, a);
}

functions! { Two:
    Patan = |env, _control, x, y| arc_tangent(env, x, y);
    Yl2x = |env, _control, x, y| logarithm(env, x, y);
    Yl2xp1 = |env, _control, x, y| logarithm_plus_one(env, x, y);
}

fn one_run<M: Memory, F: One>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if is_empty(cpu, 0) {
        if stack_fault(cpu, false) {
            set_st(cpu, 0, indefinite());
        }
        return Ok(());
    }
    let mut env = env(cpu);
    let result = F::run(&mut env, cpu.fpu.control, st(cpu, 0));
    if conclude(cpu, &env) {
        set_st(cpu, 0, result);
    }
    Ok(())
}

/// Replaces ST(0).
pub(crate) fn one<M: Memory, F: One>() -> Form<M> {
    Form::any(one_run::<M, F>)
}

fn two_run<M: Memory, F: Two>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    let result = if is_empty(cpu, 0) || is_empty(cpu, 1) {
        if !stack_fault(cpu, false) {
            return Ok(());
        }
        indefinite()
    } else {
        let mut env = env(cpu);
        let result = F::run(&mut env, cpu.fpu.control, st(cpu, 0), st(cpu, 1));
        if !conclude(cpu, &env) {
            return Ok(());
        }
        result
    };
    set_st(cpu, 1, result);
    pop(cpu);
    Ok(())
}

/// Replaces ST(1) and pops.
pub(crate) fn two<M: Memory, F: Two>() -> Form<M> {
    Form::any(two_run::<M, F>)
}

fn round_integer(env: &mut Env, a: Raw) -> Raw {
    if matches!(a.class(F80), Class::Finite { .. }) {
        note_denormal(env, F80, &[a]);
    }
    let mode = env.rounding;
    convert::round_to_integer(env, mode, F80, a)
}

fn invalid(env: &mut Env) -> Raw {
    env.raise(flag::INVALID);
    indefinite()
}

/// Rounds a result that is never exact.
fn rounded(env: &mut Env, value: Wide) -> Raw {
    let exact = Exact {
        sig: value.0.sig | 1,
        ..value.0
    };
    round(env, F80, exact)
}

fn power(env: &mut Env, a: Raw) -> Raw {
    if let Some(nan) = propagate_one(env, F80, a) {
        return nan;
    }
    match a.class(F80) {
        Class::Zero => a,
        Class::Infinite if a.sign => Raw { sign: true, ..ONE },
        Class::Infinite => a,
        _ => {
            note_denormal(env, F80, &[a]);
            let x = a.finite(F80);
            if x.exp > 0 || (x.exp == 0 && x.sig > 1 << 63) {
                // Outside the function's domain the result is undefined; leave the operand.
                return a;
            }
            rounded(env, trans::power_less_one(x))
        }
    }
}

const ONE: Raw = Raw {
    sign: false,
    exp: 0x3fff,
    sig: 1 << 63,
};

fn arc_tangent(env: &mut Env, x: Raw, y: Raw) -> Raw {
    if let Some(nan) = propagate(env, F80, x, y) {
        return nan;
    }
    note_denormal(env, F80, &[x, y]);
    let quarter = Wide::HALF_PI.scaled(-1);
    let angle = match (y.class(F80), x.class(F80)) {
        (Class::Infinite, Class::Infinite) if x.sign => Wide::PI.minus(quarter),
        (Class::Infinite, Class::Infinite) => quarter,
        (Class::Infinite, _) => Wide::HALF_PI,
        (Class::Zero, _) | (_, Class::Infinite) if x.sign => Wide::PI,
        (Class::Zero, _) | (_, Class::Infinite) => return Raw::zero(y.sign),
        (_, Class::Zero) => Wide::HALF_PI,
        _ => trans::angle(y.finite(F80), x.finite(F80)),
    };
    rounded(env, angle.with_sign(y.sign))
}

/// `y` times a logarithm that is not zero.
fn scaled_logarithm(env: &mut Env, y: Raw, logarithm: Wide) -> Raw {
    let sign = y.sign != logarithm.0.sign;
    match y.class(F80) {
        Class::Zero => Raw::zero(sign),
        Class::Infinite => Raw::infinity(sign, F80),
        _ => rounded(env, Wide::from_finite(y.finite(F80)).times(logarithm)),
    }
}

fn logarithm(env: &mut Env, x: Raw, y: Raw) -> Raw {
    if let Some(nan) = propagate(env, F80, x, y) {
        return nan;
    }
    let (cx, cy) = (x.class(F80), y.class(F80));
    if cx == Class::Zero {
        return match cy {
            Class::Zero => invalid(env),
            Class::Infinite => Raw::infinity(!y.sign, F80),
            _ => {
                env.raise(flag::ZERO_DIVIDE);
                Raw::infinity(!y.sign, F80)
            }
        };
    }
    if x.sign {
        return invalid(env);
    }
    if cx == Class::Infinite {
        if cy == Class::Zero {
            return invalid(env);
        }
        note_denormal(env, F80, &[y]);
        return Raw::infinity(y.sign, F80);
    }
    if x == ONE {
        if cy == Class::Infinite {
            return invalid(env);
        }
        note_denormal(env, F80, &[y]);
        return Raw::zero(y.sign);
    }
    note_denormal(env, F80, &[x, y]);
    let logarithm = trans::logarithm(x.finite(F80));
    scaled_logarithm(env, y, logarithm)
}

fn logarithm_plus_one(env: &mut Env, x: Raw, y: Raw) -> Raw {
    if let Some(nan) = propagate(env, F80, x, y) {
        return nan;
    }
    let (cx, cy) = (x.class(F80), y.class(F80));
    match (cx, cy) {
        (Class::Zero, Class::Infinite) => return invalid(env),
        (Class::Infinite, Class::Zero) => return invalid(env),
        (Class::Infinite, _) if x.sign => return invalid(env),
        _ => note_denormal(env, F80, &[x, y]),
    }
    let sign = x.sign != y.sign;
    if cx == Class::Infinite {
        return Raw::infinity(sign, F80);
    }
    if cx == Class::Zero {
        return Raw::zero(sign);
    }
    let value = x.finite(F80);
    if value.sign && value.exp >= 0 {
        // At or below -1 the result is undefined.
        return invalid(env);
    }
    scaled_logarithm(env, y, trans::logarithm_plus_one(value))
}

/// FSCALE.
pub(crate) fn fscale<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    replace_by_two(cpu, op, |env, x, y| scale(env, F80, x, y))
}

/// A function of ST(0) and ST(1) that replaces ST(0) and does not pop.
fn replace_by_two<M>(
    cpu: &mut CpuState,
    op: &Op<M>,
    f: impl FnOnce(&mut Env, Raw, Raw) -> Raw,
) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if is_empty(cpu, 0) || is_empty(cpu, 1) {
        if stack_fault(cpu, false) {
            set_st(cpu, 0, indefinite());
        }
        return Ok(());
    }
    let mut env = env(cpu);
    let result = f(&mut env, st(cpu, 0), st(cpu, 1));
    if conclude(cpu, &env) {
        set_st(cpu, 0, result);
    }
    Ok(())
}

fn remainder_of<M: Memory>(cpu: &mut CpuState, op: &Op<M>, kind: Kind) -> Step {
    let mut progress = Progress::Refused;
    replace_by_two(cpu, op, |env, x, y| {
        let result = remainder(env, x, y, kind);
        if env.unmasked() & flag::BEFORE == 0 {
            progress = result.progress;
        }
        result.value
    })?;
    let codes = match progress {
        Progress::Refused => {
            set_codes(cpu, C2, 0);
            return Ok(());
        }
        Progress::Partial => C2,
        Progress::Done(quotient) => {
            let bit = |n: u32, code: u16| if quotient >> n & 1 != 0 { code } else { 0 };
            bit(0, C1) | bit(1, C3) | bit(2, C0)
        }
    };
    set_codes(cpu, C0 | C1 | C2 | C3, codes);
    Ok(())
}

/// FPREM.
pub(crate) fn fprem<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    remainder_of(cpu, op, Kind::Truncated)
}

/// FPREM1.
pub(crate) fn fprem1<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    remainder_of(cpu, op, Kind::Nearest)
}

/// Replaces ST(0) by a first result and pushes a second one.
fn spread(cpu: &mut CpuState, env: &Env, first: Raw, second: Raw) -> bool {
    let store = conclude(cpu, env);
    if store {
        set_st(cpu, 0, first);
        push(cpu, second);
    }
    store
}

/// The stack faults of instructions that replace ST(0) and push. Whether there was one.
fn spread_fault(cpu: &mut CpuState) -> bool {
    let overflow = !is_empty(cpu, 0) && !is_empty(cpu, 7);
    if !is_empty(cpu, 0) && !overflow {
        return false;
    }
    if stack_fault(cpu, overflow) {
        set_st(cpu, 0, indefinite());
        push(cpu, indefinite());
    }
    true
}

/// FXTRACT.
pub(crate) fn fxtract<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if spread_fault(cpu) {
        return Ok(());
    }
    let mut env = env(cpu);
    let (exponent, significand) = split(&mut env, st(cpu, 0));
    spread(cpu, &env, exponent, significand);
    Ok(())
}

/// What a trigonometric function makes of an angle.
enum Angle {
    /// Too large: nothing happens but C2.
    TooLarge,
    /// A result that needs no series: a NaN.
    Done(Raw),
    /// Zero.
    Zero,
    /// Its sine and cosine.
    Both(Wide, Wide),
}

fn angle(env: &mut Env, a: Raw) -> Angle {
    if let Some(nan) = propagate_one(env, F80, a) {
        return Angle::Done(nan);
    }
    match a.class(F80) {
        Class::Zero => Angle::Zero,
        Class::Infinite => Angle::Done(invalid(env)),
        _ => {
            let x = a.finite(F80);
            if x.exp >= 63 {
                return Angle::TooLarge;
            }
            note_denormal(env, F80, &[a]);
            let (sine, cosine) = trans::sine_cosine(x);
            Angle::Both(sine, cosine)
        }
    }
}

fn circular<M: Memory>(cpu: &mut CpuState, op: &Op<M>, cosine: bool) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if is_empty(cpu, 0) {
        set_codes(cpu, C2, 0);
        if stack_fault(cpu, false) {
            set_st(cpu, 0, indefinite());
        }
        return Ok(());
    }
    let mut env = env(cpu);
    let a = st(cpu, 0);
    let result = match angle(&mut env, a) {
        Angle::TooLarge => {
            set_codes(cpu, C1 | C2, C2);
            return Ok(());
        }
        Angle::Done(value) => value,
        Angle::Zero if cosine => ONE,
        Angle::Zero => a,
        Angle::Both(_, value) if cosine => rounded(&mut env, value),
        Angle::Both(value, _) => rounded(&mut env, value),
    };
    set_codes(cpu, C2, 0);
    if conclude(cpu, &env) {
        set_st(cpu, 0, result);
    }
    Ok(())
}

/// FSIN.
pub(crate) fn fsin<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    circular(cpu, op, false)
}

/// FCOS.
pub(crate) fn fcos<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    circular(cpu, op, true)
}

fn circular_pair<M: Memory>(cpu: &mut CpuState, op: &Op<M>, tangent: bool) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if spread_fault(cpu) {
        set_codes(cpu, C2, 0);
        return Ok(());
    }
    let mut env = env(cpu);
    let a = st(cpu, 0);
    let (first, second) = match angle(&mut env, a) {
        Angle::TooLarge => {
            set_codes(cpu, C1 | C2, C2);
            return Ok(());
        }
        Angle::Done(value) => (value, value),
        Angle::Zero => (a, ONE),
        Angle::Both(sine, cosine) if tangent => (rounded(&mut env, sine.over(cosine)), ONE),
        Angle::Both(sine, cosine) => {
            let first = rounded(&mut env, sine);
            (first, rounded(&mut env, cosine))
        }
    };
    set_codes(cpu, C2, 0);
    spread(cpu, &env, first, second);
    Ok(())
}

/// FPTAN.
pub(crate) fn fptan<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    circular_pair(cpu, op, true)
}

/// FSINCOS.
pub(crate) fn fsincos<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    circular_pair(cpu, op, false)
}
