//! The transcendental functions of the x87, on finite numbers other than zero. Series in 128 bits,
//! rounded once: within a little more than half a last bit, which is at least as good as any hardware.

use super::raw::Finite;
use super::wide::{PI_SIG, Wide};

/// What is added up until it no longer counts.
const NEGLIGIBLE: i32 = -130;

/// Terms of any series here, more than enough.
const TERMS: u32 = 80;

/// An angle less a multiple of a right angle: at most half a right angle is left.
#[derive(Clone, Copy, Debug)]
pub struct Reduced {
    /// What is left.
    pub rest: Wide,
    /// The multiple, modulo four.
    pub quadrant: u8,
}

/// Takes whole right angles off an angle below 2^63.
#[must_use]
pub fn reduce(x: Finite) -> Reduced {
    if x.exp < -1 {
        return Reduced {
            rest: Wide::from_finite(x),
            quadrant: 0,
        };
    }
    // Long division of sig * 2^(exp - 63) by the right angle (RIGHT / 2^126), bit by bit.
    const RIGHT: u128 = (PI_SIG & (u128::MAX << 62)) >> 1;
    let (mut rest, mut quotient) = (u128::from(x.sig) << 62, 0_u64);
    for step in 0..=u32::try_from(x.exp + 1).unwrap_or(0) {
        if step > 0 {
            rest <<= 1;
        }
        quotient <<= 1;
        if rest >= RIGHT {
            rest -= RIGHT;
            quotient |= 1;
        }
    }
    let mut sign = x.sign;
    if rest > RIGHT / 2 {
        rest = RIGHT - rest;
        quotient += 1;
        sign = !sign;
    }
    let quadrant = (quotient & 3) as u8;
    let shift = rest.leading_zeros();
    let rest = Wide::constant(
        1 - i32::try_from(shift).unwrap_or(0),
        rest.checked_shl(shift).unwrap_or(0),
    );
    Reduced {
        rest: rest.with_sign(sign),
        quadrant: if x.sign {
            quadrant.wrapping_neg() & 3
        } else {
            quadrant
        },
    }
}

/// The sum of `first` and what follows it, each term made from the one before.
fn series(first: Wide, mut next: impl FnMut(Wide, u32) -> (Wide, Wide)) -> Wide {
    let (mut sum, mut power) = (first, first);
    let limit = first.0.exp + NEGLIGIBLE;
    for n in 1..TERMS {
        let (term, following) = next(power, n);
        // The first negligible term still says on which side of the sum the truth lies.
        sum = sum.plus(term);
        if term.is_below(limit) {
            break;
        }
        power = following;
    }
    sum
}

/// sin of what [`reduce`] left.
#[must_use]
pub fn sine(x: Wide) -> Wide {
    let minus_square = x.times(x).negated();
    series(x, |term, n| {
        let term = term.times(minus_square).over_integer(2 * n * (2 * n + 1));
        (term, term)
    })
}

/// cos of what [`reduce`] left.
#[must_use]
pub fn cosine(x: Wide) -> Wide {
    let minus_square = x.times(x).negated();
    series(Wide::ONE, |term, n| {
        let term = term.times(minus_square).over_integer(2 * n * (2 * n - 1));
        (term, term)
    })
}

/// sin and cos of an angle below 2^63.
#[must_use]
pub fn sine_cosine(x: Finite) -> (Wide, Wide) {
    let Reduced { rest, quadrant } = reduce(x);
    let (s, c) = (sine(rest), cosine(rest));
    match quadrant {
        0 => (s, c),
        1 => (c, s.negated()),
        2 => (s.negated(), c.negated()),
        _ => (c.negated(), s),
    }
}

/// Arc tangents of 1/2, 1/4, 1/8.
const STEPS: [(i32, Wide); 3] = [
    (
        -1,
        Wide::constant(-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03),
    ),
    (
        -2,
        Wide::constant(-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e5),
    ),
    (
        -3,
        Wide::constant(-4, 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef7),
    ),
];

/// The arc tangent of a number from zero to one.
fn arc_tangent(x: Wide) -> Wide {
    let (mut x, mut base) = (x, Wide::ZERO);
    for (exp, angle) in STEPS {
        // Worth it when x is beyond about three quarters of the step.
        let step = Wide::ONE.scaled(exp);
        if x.0.sign || x.is_below(exp) {
            continue;
        }
        let below = Wide::ONE.plus(x.times(step));
        x = x.minus(step).over(below);
        base = base.plus(angle);
    }
    if x.is_zero() {
        return base;
    }
    let minus_square = x.times(x).negated();
    let rest = series(x, |power, n| {
        let power = power.times(minus_square);
        (power.over_integer(2 * n + 1), power)
    });
    base.plus(rest)
}

/// FPATAN: the angle of the point (`x`, `y`), both finite and not zero.
#[must_use]
pub fn angle(y: Finite, x: Finite) -> Wide {
    let (a, b) = (
        Wide::from_finite(y).with_sign(false),
        Wide::from_finite(x).with_sign(false),
    );
    let steep = (a.0.exp, a.0.sig) > (b.0.exp, b.0.sig);
    let first = if steep {
        Wide::HALF_PI.minus(arc_tangent(b.over(a)))
    } else {
        arc_tangent(a.over(b))
    };
    let full = if x.sign { Wide::PI.minus(first) } else { first };
    full.with_sign(y.sign)
}

/// F2XM1: 2^x - 1 for x from -1 to 1.
#[must_use]
pub fn power_less_one(x: Finite) -> Wide {
    let y = Wide::from_finite(x).times(Wide::LN_2);
    series(y, |term, n| {
        let term = term.times(y).over_integer(n + 1);
        (term, term)
    })
}

/// log2((1 + s) / (1 - s)).
fn logarithm_of_ratio(s: Wide) -> Wide {
    if s.is_zero() {
        return s;
    }
    let square = s.times(s);
    let sum = series(s, |power, n| {
        let power = power.times(square);
        (power.over_integer(2 * n + 1), power)
    });
    sum.scaled(1).over(Wide::LN_2)
}

/// log2 of a positive number.
#[must_use]
pub fn logarithm(x: Finite) -> Wide {
    // Between the roots of one half and of two, so that the sum with the exponent does not cancel.
    const ROOT_OF_TWO: u64 = 0xb504_f333_f9de_6484;
    let above = i32::from(x.sig > ROOT_OF_TWO);
    let m = Wide::constant(-above, u128::from(x.sig) << 64);
    let s = m.minus(Wide::ONE).over(m.plus(Wide::ONE));
    Wide::from_integer(x.exp + above).plus(logarithm_of_ratio(s))
}

/// log2(1 + x) for small x.
#[must_use]
pub fn logarithm_plus_one(x: Finite) -> Wide {
    let x = Wide::from_finite(x);
    logarithm_of_ratio(x.over(x.plus(Wide::ONE.scaled(1))))
}
