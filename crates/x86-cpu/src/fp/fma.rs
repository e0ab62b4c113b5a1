//! Fused multiply-add: `a * b + c`, rounded once.

use super::arith::{product, sum, wide};
use super::env::{Env, Rounding, flag};
use super::raw::{Class, Format, INTEGER, QUIET, Raw, note_denormal};
use super::round::{Exact, round};

/// `a * b + c` in one format (f32 or f64). A NaN among the operands is passed on in the order a, b, c.
pub fn fma(env: &mut Env, format: Format, a: Raw, b: Raw, c: Raw) -> Raw {
    let [a, b, c] = [a.flushed(env), b.flushed(env), c.flushed(env)];
    let classes = [a, b, c].map(|x| x.class(format));
    if let Some(nan) = nan_operand(env, &[a, b, c], &classes) {
        return nan;
    }
    let [ca, cb, cc] = classes;
    let sign = a.sign != b.sign;
    let undefined = matches!(
        (ca, cb),
        (Class::Infinite, Class::Zero) | (Class::Zero, Class::Infinite)
    );
    let infinite = ca == Class::Infinite || cb == Class::Infinite;
    if undefined || (infinite && cc == Class::Infinite && c.sign != sign) {
        env.raise(flag::INVALID);
        return Raw::indefinite(format);
    }
    note_denormal(env, format, &[a, b, c]);
    if infinite {
        return Raw::infinity(sign, format);
    }
    if cc == Class::Infinite {
        return Raw::infinity(c.sign, format);
    }
    let zero_product = ca == Class::Zero || cb == Class::Zero;
    let exact = match (zero_product, cc == Class::Zero) {
        (true, true) if sign == c.sign => return Raw::zero(sign),
        (true, true) => None,
        (true, false) => Some(wide(c.finite(format))),
        (false, true) => Some(product(a.finite(format), b.finite(format))),
        (false, false) => {
            let product = headroom(product(a.finite(format), b.finite(format)));
            sum(product, wide(c.finite(format)))
        }
    };
    match exact {
        Some(exact) => round(env, format, exact),
        None => Raw::zero(env.rounding == Rounding::Down),
    }
}

fn nan_operand(env: &mut Env, operands: &[Raw; 3], classes: &[Class; 3]) -> Option<Raw> {
    let nan = |c: &Class| matches!(c, Class::Quiet | Class::Signalling);
    let first = classes.iter().position(nan)?;
    if classes.contains(&Class::Signalling) {
        env.raise(flag::INVALID);
    }
    let mut result = *operands.get(first)?;
    result.sig |= QUIET | INTEGER;
    Some(result)
}

/// Moves a product so that its top bit is clear and the next one set. The operands have at most 53 bits,
/// so nothing falls off.
fn headroom(product: Exact) -> Exact {
    let shift = product.sig.leading_zeros();
    let exp = product.exp + 1 - i32::try_from(shift).unwrap_or(0);
    Exact {
        sign: product.sign,
        exp,
        sig: (product.sig << shift) >> 1,
    }
}
