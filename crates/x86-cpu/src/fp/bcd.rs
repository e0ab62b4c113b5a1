//! Packed decimal of FBLD and FBSTP: 18 digits in nine bytes, the sign in the tenth.

use super::convert::{f80_from_signed, to_signed};
use super::env::{Env, flag};
use super::raw::{F80, Raw};

/// The largest magnitude.
const LIMIT: u64 = 999_999_999_999_999_999;

/// What FBSTP stores for operands that do not fit.
pub const INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

/// Reads packed decimal. Digits above nine count for what they are.
#[must_use]
pub fn load(bytes: [u8; 10]) -> Raw {
    let value = bytes.iter().take(9).rev().fold(0_u64, |sum, &byte| {
        sum * 100 + u64::from(byte >> 4) * 10 + u64::from(byte & 15)
    });
    Raw {
        sign: bytes[9] & 0x80 != 0,
        ..f80_from_signed(value.cast_signed())
    }
}

/// Writes packed decimal.
pub fn store(env: &mut Env, a: Raw) -> [u8; 10] {
    let before = env.flags;
    let magnitude = to_signed(env, env.rounding, F80, a, 64).map(i64::unsigned_abs);
    let Some(mut rest) = magnitude.filter(|&m| m <= LIMIT) else {
        env.flags = before | flag::INVALID;
        env.rounded_up = false;
        return INDEFINITE;
    };
    let mut bytes = [0; 10];
    for byte in bytes.iter_mut().take(9) {
        let pair = rest % 100;
        rest /= 100;
        *byte = (((pair / 10) << 4 | (pair % 10)) & 0xff) as u8;
    }
    bytes[9] = u8::from(a.sign) << 7;
    bytes
}
