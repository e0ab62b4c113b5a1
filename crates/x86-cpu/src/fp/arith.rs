//! Addition, multiplication, division and square root.
//!
//! `operand` is the format of the operands, `result` that of the result: on the x87 the first is always
//! f80 and the second has the precision that the control word names; SSE passes the same twice.

use super::env::{Env, Rounding, flag};
use super::raw::{Class, F80, Finite, Format, Raw, note_denormal, propagate, propagate_one};
use super::round::{Exact, round, shift_right_sticky};

/// The format of x87 results under the precision control field of `control_word`.
#[must_use]
pub fn x87_precision(control_word: u16) -> Format {
    let bits = match (control_word >> 8) & 3 {
        0 => 24,
        2 => 53,
        _ => 64,
    };
    Format { bits, max: F80.max }
}

fn invalid(env: &mut Env, format: Format) -> Raw {
    env.raise(flag::INVALID);
    Raw::indefinite(format)
}

/// `a + b`.
pub fn add(env: &mut Env, operand: Format, result: Format, a: Raw, b: Raw) -> Raw {
    add_or_sub(env, operand, result, (a, b), false)
}

/// `a - b`.
pub fn sub(env: &mut Env, operand: Format, result: Format, a: Raw, b: Raw) -> Raw {
    add_or_sub(env, operand, result, (a, b), true)
}

fn add_or_sub(
    env: &mut Env,
    operand: Format,
    result: Format,
    (a, b): (Raw, Raw),
    sub: bool,
) -> Raw {
    let (a, b) = (a.flushed(env), b.flushed(env));
    if let Some(nan) = propagate(env, operand, a, b) {
        return nan;
    }
    let b = if sub { b.negated() } else { b };
    let (ca, cb) = (a.class(operand), b.class(operand));
    if ca == Class::Infinite && cb == Class::Infinite && a.sign != b.sign {
        return invalid(env, result);
    }
    note_denormal(env, operand, &[a, b]);
    match (ca, cb) {
        (Class::Infinite, _) => Raw::infinity(a.sign, result),
        (_, Class::Infinite) => Raw::infinity(b.sign, result),
        (Class::Zero, Class::Zero) => Raw::zero(sum_sign(env, a.sign, b.sign)),
        (Class::Zero, _) => round_finite(env, result, b.finite(operand)),
        (_, Class::Zero) => round_finite(env, result, a.finite(operand)),
        _ => {
            let (a, b) = (a.finite(operand), b.finite(operand));
            match sum(wide(a), wide(b)) {
                Some(exact) => round(env, result, exact),
                None => Raw::zero(env.rounding == Rounding::Down),
            }
        }
    }
}

/// The sign of a sum of two zeros.
fn sum_sign(env: &Env, a: bool, b: bool) -> bool {
    if a == b {
        a
    } else {
        env.rounding == Rounding::Down
    }
}

/// A number with room for a carry.
pub(super) fn wide(x: Finite) -> Exact {
    Exact {
        sign: x.sign,
        exp: x.exp + 1,
        sig: u128::from(x.sig) << 63,
    }
}

/// The sum of two numbers whose top bits are clear and whose exponents may differ by anything; `None`
/// when it is zero. Bits are only lost (into the sticky bit) where the result keeps more than 64 others.
pub(super) fn sum(a: Exact, b: Exact) -> Option<Exact> {
    let (big, small) = if (a.exp, a.sig) >= (b.exp, b.sig) {
        (a, b)
    } else {
        (b, a)
    };
    let by = big.exp.abs_diff(small.exp);
    let aligned = shift_right_sticky(small.sig, by);
    let sig = if big.sign == small.sign {
        big.sig + aligned
    } else {
        big.sig.wrapping_sub(aligned)
    };
    (sig != 0).then_some(Exact {
        sign: big.sign,
        exp: big.exp,
        sig,
    })
}

fn round_finite(env: &mut Env, format: Format, x: Finite) -> Raw {
    round(
        env,
        format,
        Exact {
            sign: x.sign,
            exp: x.exp,
            sig: u128::from(x.sig) << 64,
        },
    )
}

/// `a * b`.
pub fn mul(env: &mut Env, operand: Format, result: Format, a: Raw, b: Raw) -> Raw {
    let (a, b) = (a.flushed(env), b.flushed(env));
    if let Some(nan) = propagate(env, operand, a, b) {
        return nan;
    }
    let sign = a.sign != b.sign;
    let (ca, cb) = (a.class(operand), b.class(operand));
    if matches!(
        (ca, cb),
        (Class::Infinite, Class::Zero) | (Class::Zero, Class::Infinite)
    ) {
        return invalid(env, result);
    }
    note_denormal(env, operand, &[a, b]);
    match (ca, cb) {
        (Class::Infinite, _) | (_, Class::Infinite) => Raw::infinity(sign, result),
        (Class::Zero, _) | (_, Class::Zero) => Raw::zero(sign),
        _ => {
            let exact = product(a.finite(operand), b.finite(operand));
            round(env, result, exact)
        }
    }
}

/// The exact product.
pub(super) fn product(a: Finite, b: Finite) -> Exact {
    Exact {
        sign: a.sign != b.sign,
        exp: a.exp + b.exp + 1,
        sig: u128::from(a.sig) * u128::from(b.sig),
    }
}

/// `a / b`.
pub fn div(env: &mut Env, operand: Format, result: Format, a: Raw, b: Raw) -> Raw {
    let (a, b) = (a.flushed(env), b.flushed(env));
    if let Some(nan) = propagate(env, operand, a, b) {
        return nan;
    }
    let sign = a.sign != b.sign;
    let (ca, cb) = (a.class(operand), b.class(operand));
    match (ca, cb) {
        (Class::Infinite, Class::Infinite) | (Class::Zero, Class::Zero) => {
            return invalid(env, result);
        }
        (Class::Finite { .. }, Class::Zero) => {
            env.raise(flag::ZERO_DIVIDE);
            return Raw::infinity(sign, result);
        }
        _ => note_denormal(env, operand, &[a, b]),
    }
    match (ca, cb) {
        (Class::Infinite, _) => Raw::infinity(sign, result),
        (_, Class::Infinite) | (Class::Zero, _) => Raw::zero(sign),
        _ => {
            let exact = quotient(a.finite(operand), b.finite(operand));
            round(env, result, exact)
        }
    }
}

/// The quotient to 95 bits or more, the rest sticky.
pub(super) fn quotient(a: Finite, b: Finite) -> Exact {
    let divisor = u128::from(b.sig);
    let dividend = u128::from(a.sig) << 63;
    let (high, rest) = (dividend / divisor, dividend % divisor);
    let (low, rest) = ((rest << 32) / divisor, (rest << 32) % divisor);
    let sig = (high << 32) | low;
    Exact {
        sign: a.sign != b.sign,
        exp: a.exp - b.exp + 32,
        sig: sig | u128::from(rest != 0),
    }
}

/// The square root.
pub fn sqrt(env: &mut Env, operand: Format, result: Format, a: Raw) -> Raw {
    let a = a.flushed(env);
    if let Some(nan) = propagate_one(env, operand, a) {
        return nan;
    }
    match a.class(operand) {
        Class::Zero => return Raw::zero(a.sign),
        _ if a.sign => return invalid(env, result),
        Class::Infinite => return Raw::infinity(false, result),
        _ => note_denormal(env, operand, &[a]),
    }
    let a = a.finite(operand);
    // sig * 2^63 or sig * 2^64, so that the exponent of the radicand is even.
    let odd = a.exp & 1;
    let radicand = u128::from(a.sig) << (63 + odd);
    let root = radicand.isqrt();
    let rest = radicand - root * root;
    let sig = (root << 2) | (u128::from(rest > root) << 1) | u128::from(rest != 0);
    let exact = Exact {
        sign: false,
        exp: (a.exp - odd) / 2 + 127 - 65,
        sig,
    };
    round(env, result, exact)
}
