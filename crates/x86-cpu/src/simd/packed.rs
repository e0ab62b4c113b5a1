//! Packed integer arithmetic on 128 bits. The first operand is the one that two-operand forms write to.
#![expect(
    clippy::cast_possible_truncation,
    reason = "the lanes of a product or sum are cut to their width"
)]

use super::lanes::{Lanes, map, zip};

/// PADDB.
pub fn paddb(a: u128, b: u128) -> u128 {
    zip(a, b, u8::wrapping_add)
}

/// PADDW.
pub fn paddw(a: u128, b: u128) -> u128 {
    zip(a, b, u16::wrapping_add)
}

/// PADDD.
pub fn paddd(a: u128, b: u128) -> u128 {
    zip(a, b, u32::wrapping_add)
}

/// PADDQ.
pub fn paddq(a: u128, b: u128) -> u128 {
    zip(a, b, u64::wrapping_add)
}

/// PSUBB.
pub fn psubb(a: u128, b: u128) -> u128 {
    zip(a, b, u8::wrapping_sub)
}

/// PSUBW.
pub fn psubw(a: u128, b: u128) -> u128 {
    zip(a, b, u16::wrapping_sub)
}

/// PSUBD.
pub fn psubd(a: u128, b: u128) -> u128 {
    zip(a, b, u32::wrapping_sub)
}

/// PSUBQ.
pub fn psubq(a: u128, b: u128) -> u128 {
    zip(a, b, u64::wrapping_sub)
}

/// PADDSB.
pub fn paddsb(a: u128, b: u128) -> u128 {
    zip(a, b, i8::saturating_add)
}

/// PADDSW.
pub fn paddsw(a: u128, b: u128) -> u128 {
    zip(a, b, i16::saturating_add)
}

/// PADDUSB.
pub fn paddusb(a: u128, b: u128) -> u128 {
    zip(a, b, u8::saturating_add)
}

/// PADDUSW.
pub fn paddusw(a: u128, b: u128) -> u128 {
    zip(a, b, u16::saturating_add)
}

/// PSUBSB.
pub fn psubsb(a: u128, b: u128) -> u128 {
    zip(a, b, i8::saturating_sub)
}

/// PSUBSW.
pub fn psubsw(a: u128, b: u128) -> u128 {
    zip(a, b, i16::saturating_sub)
}

/// PSUBUSB.
pub fn psubusb(a: u128, b: u128) -> u128 {
    zip(a, b, u8::saturating_sub)
}

/// PSUBUSW.
pub fn psubusw(a: u128, b: u128) -> u128 {
    zip(a, b, u16::saturating_sub)
}

/// PAND.
pub fn pand(a: u128, b: u128) -> u128 {
    a & b
}

/// PANDN.
pub fn pandn(a: u128, b: u128) -> u128 {
    !a & b
}

/// POR.
pub fn por(a: u128, b: u128) -> u128 {
    a | b
}

/// PXOR.
pub fn pxor(a: u128, b: u128) -> u128 {
    a ^ b
}

/// PCMPEQB.
pub fn pcmpeqb(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i8, y| -i8::from(x == y))
}

/// PCMPEQW.
pub fn pcmpeqw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i16, y| -i16::from(x == y))
}

/// PCMPEQD.
pub fn pcmpeqd(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i32, y| -i32::from(x == y))
}

/// PCMPEQQ.
pub fn pcmpeqq(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i64, y| -i64::from(x == y))
}

/// PCMPGTB.
pub fn pcmpgtb(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i8, y| -i8::from(x > y))
}

/// PCMPGTW.
pub fn pcmpgtw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i16, y| -i16::from(x > y))
}

/// PCMPGTD.
pub fn pcmpgtd(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i32, y| -i32::from(x > y))
}

/// PCMPGTQ.
pub fn pcmpgtq(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i64, y| -i64::from(x > y))
}

/// PMAXSB.
pub fn pmaxsb(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i8, y| x.max(y))
}

/// PMAXSW.
pub fn pmaxsw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i16, y| x.max(y))
}

/// PMAXSD.
pub fn pmaxsd(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i32, y| x.max(y))
}

/// PMAXUB.
pub fn pmaxub(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u8, y| x.max(y))
}

/// PMAXUW.
pub fn pmaxuw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u16, y| x.max(y))
}

/// PMAXUD.
pub fn pmaxud(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u32, y| x.max(y))
}

/// PMINSB.
pub fn pminsb(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i8, y| x.min(y))
}

/// PMINSW.
pub fn pminsw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i16, y| x.min(y))
}

/// PMINSD.
pub fn pminsd(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i32, y| x.min(y))
}

/// PMINUB.
pub fn pminub(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u8, y| x.min(y))
}

/// PMINUW.
pub fn pminuw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u16, y| x.min(y))
}

/// PMINUD.
pub fn pminud(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u32, y| x.min(y))
}

/// PAVGB.
pub fn pavgb(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u8, y| {
        ((u16::from(x) + u16::from(y) + 1) >> 1) as u8
    })
}

/// PAVGW.
pub fn pavgw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u16, y| {
        ((u32::from(x) + u32::from(y) + 1) >> 1) as u16
    })
}

/// PMULLW.
pub fn pmullw(a: u128, b: u128) -> u128 {
    zip(a, b, u16::wrapping_mul)
}

/// PMULHW.
pub fn pmulhw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i16, y| {
        ((i32::from(x) * i32::from(y)) >> 16) as i16
    })
}

/// PMULHUW.
pub fn pmulhuw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u16, y| {
        ((u32::from(x) * u32::from(y)) >> 16) as u16
    })
}

/// PMULHRSW.
pub fn pmulhrsw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i16, y| {
        ((((i32::from(x) * i32::from(y)) >> 14) + 1) >> 1) as i16
    })
}

/// PMULLD.
pub fn pmulld(a: u128, b: u128) -> u128 {
    zip(a, b, u32::wrapping_mul)
}

/// PMULUDQ.
pub fn pmuludq(a: u128, b: u128) -> u128 {
    zip(a, b, |x: u64, y| (x & 0xffff_ffff) * (y & 0xffff_ffff))
}

/// PMULDQ.
pub fn pmuldq(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i64, y| i64::from(x as i32) * i64::from(y as i32))
}

/// PMADDWD.
pub fn pmaddwd(a: u128, b: u128) -> u128 {
    let (a, b) = (i16::split(a), i16::split(b));
    i32::join(std::array::from_fn(|lane| {
        let at = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        at(lane * 2).wrapping_add(at(lane * 2 + 1))
    }))
}

/// PMADDUBSW.
pub fn pmaddubsw(a: u128, b: u128) -> u128 {
    let (a, b) = (u8::split(a), i8::split(b));
    i16::join(std::array::from_fn(|lane| {
        let at = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        saturate16(at(lane * 2) + at(lane * 2 + 1))
    }))
}

/// PSADBW.
pub fn psadbw(a: u128, b: u128) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    u64::join(std::array::from_fn(|half| {
        (half * 8..half * 8 + 8)
            .map(|i| u64::from(a[i].abs_diff(b[i])))
            .sum()
    }))
}

/// PSIGNB.
pub fn psignb(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i8, y| x.wrapping_mul(y.signum()))
}

/// PSIGNW.
pub fn psignw(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i16, y| x.wrapping_mul(y.signum()))
}

/// PSIGND.
pub fn psignd(a: u128, b: u128) -> u128 {
    zip(a, b, |x: i32, y| x.wrapping_mul(y.signum()))
}

/// PABSB.
pub fn pabsb(a: u128) -> u128 {
    map(a, i8::wrapping_abs)
}

/// PABSW.
pub fn pabsw(a: u128) -> u128 {
    map(a, i16::wrapping_abs)
}

/// PABSD.
pub fn pabsd(a: u128) -> u128 {
    map(a, i32::wrapping_abs)
}

/// PHMINPOSUW: the least word and its place.
pub fn phminposuw(a: u128) -> u128 {
    let words = u16::split(a);
    let least = (0_u128..).zip(words).min_by_key(|&(_, word)| word);
    least.map_or(0, |(place, word)| u128::from(word) | (place << 16))
}

fn saturate16(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

fn pairs16(a: u128, b: u128, f: impl Fn(i16, i16) -> i16) -> u128 {
    let (a, b) = (i16::split(a), i16::split(b));
    let all: [i16; 16] = std::array::from_fn(|i| if i < 8 { a[i] } else { b[i - 8] });
    i16::join(std::array::from_fn(|i| f(all[i * 2], all[i * 2 + 1])))
}

fn pairs32(a: u128, b: u128, f: impl Fn(i32, i32) -> i32) -> u128 {
    let (a, b) = (i32::split(a), i32::split(b));
    i32::join([f(a[0], a[1]), f(a[2], a[3]), f(b[0], b[1]), f(b[2], b[3])])
}

/// PHADDW.
pub fn phaddw(a: u128, b: u128) -> u128 {
    pairs16(a, b, i16::wrapping_add)
}

/// PHADDD.
pub fn phaddd(a: u128, b: u128) -> u128 {
    pairs32(a, b, i32::wrapping_add)
}

/// PHADDSW.
pub fn phaddsw(a: u128, b: u128) -> u128 {
    pairs16(a, b, i16::saturating_add)
}

/// PHSUBW.
pub fn phsubw(a: u128, b: u128) -> u128 {
    pairs16(a, b, i16::wrapping_sub)
}

/// PHSUBD.
pub fn phsubd(a: u128, b: u128) -> u128 {
    pairs32(a, b, i32::wrapping_sub)
}

/// PHSUBSW.
pub fn phsubsw(a: u128, b: u128) -> u128 {
    pairs16(a, b, i16::saturating_sub)
}

/// MPSADBW: eight sums of four differences.
pub fn mpsadbw(a: u128, b: u128, immediate: u8) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    let (first, second) = (
        usize::from(immediate >> 2 & 1) * 4,
        usize::from(immediate & 3) * 4,
    );
    u16::join(std::array::from_fn(|lane| {
        (0..4)
            .map(|i| u16::from(a[first + lane + i].abs_diff(b[second + i])))
            .sum()
    }))
}
