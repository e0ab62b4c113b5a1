//! Floating point with 128 bits of significand, cut, for the inside of the transcendental functions: their
//! results are rounded to 64 bits, so that the error is a little more than half a last bit.

use super::raw::Finite;
use super::round::{Exact, shift_right_sticky};

/// A number, normalised (bit 127 of the significand set) unless it is zero.
#[derive(Clone, Copy, Debug)]
pub struct Wide(pub Exact);

impl Wide {
    /// Zero.
    pub const ZERO: Self = Self::constant(0, 0);
    /// One.
    pub const ONE: Self = Self::constant(0, 1 << 127);
    /// The ratio of a circle's circumference to its diameter.
    pub const PI: Self = Self::constant(1, PI_SIG);
    /// Half of [`Wide::PI`].
    pub const HALF_PI: Self = Self::constant(0, PI_SIG);
    /// The natural logarithm of two.
    pub const LN_2: Self = Self::constant(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);

    /// A positive constant.
    #[must_use]
    pub const fn constant(exp: i32, sig: u128) -> Self {
        Self(Exact {
            sign: false,
            exp,
            sig,
        })
    }

    /// From a number with 64 bits.
    #[must_use]
    pub fn from_finite(x: Finite) -> Self {
        Self(Exact {
            sign: x.sign,
            exp: x.exp,
            sig: u128::from(x.sig) << 64,
        })
    }

    /// From an integer.
    #[must_use]
    pub fn from_integer(value: i32) -> Self {
        normalised(value < 0, 127, value.unsigned_abs().into())
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.sig == 0
    }

    /// The number with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        self.with_sign(!self.0.sign)
    }

    /// The number with this sign.
    #[must_use]
    pub fn with_sign(self, sign: bool) -> Self {
        Self(Exact { sign, ..self.0 })
    }

    /// The number times a power of two.
    #[must_use]
    pub fn scaled(self, by: i32) -> Self {
        Self(Exact {
            exp: self.0.exp + by,
            ..self.0
        })
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        if a.sig == 0 {
            return other;
        }
        if b.sig == 0 {
            return self;
        }
        let (big, small) = if (a.exp, a.sig) >= (b.exp, b.sig) {
            (a, b)
        } else {
            (b, a)
        };
        // One bit of room for the carry.
        let top = big.sig >> 1;
        let aligned = shift_right_sticky(small.sig >> 1, big.exp.abs_diff(small.exp));
        let sig = if big.sign == small.sign {
            top + aligned
        } else {
            top.wrapping_sub(aligned)
        };
        normalised(big.sign, big.exp + 1, sig)
    }

    /// The difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    /// The product.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        let sign = self.0.sign != other.0.sign;
        let sig = high_product(self.0.sig, other.0.sig);
        normalised(sign, self.0.exp + other.0.exp + 1, sig)
    }

    /// The quotient; the divisor is not zero.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        let (mut rest, divisor) = (self.0.sig >> 1, other.0.sig >> 1);
        let mut quotient = 0;
        for _ in 0..128 {
            quotient <<= 1;
            if rest >= divisor {
                rest -= divisor;
                quotient |= 1;
            }
            rest <<= 1;
        }
        let sign = self.0.sign != other.0.sign;
        normalised(sign, self.0.exp - other.0.exp, quotient)
    }

    /// The quotient by a small integer.
    #[must_use]
    pub fn over_integer(self, divisor: u32) -> Self {
        let divisor = u128::from(divisor.max(1));
        let high = self.0.sig / divisor;
        let rest = self.0.sig % divisor;
        let shift = high.leading_zeros().min(32);
        let low = (rest << shift) / divisor;
        let sig = high.checked_shl(shift).unwrap_or(0) | low;
        normalised(
            self.0.sign,
            self.0.exp - i32::try_from(shift).unwrap_or(0),
            sig,
        )
    }

    /// Whether the magnitude is below 2^exp.
    #[must_use]
    pub fn is_below(self, exp: i32) -> bool {
        self.0.sig == 0 || self.0.exp < exp
    }
}

/// The significand of pi.
pub const PI_SIG: u128 = 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1;

fn normalised(sign: bool, exp: i32, sig: u128) -> Wide {
    let shift = sig.leading_zeros();
    Wide(Exact {
        sign,
        exp: exp - i32::try_from(shift).unwrap_or(0),
        sig: sig.checked_shl(shift).unwrap_or(0),
    })
}

/// The upper half of the product.
fn high_product(a: u128, b: u128) -> u128 {
    let low = u128::from(u64::MAX);
    let (ah, al, bh, bl) = (a >> 64, a & low, b >> 64, b & low);
    let middle = ah * bl + ((al * bl) >> 64);
    let other = al * bh + (middle & low);
    ah * bh + (middle >> 64) + (other >> 64)
}
