//! Packed shifts. A count at or beyond the lane's width gives zero, or the sign for arithmetic shifts.

use super::lanes::{map, zip};

fn small(count: u64, width: u32) -> Option<u32> {
    u32::try_from(count).ok().filter(|&c| c < width)
}

/// PSLLW.
pub fn psllw(a: u128, count: u64) -> u128 {
    small(count, 16).map_or(0, |c| map(a, |x: u16| x << c))
}

/// PSLLD.
pub fn pslld(a: u128, count: u64) -> u128 {
    small(count, 32).map_or(0, |c| map(a, |x: u32| x << c))
}

/// PSLLQ.
pub fn psllq(a: u128, count: u64) -> u128 {
    small(count, 64).map_or(0, |c| map(a, |x: u64| x << c))
}

/// PSRLW.
pub fn psrlw(a: u128, count: u64) -> u128 {
    small(count, 16).map_or(0, |c| map(a, |x: u16| x >> c))
}

/// PSRLD.
pub fn psrld(a: u128, count: u64) -> u128 {
    small(count, 32).map_or(0, |c| map(a, |x: u32| x >> c))
}

/// PSRLQ.
pub fn psrlq(a: u128, count: u64) -> u128 {
    small(count, 64).map_or(0, |c| map(a, |x: u64| x >> c))
}

/// PSRAW.
pub fn psraw(a: u128, count: u64) -> u128 {
    let c = small(count, 16).unwrap_or(15);
    map(a, |x: i16| x >> c)
}

/// PSRAD.
pub fn psrad(a: u128, count: u64) -> u128 {
    let c = small(count, 32).unwrap_or(31);
    map(a, |x: i32| x >> c)
}

/// PSLLDQ.
pub fn pslldq(a: u128, bytes: u64) -> u128 {
    small(bytes, 16).map_or(0, |c| a << (c * 8))
}

/// PSRLDQ.
pub fn psrldq(a: u128, bytes: u64) -> u128 {
    small(bytes, 16).map_or(0, |c| a >> (c * 8))
}

/// VPSLLVD.
pub fn vpsllvd(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u32, c| x.checked_shl(c).unwrap_or(0))
}

/// VPSRLVD.
pub fn vpsrlvd(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u32, c| x.checked_shr(c).unwrap_or(0))
}

/// VPSRAVD.
pub fn vpsravd(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i32, c: i32| x >> c.cast_unsigned().min(31))
}

/// VPSLLVQ.
pub fn vpsllvq(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u64, c| small(c, 64).map_or(0, |c| x << c))
}

/// VPSRLVQ.
pub fn vpsrlvq(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u64, c| small(c, 64).map_or(0, |c| x >> c))
}
