//! Packing, unpacking, shuffling, blending, widening: nothing is computed, lanes only move.
#![expect(
    clippy::cast_possible_truncation,
    reason = "packed lanes are clamped to their width first"
)]

use super::lanes::{Lanes, zip};

fn pack16(a: u128, b: u128, f: impl Fn(i16) -> u8) -> u128 {
    let (a, b) = (i16::split(a), i16::split(b));
    u8::join(std::array::from_fn(|i| {
        f(if i < 8 { a[i] } else { b[i - 8] })
    }))
}

fn pack32(a: u128, b: u128, f: impl Fn(i32) -> u16) -> u128 {
    let (a, b) = (i32::split(a), i32::split(b));
    u16::join(std::array::from_fn(|i| {
        f(if i < 4 { a[i] } else { b[i - 4] })
    }))
}

/// PACKSSWB.
pub fn packsswb(a: u128, b: u128) -> u128 {
    pack16(a, b, |x| (x.clamp(-128, 127) as i8).cast_unsigned())
}

/// PACKUSWB.
pub fn packuswb(a: u128, b: u128) -> u128 {
    pack16(a, b, |x| {
        x.cast_unsigned().min(if x < 0 { 0 } else { 255 }) as u8
    })
}

/// PACKSSDW.
pub fn packssdw(a: u128, b: u128) -> u128 {
    pack32(a, b, |x| (x.clamp(-0x8000, 0x7fff) as i16).cast_unsigned())
}

/// PACKUSDW.
pub fn packusdw(a: u128, b: u128) -> u128 {
    pack32(a, b, |x| {
        x.cast_unsigned().min(if x < 0 { 0 } else { 0xffff }) as u16
    })
}

/// Lanes of both by turns, from lane `from` on.
fn interleave<L: Lanes + Default>(a: u128, b: u128, high: bool) -> u128 {
    let (a, b) = (L::split(a), L::split(b));
    let mut all = a;
    let half = a.as_ref().len() / 2;
    let from = if high { half } else { 0 };
    let pairs = a.as_ref().iter().zip(b.as_ref()).skip(from).take(half);
    for (slot, (x, y)) in all.as_mut().chunks_exact_mut(2).zip(pairs) {
        slot.copy_from_slice(&[*x, *y]);
    }
    L::join(all)
}

/// PUNPCKLBW.
pub fn punpcklbw(a: u128, b: u128) -> u128 {
    interleave::<u8>(a, b, false)
}

/// PUNPCKLWD.
pub fn punpcklwd(a: u128, b: u128) -> u128 {
    interleave::<u16>(a, b, false)
}

/// PUNPCKLDQ, UNPCKLPS.
pub fn punpckldq(a: u128, b: u128) -> u128 {
    interleave::<u32>(a, b, false)
}

/// PUNPCKLQDQ, UNPCKLPD.
pub fn punpcklqdq(a: u128, b: u128) -> u128 {
    interleave::<u64>(a, b, false)
}

/// PUNPCKHBW.
pub fn punpckhbw(a: u128, b: u128) -> u128 {
    interleave::<u8>(a, b, true)
}

/// PUNPCKHWD.
pub fn punpckhwd(a: u128, b: u128) -> u128 {
    interleave::<u16>(a, b, true)
}

/// PUNPCKHDQ, UNPCKHPS.
pub fn punpckhdq(a: u128, b: u128) -> u128 {
    interleave::<u32>(a, b, true)
}

/// PUNPCKHQDQ, UNPCKHPD.
pub fn punpckhqdq(a: u128, b: u128) -> u128 {
    interleave::<u64>(a, b, true)
}

/// PSHUFB.
pub fn pshufb(a: u128, b: u128) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    u8::join(b.map(|i| match i & 0x80 {
        0 => a[usize::from(i & 15)],
        _ => 0,
    }))
}

fn two_bits(immediate: u8, place: usize) -> usize {
    usize::from(immediate >> (place * 2) & 3)
}

/// PSHUFD, VPERMILPS with an immediate.
pub fn pshufd(a: u128, immediate: u8) -> u128 {
    let a = u32::split(a);
    u32::join(std::array::from_fn(|i| a[two_bits(immediate, i)]))
}

/// PSHUFLW, PSHUFW.
pub fn pshuflw(a: u128, immediate: u8) -> u128 {
    let a = u16::split(a);
    u16::join(std::array::from_fn(|i| match i {
        0..4 => a[two_bits(immediate, i)],
        _ => a[i],
    }))
}

/// PSHUFHW.
pub fn pshufhw(a: u128, immediate: u8) -> u128 {
    let a = u16::split(a);
    u16::join(std::array::from_fn(|i| match i {
        0..4 => a[i],
        _ => a[4 + two_bits(immediate, i - 4)],
    }))
}

/// SHUFPS.
pub fn shufps(a: u128, b: u128, immediate: u8) -> u128 {
    let (a, b) = (u32::split(a), u32::split(b));
    let at = |place| two_bits(immediate, place);
    u32::join([a[at(0)], a[at(1)], b[at(2)], b[at(3)]])
}

/// SHUFPD. The caller gives the two bits of this half.
pub fn shufpd(a: u128, b: u128, immediate: u8) -> u128 {
    let (a, b) = (u64::split(a), u64::split(b));
    u64::join([
        a[usize::from(immediate & 1)],
        b[usize::from(immediate >> 1 & 1)],
    ])
}

/// VPERMILPS by a register.
pub fn vpermilps(a: u128, b: u128) -> u128 {
    let a = u32::split(a);
    u32::join(u32::split(b).map(|i| a[(i & 3) as usize]))
}

/// VPERMILPD by a register.
pub fn vpermilpd(a: u128, b: u128) -> u128 {
    let a = u64::split(a);
    u64::join(u64::split(b).map(|i| a[(i >> 1 & 1) as usize]))
}

/// PALIGNR: bytes of a:b from `immediate` on.
pub fn palignr(a: u128, b: u128, immediate: u8) -> u128 {
    match u32::from(immediate) {
        0 => b,
        n @ 1..16 => (b >> (n * 8)) | (a << (128 - n * 8)),
        n @ 16..32 => a >> ((n - 16) * 8),
        _ => 0,
    }
}

/// PALIGNR on MMX registers.
pub fn palignr_mmx(a: u128, b: u128, immediate: u8) -> u128 {
    let both = (a << 64) | (b & u128::from(u64::MAX));
    both.checked_shr(u32::from(immediate) * 8).unwrap_or(0)
}

/// A lane of `b` where the mask's bit is set, else one of `a`.
fn blend<L: Lanes>(a: u128, b: u128, immediate: u8) -> u128 {
    let (mut a, b) = (L::split(a), L::split(b));
    for (i, (x, y)) in a.as_mut().iter_mut().zip(b.as_ref()).enumerate() {
        if immediate >> i & 1 != 0 {
            *x = *y;
        }
    }
    L::join(a)
}

/// PBLENDW.
pub fn pblendw(a: u128, b: u128, immediate: u8) -> u128 {
    blend::<u16>(a, b, immediate)
}

/// BLENDPS, VPBLENDD.
pub fn blendps(a: u128, b: u128, immediate: u8) -> u128 {
    blend::<u32>(a, b, immediate)
}

/// BLENDPD.
pub fn blendpd(a: u128, b: u128, immediate: u8) -> u128 {
    blend::<u64>(a, b, immediate)
}

/// All ones in each lane whose top bit is set.
fn spread<L: Lanes>(mask: u128, f: impl Fn(L, L) -> L) -> u128 {
    zip(mask, mask, f)
}

fn choose(a: u128, b: u128, mask: u128) -> u128 {
    (a & !mask) | (b & mask)
}

/// PBLENDVB.
pub fn pblendvb(a: u128, b: u128, mask: u128) -> u128 {
    choose(a, b, mask_b(mask))
}

/// BLENDVPS.
pub fn blendvps(a: u128, b: u128, mask: u128) -> u128 {
    choose(a, b, mask_d(mask))
}

/// BLENDVPD.
pub fn blendvpd(a: u128, b: u128, mask: u128) -> u128 {
    choose(a, b, mask_q(mask))
}

/// The sign of each byte, everywhere in it.
pub fn mask_b(mask: u128) -> u128 {
    spread(mask, |x: i8, _| x >> 7)
}

/// The sign of each doubleword, everywhere in it.
pub fn mask_d(mask: u128) -> u128 {
    spread(mask, |x: i32, _| x >> 31)
}

/// The sign of each quadword, everywhere in it.
pub fn mask_q(mask: u128) -> u128 {
    spread(mask, |x: i64, _| x >> 63)
}

/// INSERTPS. `b` has the element already moved to lane zero when it came from memory.
pub fn insertps(a: u128, element: u32, immediate: u8) -> u128 {
    let mut lanes = u32::split(a);
    lanes[two_bits(immediate, 2)] = element;
    for (i, lane) in lanes.iter_mut().enumerate() {
        if immediate >> i & 1 != 0 {
            *lane = 0;
        }
    }
    u32::join(lanes)
}

/// MOVHLPS.
pub fn movhlps(a: u128, b: u128) -> u128 {
    (a >> 64 << 64) | (b >> 64)
}

/// MOVLHPS.
pub fn movlhps(a: u128, b: u128) -> u128 {
    (a & u128::from(u64::MAX)) | (b << 64)
}

/// MOVSHDUP.
pub fn movshdup(a: u128) -> u128 {
    pshufd(a, 0xf5)
}

/// MOVSLDUP.
pub fn movsldup(a: u128) -> u128 {
    pshufd(a, 0xa0)
}

/// MOVDDUP.
pub fn movddup(a: u128) -> u128 {
    pshufd(a, 0x44)
}

/// The top bits of the bytes (PMOVMSKB).
pub fn pmovmskb(a: u128) -> u32 {
    top_bits(u8::split(a).map(|x| x >> 7 != 0))
}

/// The top bits of the doublewords (MOVMSKPS).
pub fn movmskps(a: u128) -> u32 {
    top_bits(u32::split(a).map(|x| x >> 31 != 0))
}

/// The top bits of the quadwords (MOVMSKPD).
pub fn movmskpd(a: u128) -> u32 {
    top_bits(u64::split(a).map(|x| x >> 63 != 0))
}

fn top_bits<const N: usize>(bits: [bool; N]) -> u32 {
    bits.iter()
        .rev()
        .fold(0, |all, &bit| (all << 1) | u32::from(bit))
}

/// Widens the low 64 bits or fewer of `a`: lanes of `from` bits to lanes of `to` bits.
#[inline]
pub fn widen(a: u64, from: u32, to: u32, signed: bool) -> u128 {
    let mut result = 0;
    for lane in 0..128 / to {
        let raw = (a >> (lane * from)) << (64 - from);
        let value = if signed {
            (raw.cast_signed() >> (64 - from)).cast_unsigned()
        } else {
            raw >> (64 - from)
        };
        let kept = value & (u64::MAX >> (64 - to));
        result |= u128::from(kept) << (lane * to);
    }
    result
}

/// One lane everywhere (VBROADCAST, VPBROADCAST).
pub fn broadcast(a: u64, width: u32) -> u128 {
    let lane = u128::from(a & (u64::MAX >> (64 - width)));
    (0..128 / width).fold(0, |all, i| all | (lane << (i * width)))
}
