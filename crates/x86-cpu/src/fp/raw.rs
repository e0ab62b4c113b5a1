//! Numbers of any format, taken apart.
//!
//! ```text
//! f32   s eeeeeeee fffffff…            f64   s eeeeeeeeeee fffffff…
//! f80   s eeeeeeeeeeeeeee | i fffffff…  (the integer bit i is stored)
//! Raw   sign, exp (biased as stored), sig = i fffffff… 0000 (64 bits, i on the left)
//! ```

use super::env::{Env, NanRule, flag};

/// A binary format: how many significand bits, and the exponent of infinities and NaNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of the significand with its integer bit.
    pub bits: u32,
    /// The largest biased exponent.
    pub max: u16,
}

/// Half precision (F16C).
pub const F16: Format = Format { bits: 11, max: 31 };
/// Single precision.
pub const F32: Format = Format { bits: 24, max: 255 };
/// Double precision.
pub const F64: Format = Format {
    bits: 53,
    max: 2047,
};
/// Double extended precision.
pub const F80: Format = Format {
    bits: 64,
    max: 0x7fff,
};

impl Format {
    /// What is added to an exponent to store it.
    #[must_use]
    pub fn bias(self) -> i32 {
        i32::from(self.max >> 1)
    }
}

/// The integer bit of a significand.
pub const INTEGER: u64 = 1 << 63;
/// The bit that tells quiet NaNs from signalling ones.
pub const QUIET: u64 = 1 << 62;

/// A number as stored, in any format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw {
    /// The sign bit.
    pub sign: bool,
    /// The biased exponent.
    pub exp: u16,
    /// The significand, integer bit on the left.
    pub sig: u64,
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Zero.
    Zero,
    /// A finite number; denormal when the flag says so.
    Finite {
        /// Stored with the smallest exponent and no integer bit (or, in f80, with one).
        denormal: bool,
    },
    /// Infinity.
    Infinite,
    /// A quiet NaN.
    Quiet,
    /// A signalling NaN.
    Signalling,
    /// An f80 encoding that no processor since the 387 takes.
    Unsupported,
}

/// A finite number other than zero: sig / 2^63 * 2^exp with the integer bit set.
#[derive(Clone, Copy, Debug)]
pub struct Finite {
    /// The sign.
    pub sign: bool,
    /// The exponent, without bias.
    pub exp: i32,
    /// The significand, normalised.
    pub sig: u64,
}

impl Raw {
    /// The NaN that invalid operations give.
    #[must_use]
    pub fn indefinite(format: Format) -> Self {
        Self {
            sign: true,
            exp: format.max,
            sig: INTEGER | QUIET,
        }
    }

    /// Zero.
    #[must_use]
    pub fn zero(sign: bool) -> Self {
        Self {
            sign,
            exp: 0,
            sig: 0,
        }
    }

    /// Infinity.
    #[must_use]
    pub fn infinity(sign: bool, format: Format) -> Self {
        Self {
            sign,
            exp: format.max,
            sig: INTEGER,
        }
    }

    /// The number with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        Self {
            sign: !self.sign,
            ..self
        }
    }

    /// What the number is.
    #[must_use]
    pub fn class(self, format: Format) -> Class {
        if self.exp == 0 {
            return match self.sig {
                0 => Class::Zero,
                _ => Class::Finite { denormal: true },
            };
        }
        if self.sig & INTEGER == 0 {
            return Class::Unsupported;
        }
        if self.exp < format.max {
            return Class::Finite { denormal: false };
        }
        match (self.sig & (INTEGER - 1), self.sig & QUIET) {
            (0, _) => Class::Infinite,
            (_, 0) => Class::Signalling,
            _ => Class::Quiet,
        }
    }

    /// Whether the number is a NaN.
    #[must_use]
    pub fn is_nan(self, format: Format) -> bool {
        matches!(self.class(format), Class::Quiet | Class::Signalling)
    }

    /// The value of a number that is finite and not zero.
    #[must_use]
    pub fn finite(self, format: Format) -> Finite {
        let shift = self.sig.leading_zeros();
        Finite {
            sign: self.sign,
            exp: i32::from(self.exp.max(1)) - format.bias() - i32::try_from(shift).unwrap_or(0),
            sig: self.sig.checked_shl(shift).unwrap_or(0),
        }
    }

    /// The number, or zero when it is denormal and `env` says that those count as zero.
    #[must_use]
    pub fn flushed(self, env: &Env) -> Self {
        if env.daz && self.exp == 0 {
            Self::zero(self.sign)
        } else {
            self
        }
    }

    fn quieted(self) -> Self {
        Self {
            sig: self.sig | QUIET,
            ..self
        }
    }

    /// Takes an f16 apart.
    #[must_use]
    pub fn from_f16(bits: u16) -> Self {
        let exp = (bits >> 10) & 0x1f;
        let fraction = u64::from(bits & 0x3ff) << 53;
        Self::new(bits >> 15 != 0, exp, fraction)
    }

    /// Takes an f32 apart.
    #[must_use]
    pub fn from_f32(bits: u32) -> Self {
        let exp = ((bits >> 23) & 0xff) as u16;
        let fraction = u64::from(bits & 0x7f_ffff) << 40;
        Self::new(bits >> 31 != 0, exp, fraction)
    }

    /// Takes an f64 apart.
    #[must_use]
    pub fn from_f64(bits: u64) -> Self {
        let exp = ((bits >> 52) & 0x7ff) as u16;
        let fraction = (bits & 0xf_ffff_ffff_ffff) << 11;
        Self::new(bits >> 63 != 0, exp, fraction)
    }

    fn new(sign: bool, exp: u16, fraction: u64) -> Self {
        let integer = if exp == 0 { 0 } else { INTEGER };
        Self {
            sign,
            exp,
            sig: integer | fraction,
        }
    }

    /// Stores as f16.
    #[must_use]
    pub fn to_f16(self) -> u16 {
        let fraction = ((self.sig >> 53) & 0x3ff) as u16;
        (u16::from(self.sign) << 15) | (self.exp << 10) | fraction
    }

    /// Stores as f32.
    #[must_use]
    pub fn to_f32(self) -> u32 {
        let fraction = ((self.sig >> 40) & 0x7f_ffff) as u32;
        (u32::from(self.sign) << 31) | (u32::from(self.exp) << 23) | fraction
    }

    /// Stores as f64.
    #[must_use]
    pub fn to_f64(self) -> u64 {
        let fraction = (self.sig >> 11) & 0xf_ffff_ffff_ffff;
        (u64::from(self.sign) << 63) | (u64::from(self.exp) << 52) | fraction
    }

    /// Takes the 80 bits of an x87 register apart (the low 80 of `bits`).
    #[must_use]
    pub fn from_f80(bits: u128) -> Self {
        Self {
            sign: (bits >> 79) & 1 != 0,
            exp: ((bits >> 64) & 0x7fff) as u16,
            sig: (bits & 0xffff_ffff_ffff_ffff) as u64,
        }
    }

    /// Stores as the 80 bits of an x87 register.
    #[must_use]
    pub fn to_f80(self) -> u128 {
        (u128::from(self.sign) << 79) | (u128::from(self.exp) << 64) | u128::from(self.sig)
    }
}

/// The result when one of the operands is a NaN or no number at all; `None` when both are numbers.
pub fn propagate(env: &mut Env, format: Format, a: Raw, b: Raw) -> Option<Raw> {
    let (ca, cb) = (a.class(format), b.class(format));
    if ca == Class::Unsupported || cb == Class::Unsupported {
        env.raise(flag::INVALID);
        return Some(Raw::indefinite(format));
    }
    let nan = |class| matches!(class, Class::Quiet | Class::Signalling);
    if !nan(ca) && !nan(cb) {
        return None;
    }
    if ca == Class::Signalling || cb == Class::Signalling {
        env.raise(flag::INVALID);
    }
    if !nan(cb) || (nan(ca) && env.nan_rule == NanRule::First) {
        return Some(a.quieted());
    }
    if !nan(ca) {
        return Some(b.quieted());
    }
    Some(larger(a, ca, b, cb).quieted())
}

fn larger(a: Raw, ca: Class, b: Raw, cb: Class) -> Raw {
    match (ca, cb) {
        (Class::Signalling, Class::Quiet) => b,
        (Class::Quiet, Class::Signalling) => a,
        _ if a.sig != b.sig => {
            if a.sig > b.sig {
                a
            } else {
                b
            }
        }
        _ if a.sign => b,
        _ => a,
    }
}

/// As [`propagate`], for one operand.
pub fn propagate_one(env: &mut Env, format: Format, a: Raw) -> Option<Raw> {
    propagate(env, format, a, Raw::zero(false))
}

/// Records the denormal exception when one of the operands is denormal.
pub fn note_denormal(env: &mut Env, format: Format, operands: &[Raw]) {
    let denormal = Class::Finite { denormal: true };
    if env.denormal_operand || operands.iter().any(|x| x.class(format) == denormal) {
        env.raise(flag::DENORMAL);
    }
}
