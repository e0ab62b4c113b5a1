//! f32 and f64 operations on bit patterns, as SSE uses them.
//!
//! Most numbers are normal, most results inexact, and after the first of those the precision flag is
//! already set: then the host's own addition gives the same bits and no new flag. Everything else takes the
//! exact path.

use super::arith;
use super::compare;
use super::convert;
use super::env::{Env, Rounding};
use super::fma;
use super::raw::{F32, F64, Raw};

/// What the two formats of SSE have in common.
pub trait Float: Copy {
    /// The format's description.
    const FORMAT: super::raw::Format;
    /// Takes apart.
    fn raw(self) -> Raw;
    /// Puts together.
    fn from_raw(raw: Raw) -> Self;
    /// Neither zero, denormal, infinite nor NaN; with `margin` also not the smallest exponent.
    fn is_normal(self, margin: bool) -> bool;
    /// The host's arithmetic in round-to-nearest.
    fn host(op: Host, a: Self, b: Self, c: Self) -> Self;
}

/// The operations that the host can do for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// a + b.
    Add,
    /// a - b.
    Sub,
    /// a * b.
    Mul,
    /// a / b.
    Div,
    /// a * b + c.
    Fma,
    /// The root of a.
    Sqrt,
}

macro_rules! float {
    ($bits:ty, $host:ty, $format:ident, $from:ident, $to:ident, $shift:literal, $max:literal) => {
        impl Float for $bits {
            const FORMAT: super::raw::Format = $format;
            fn raw(self) -> Raw {
                Raw::$from(self)
            }
            fn from_raw(raw: Raw) -> Self {
                raw.$to()
            }
            fn is_normal(self, margin: bool) -> bool {
                let exp = (self >> $shift) & $max;
                exp > <$bits>::from(margin) && exp < $max
            }
            fn host(op: Host, a: Self, b: Self, c: Self) -> Self {
                let (a, b) = (<$host>::from_bits(a), <$host>::from_bits(b));
                let result = match op {
                    Host::Add => a + b,
                    Host::Sub => a - b,
                    Host::Mul => a * b,
                    Host::Div => a / b,
                    Host::Fma => a.mul_add(b, <$host>::from_bits(c)),
                    Host::Sqrt => a.sqrt(),
                };
                result.to_bits()
            }
        }
    };
}

float!(u32, f32, F32, from_f32, to_f32, 23, 255);
float!(u64, f64, F64, from_f64, to_f64, 52, 2047);

/// Tries the host.
fn quick<T: Float>(env: &Env, op: Host, a: T, b: T, c: T) -> Option<T> {
    if !env.quick || !a.is_normal(false) || !b.is_normal(false) || !c.is_normal(false) {
        return None;
    }
    let result = T::host(op, a, b, c);
    result.is_normal(true).then_some(result)
}

/// a + b.
pub fn add<T: Float>(env: &mut Env, a: T, b: T) -> T {
    quick(env, Host::Add, a, b, a)
        .unwrap_or_else(|| T::from_raw(arith::add(env, T::FORMAT, T::FORMAT, a.raw(), b.raw())))
}

/// a - b.
pub fn sub<T: Float>(env: &mut Env, a: T, b: T) -> T {
    quick(env, Host::Sub, a, b, a)
        .unwrap_or_else(|| T::from_raw(arith::sub(env, T::FORMAT, T::FORMAT, a.raw(), b.raw())))
}

/// a * b.
pub fn mul<T: Float>(env: &mut Env, a: T, b: T) -> T {
    quick(env, Host::Mul, a, b, a)
        .unwrap_or_else(|| T::from_raw(arith::mul(env, T::FORMAT, T::FORMAT, a.raw(), b.raw())))
}

/// a / b.
pub fn div<T: Float>(env: &mut Env, a: T, b: T) -> T {
    quick(env, Host::Div, a, b, a)
        .unwrap_or_else(|| T::from_raw(arith::div(env, T::FORMAT, T::FORMAT, a.raw(), b.raw())))
}

/// The lesser, by SSE's rule.
pub fn min<T: Float>(env: &mut Env, a: T, b: T) -> T {
    T::from_raw(compare::min(env, T::FORMAT, a.raw(), b.raw()))
}

/// The greater, by SSE's rule.
pub fn max<T: Float>(env: &mut Env, a: T, b: T) -> T {
    T::from_raw(compare::max(env, T::FORMAT, a.raw(), b.raw()))
}

/// The square root.
pub fn sqrt<T: Float>(env: &mut Env, a: T) -> T {
    // The host's answer to a negative operand is a NaN, which is not normal.
    quick(env, Host::Sqrt, a, a, a)
        .unwrap_or_else(|| T::from_raw(arith::sqrt(env, T::FORMAT, T::FORMAT, a.raw())))
}

/// a * b + c, with the sign of product or addend turned as asked (not that of NaNs).
pub fn fma<T: Float>(
    env: &mut Env,
    a: T,
    b: T,
    c: T,
    (minus_product, minus_addend): (bool, bool),
) -> T {
    let turn = |x: Raw, on: bool| {
        if on && !x.is_nan(T::FORMAT) {
            x.negated()
        } else {
            x
        }
    };
    let (a, c) = if minus_product || minus_addend {
        (
            T::from_raw(turn(a.raw(), minus_product)),
            T::from_raw(turn(c.raw(), minus_addend)),
        )
    } else {
        (a, c)
    };
    quick(env, Host::Fma, a, b, c)
        .unwrap_or_else(|| T::from_raw(fma::fma(env, T::FORMAT, a.raw(), b.raw(), c.raw())))
}

/// A predicate of CMPPS.
pub fn predicate<T: Float>(env: &mut Env, a: T, b: T, number: u8) -> bool {
    compare::predicate(env, T::FORMAT, a.raw(), b.raw(), number)
}

/// To a signed integer of `width` bits; the smallest one when it does not fit.
pub fn to_signed<T: Float>(env: &mut Env, mode: Rounding, a: T, width: u32) -> i64 {
    convert::to_signed(env, mode, T::FORMAT, a.raw(), width).unwrap_or(-1 << (width - 1))
}

/// From a signed integer.
pub fn from_signed<T: Float>(env: &mut Env, value: i64) -> T {
    T::from_raw(convert::from_signed(env, T::FORMAT, value))
}

/// Between the two formats.
pub fn convert<A: Float, B: Float>(env: &mut Env, a: A) -> B {
    B::from_raw(convert::convert(env, A::FORMAT, B::FORMAT, a.raw()))
}

/// ROUNDPS: to an integer; bit 3 of the immediate leaves the precision flag alone.
pub fn round<T: Float>(env: &mut Env, a: T, immediate: u8) -> T {
    let mode = if immediate & 4 != 0 {
        env.rounding
    } else {
        Rounding::from_bits(u32::from(immediate))
    };
    let before = env.flags & super::env::flag::PRECISION;
    let result = convert::round_to_integer(env, mode, T::FORMAT, a.raw());
    if immediate & 8 != 0 {
        env.flags = (env.flags & !super::env::flag::PRECISION) | before;
    }
    T::from_raw(result)
}
