//! Conversions between formats, to and from integers, and rounding to an integer.

use super::env::{Env, Rounding, flag};
use super::raw::{Class, F80, Format, INTEGER, QUIET, Raw, note_denormal};
use super::round::{Exact, round};

/// Converts to another format; a denormal operand is noted.
pub fn convert(env: &mut Env, from: Format, to: Format, a: Raw) -> Raw {
    let a = a.flushed(env);
    if matches!(a.class(from), Class::Finite { .. }) {
        note_denormal(env, from, &[a]);
    }
    convert_quietly(env, from, to, a)
}

/// Converts to another format without looking for denormal operands (x87 stores).
pub fn convert_quietly(env: &mut Env, from: Format, to: Format, a: Raw) -> Raw {
    match a.class(from) {
        Class::Zero => Raw::zero(a.sign),
        Class::Infinite => Raw::infinity(a.sign, to),
        class @ (Class::Quiet | Class::Signalling) => {
            if class == Class::Signalling {
                env.raise(flag::INVALID);
            }
            Raw {
                sign: a.sign,
                exp: to.max,
                sig: (a.sig | QUIET) & (u64::MAX << (64 - to.bits)),
            }
        }
        Class::Unsupported => {
            env.raise(flag::INVALID);
            Raw::indefinite(to)
        }
        Class::Finite { .. } => {
            let x = a.finite(from);
            let exact = Exact {
                sign: x.sign,
                exp: x.exp,
                sig: u128::from(x.sig) << 64,
            };
            round(env, to, exact)
        }
    }
}

/// The integer that a finite number rounds to, as sign and magnitude, with what was lost; `None` when the
/// magnitude needs more than 64 bits.
fn rounded_magnitude(mode: Rounding, format: Format, a: Raw) -> Option<(u64, bool, bool)> {
    let x = a.finite(format);
    if x.exp > 63 {
        return None;
    }
    // The integer part on the left of the point between the two halves.
    let fixed = if x.exp >= 0 {
        u128::from(x.sig) << (x.exp + 1)
    } else {
        let by = x.exp.unsigned_abs() - 1;
        super::round::shift_right_sticky(u128::from(x.sig), by)
    };
    let whole = fixed >> 64;
    let lost = fixed << 64;
    let half = 1_u128 << 127;
    let up = match mode {
        Rounding::Nearest => lost > half || (lost == half && whole & 1 != 0),
        Rounding::Down => a.sign && lost != 0,
        Rounding::Up => !a.sign && lost != 0,
        Rounding::Zero => false,
    };
    let whole = u64::try_from(whole + u128::from(up)).ok()?;
    Some((whole, lost != 0, up))
}

/// Converts to a signed integer of `width` bits; `None` (and the invalid flag) when it does not fit.
pub fn to_signed(env: &mut Env, mode: Rounding, format: Format, a: Raw, width: u32) -> Option<i64> {
    let a = a.flushed(env);
    let (magnitude, inexact, up) = match a.class(format) {
        Class::Zero => return Some(0),
        Class::Finite { .. } => {
            rounded_magnitude(mode, format, a).unwrap_or((u64::MAX, false, false))
        }
        _ => (u64::MAX, false, false),
    };
    let limit = (1_u64 << (width - 1)) - u64::from(!a.sign);
    if magnitude > limit {
        env.raise(flag::INVALID);
        return None;
    }
    env.rounded_up = up;
    if inexact {
        env.raise(flag::PRECISION);
    }
    let value = magnitude.cast_signed();
    Some(if a.sign { value.wrapping_neg() } else { value })
}

/// Converts from a signed integer.
pub fn from_signed(env: &mut Env, format: Format, value: i64) -> Raw {
    if value == 0 {
        return Raw::zero(false);
    }
    let exact = Exact {
        sign: value < 0,
        exp: 63,
        sig: u128::from(value.unsigned_abs()) << 64,
    };
    round(env, format, exact)
}

/// Rounds to an integer, in the same format. The caller decides whether inexact and denormal count.
pub fn round_to_integer(env: &mut Env, mode: Rounding, format: Format, a: Raw) -> Raw {
    let a = a.flushed(env);
    match a.class(format) {
        Class::Finite { .. } => (),
        Class::Unsupported => {
            env.raise(flag::INVALID);
            return Raw::indefinite(format);
        }
        Class::Signalling => {
            env.raise(flag::INVALID);
            return Raw {
                sig: a.sig | QUIET,
                ..a
            };
        }
        _ => return a,
    }
    if a.finite(format).exp > 62 {
        return a;
    }
    let Some((magnitude, inexact, up)) = rounded_magnitude(mode, format, a) else {
        return a;
    };
    env.rounded_up = up;
    if inexact {
        env.raise(flag::PRECISION);
    }
    from_magnitude(a.sign, magnitude, format)
}

/// An integer as a number of `format`, when it is known to fit.
fn from_magnitude(sign: bool, magnitude: u64, format: Format) -> Raw {
    if magnitude == 0 {
        return Raw::zero(sign);
    }
    let shift = magnitude.leading_zeros();
    let exp = format.bias() + 63 - i32::try_from(shift).unwrap_or(0);
    Raw {
        sign,
        exp: u16::try_from(exp).unwrap_or(0),
        sig: magnitude << shift,
    }
}

/// An f80 from an integer, which is always exact.
#[must_use]
pub fn f80_from_signed(value: i64) -> Raw {
    from_magnitude(value < 0, value.unsigned_abs(), F80)
}

/// FXTRACT's exponent and significand of a finite number other than zero.
#[must_use]
pub fn extract(a: Raw) -> (Raw, Raw) {
    let x = a.finite(F80);
    let significand = Raw {
        sign: a.sign,
        exp: F80.max >> 1,
        sig: x.sig | INTEGER,
    };
    (f80_from_signed(i64::from(x.exp)), significand)
}
