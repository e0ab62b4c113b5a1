//! Partial remainders and scaling: FPREM, FPREM1, FSCALE.

use super::convert::{extract, to_signed};
use super::env::{Env, Rounding, flag};
use super::raw::{Class, F80, Format, Raw, note_denormal, propagate};
use super::round::{Exact, round};

/// What FPREM and FPREM1 leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The new ST(0).
    pub value: Raw,
    /// How far it is.
    pub progress: Progress,
}

/// How far a reduction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is no remainder: a NaN, an invalid operand.
    Refused,
    /// Only part of the quotient was taken off.
    Partial,
    /// The remainder, and the low bits of the quotient.
    Done(u64),
}

/// How the quotient is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Toward zero (FPREM).
    Truncated,
    /// To nearest (FPREM1, IEEE's remainder).
    Nearest,
}

/// The remainder of `a / b`, or one step towards it when their exponents differ by 64 or more.
pub fn remainder(env: &mut Env, a: Raw, b: Raw, kind: Kind) -> Remainder {
    let refused = |value| Remainder {
        value,
        progress: Progress::Refused,
    };
    let done = |value| Remainder {
        value,
        progress: Progress::Done(0),
    };
    if let Some(nan) = propagate(env, F80, a, b) {
        return refused(nan);
    }
    let (ca, cb) = (a.class(F80), b.class(F80));
    if ca == Class::Infinite || cb == Class::Zero {
        env.raise(flag::INVALID);
        return refused(Raw::indefinite(F80));
    }
    note_denormal(env, F80, &[a, b]);
    if ca == Class::Zero {
        return done(a);
    }
    if cb == Class::Infinite {
        return done(exactly(
            env,
            a.sign,
            a.finite(F80).exp,
            u128::from(a.finite(F80).sig) << 64,
        ));
    }
    reduce(env, a, b, kind)
}

fn reduce(env: &mut Env, a: Raw, b: Raw, kind: Kind) -> Remainder {
    let (x, y) = (a.finite(F80), b.finite(F80));
    let difference = x.exp - y.exp;
    let divisor = u128::from(y.sig);
    let partial = difference >= 64;
    // At least 32 bits of the quotient at a time, so that what is left is a multiple of 32.
    let bits = if partial {
        (difference & 31) | 32
    } else {
        difference
    };
    if bits < -1 || (bits == -1 && kind == Kind::Truncated) {
        let value = exactly(env, a.sign, x.exp, u128::from(x.sig) << 64);
        return Remainder {
            value,
            progress: Progress::Done(0),
        };
    }
    if bits == -1 {
        // |a| < |b|, with a quotient that may round to one: compare 2|a| with |b|.
        let up = u128::from(x.sig) > divisor;
        let value = if up {
            let left = (divisor << 1) - u128::from(x.sig);
            exactly(env, !a.sign, x.exp, left << 64)
        } else {
            exactly(env, a.sign, x.exp, u128::from(x.sig) << 64)
        };
        return Remainder {
            value,
            progress: Progress::Done(u64::from(up)),
        };
    }
    let by = bits.unsigned_abs();
    let dividend = u128::from(x.sig) << by.min(63);
    let (mut quotient, mut rest) = (dividend / divisor, dividend % divisor);
    let mut sign = a.sign;
    if kind == Kind::Nearest && !partial {
        let twice = rest << 1;
        if twice > divisor || (twice == divisor && quotient & 1 != 0) {
            quotient += 1;
            rest = divisor - rest;
            sign = !sign;
        }
    }
    let exp = x.exp - bits;
    let value = if rest == 0 {
        Raw::zero(a.sign)
    } else {
        exactly(env, sign, exp, rest << 64)
    };
    Remainder {
        value,
        progress: if partial {
            Progress::Partial
        } else {
            Progress::Done((quotient & 0xffff_ffff_ffff_ffff) as u64)
        },
    }
}

/// A result that is known to need no rounding, but may be tiny.
fn exactly(env: &mut Env, sign: bool, exp: i32, sig: u128) -> Raw {
    round(env, F80, Exact { sign, exp, sig })
}

/// FSCALE: `a * 2^trunc(b)`.
pub fn scale(env: &mut Env, result: Format, a: Raw, b: Raw) -> Raw {
    if let Some(nan) = propagate(env, F80, a, b) {
        return nan;
    }
    let (ca, cb) = (a.class(F80), b.class(F80));
    if cb == Class::Infinite {
        let undefined = (ca == Class::Infinite && b.sign) || (ca == Class::Zero && !b.sign);
        if undefined {
            env.raise(flag::INVALID);
            return Raw::indefinite(F80);
        }
        note_denormal(env, F80, &[a]);
        return if b.sign {
            Raw::zero(a.sign)
        } else {
            Raw::infinity(a.sign, F80)
        };
    }
    note_denormal(env, F80, &[a, b]);
    if ca == Class::Zero || ca == Class::Infinite {
        return a;
    }
    let mut silent = *env;
    let limit = if b.sign { -0x10000 } else { 0x10000 };
    let by = to_signed(&mut silent, Rounding::Zero, F80, b, 32).unwrap_or(limit);
    let by = i32::try_from(by.clamp(-0x10000, 0x10000)).unwrap_or(0);
    let x = a.finite(F80);
    let exact = Exact {
        sign: a.sign,
        exp: x.exp + by,
        sig: u128::from(x.sig) << 64,
    };
    round(env, result, exact)
}

/// FXTRACT: exponent and significand.
pub fn split(env: &mut Env, a: Raw) -> (Raw, Raw) {
    if let Some(nan) = propagate(env, F80, a, Raw::zero(false)) {
        return (nan, nan);
    }
    match a.class(F80) {
        Class::Zero => {
            env.raise(flag::ZERO_DIVIDE);
            (Raw::infinity(true, F80), a)
        }
        Class::Infinite => (Raw::infinity(false, F80), a),
        _ => {
            note_denormal(env, F80, &[a]);
            extract(a)
        }
    }
}
