//! Rounding an exact result to a format, with everything that can happen on the way: tiny results,
//! overflow, the x87's wrapped exponents when those two are not masked.

use super::env::{Env, NanRule, Rounding, flag};
use super::raw::{Format, INTEGER, Raw};

/// A finite result before rounding: sig / 2^127 * 2^exp. The last bit is sticky: it stands for
/// everything below it.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    /// The sign.
    pub sign: bool,
    /// The exponent, without bias.
    pub exp: i32,
    /// The significand; need not be normalised, is not zero.
    pub sig: u128,
}

/// What the x87 adds to the exponent of an unmasked underflow (takes from that of an overflow).
const WRAP: i32 = 24576;

/// Shifts right; what falls off stays visible in the last bit.
#[must_use]
pub fn shift_right_sticky(value: u128, by: u32) -> u128 {
    match by {
        0 => value,
        1..=127 => (value >> by) | u128::from(value << (128 - by) != 0),
        _ => u128::from(value != 0),
    }
}

/// One rounding step to `bits` bits: the kept bits, whether anything was lost, whether it went up.
fn step(mode: Rounding, sign: bool, sig: u128, bits: u32) -> (u128, bool, bool) {
    let keep = sig >> (128 - bits);
    let lost = sig << bits;
    let half = 1_u128 << 127;
    let up = match mode {
        Rounding::Nearest => lost > half || (lost == half && keep & 1 != 0),
        Rounding::Down => sign && lost != 0,
        Rounding::Up => !sign && lost != 0,
        Rounding::Zero => false,
    };
    (keep + u128::from(up), lost != 0, up)
}

/// Rounds `exact` to `format`, with the exponent range of `range` (they differ under the x87's precision
/// control), records flags and gives the masked response, or the wrapped one that x87 registers get.
pub fn round(env: &mut Env, format: Format, exact: Exact) -> Raw {
    let shift = exact.sig.leading_zeros();
    let sig = exact.sig.checked_shl(shift).unwrap_or(0);
    let biased = exact.exp - i32::try_from(shift).unwrap_or(0) + format.bias();
    if biased < 1 {
        return round_tiny(env, format, exact.sign, biased, sig);
    }
    round_normal(env, format, exact.sign, biased, sig)
}

fn round_normal(env: &mut Env, format: Format, sign: bool, biased: i32, sig: u128) -> Raw {
    let (mut keep, inexact, up) = step(env.rounding, sign, sig, format.bits);
    let mut biased = biased;
    if keep >> format.bits != 0 {
        keep >>= 1;
        biased += 1;
    }
    env.rounded_up = up;
    if biased >= i32::from(format.max) {
        env.raise(flag::OVERFLOW);
        let beyond = biased - WRAP >= i32::from(format.max);
        let masked = env.masks & flag::OVERFLOW != 0;
        if masked || env.nan_rule == NanRule::First || beyond {
            if !masked && beyond && env.nan_rule == NanRule::Larger {
                // Only FSCALE gets here, with a result that even the wrap does not bring back.
                env.raise(flag::PRECISION);
                env.rounded_up = true;
                return Raw::infinity(sign, format);
            }
            if !masked && !inexact {
                return overflowed(env, format, sign);
            }
            env.raise(flag::PRECISION);
            return overflowed(env, format, sign);
        }
        biased -= WRAP;
    }
    if inexact {
        env.raise(flag::PRECISION);
    }
    Raw {
        sign,
        exp: clamp_exponent(biased, format),
        sig: left(keep, format.bits),
    }
}

/// The masked response to an overflow.
fn overflowed(env: &mut Env, format: Format, sign: bool) -> Raw {
    let infinite = match env.rounding {
        Rounding::Nearest => true,
        Rounding::Down => sign,
        Rounding::Up => !sign,
        Rounding::Zero => false,
    };
    env.rounded_up = infinite;
    if infinite {
        return Raw::infinity(sign, format);
    }
    Raw {
        sign,
        exp: format.max - 1,
        sig: u64::MAX << (64 - format.bits),
    }
}

fn round_tiny(env: &mut Env, format: Format, sign: bool, biased: i32, sig: u128) -> Raw {
    // Tininess is found after rounding: a number just below the smallest normal one may round up to it.
    let (unbounded, lost, up) = step(env.rounding, sign, sig, format.bits);
    let reaches_normal = biased == 0 && unbounded >> format.bits != 0;
    if !reaches_normal {
        if env.masks & flag::UNDERFLOW == 0 {
            env.raise(flag::UNDERFLOW);
            // Whether it is inexact is asked of the result with the unbounded exponent.
            if env.nan_rule == NanRule::Larger && biased + WRAP <= 0 {
                // Only FSCALE gets here, with a result that even the wrap does not bring back.
                env.raise(flag::PRECISION);
                return Raw::zero(sign);
            } else {
                env.rounded_up = up;
                return wrapped_tiny(env, format, sign, biased, (unbounded, lost));
            }
        } else if env.ftz {
            env.raise(flag::UNDERFLOW | flag::PRECISION);
            return Raw::zero(sign);
        }
    }
    let by = u32::try_from(1 - biased).unwrap_or(u32::MAX);
    let (keep, inexact, up) = step(env.rounding, sign, shift_right_sticky(sig, by), format.bits);
    env.rounded_up = up;
    if inexact {
        env.raise(flag::PRECISION);
        if !reaches_normal {
            env.raise(flag::UNDERFLOW);
        }
    }
    let sig = left(keep, format.bits);
    Raw {
        sign,
        exp: u16::from(sig & INTEGER != 0),
        sig,
    }
}

fn wrapped_tiny(
    env: &mut Env,
    format: Format,
    sign: bool,
    biased: i32,
    (keep, inexact): (u128, bool),
) -> Raw {
    let carry = keep >> format.bits != 0;
    if inexact {
        env.raise(flag::PRECISION);
    }
    Raw {
        sign,
        exp: clamp_exponent(biased + WRAP + i32::from(carry), format),
        sig: left(if carry { keep >> 1 } else { keep }, format.bits),
    }
}

/// Moves `bits` bits to the left end of a significand.
fn left(keep: u128, bits: u32) -> u64 {
    ((keep << (64 - bits)) & 0xffff_ffff_ffff_ffff) as u64
}

/// Exponents that even the wrap does not bring into range exist only for FSCALE, which looks first.
fn clamp_exponent(biased: i32, format: Format) -> u16 {
    u16::try_from(biased.clamp(0, i32::from(format.max))).unwrap_or(0)
}

/// Rounds a number that is already in f80's range to the precision of `format` (an identity for F80).
pub fn round_raw(env: &mut Env, from: Format, to: Format, value: Raw) -> Raw {
    let finite = value.finite(from);
    round(
        env,
        to,
        Exact {
            sign: finite.sign,
            exp: finite.exp,
            sig: u128::from(finite.sig) << 64,
        },
    )
}
