//! Packed and scalar floating point on 128 bits.

use super::lanes::Lanes;
use crate::fp::scalar::{self, Float};
use crate::fp::{Env, F16, F32, Raw, Rounding, convert};

/// One operation for both widths: what a packed or scalar instruction does to each pair of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b.
    Add,
    /// a - b.
    Sub,
    /// a * b.
    Mul,
    /// a / b.
    Div,
    /// The lesser.
    Min,
    /// The greater.
    Max,
    /// The root of b.
    Sqrt,
}

impl Binary {
    /// The operation on one pair.
    #[inline]
    pub fn apply<T: Float>(self, env: &mut Env, a: T, b: T) -> T {
        match self {
            Self::Add => scalar::add(env, a, b),
            Self::Sub => scalar::sub(env, a, b),
            Self::Mul => scalar::mul(env, a, b),
            Self::Div => scalar::div(env, a, b),
            Self::Min => scalar::min(env, a, b),
            Self::Max => scalar::max(env, a, b),
            Self::Sqrt => scalar::sqrt(env, b),
        }
    }
}

/// A lane type of floating-point vectors.
pub trait Lane: Float + Lanes + Default {
    /// All ones or zero.
    fn mask(on: bool) -> Self;
    /// The number with its sign turned.
    fn negate(self) -> Self;
}

impl Lane for u32 {
    fn mask(on: bool) -> Self {
        0_u32.wrapping_sub(on.into())
    }
    fn negate(self) -> Self {
        self ^ (1 << 31)
    }
}

impl Lane for u64 {
    fn mask(on: bool) -> Self {
        0_u64.wrapping_sub(on.into())
    }
    fn negate(self) -> Self {
        self ^ (1 << 63)
    }
}

/// `f` of the first `count` lanes of each; the others come from `a`.
#[inline]
pub fn each<T: Lane>(a: u128, b: u128, count: usize, mut f: impl FnMut(T, T) -> T) -> u128 {
    let (mut a, b) = (T::split(a), T::split(b));
    for (x, y) in a.as_mut().iter_mut().zip(b.as_ref()).take(count) {
        *x = f(*x, *y);
    }
    T::join(a)
}

/// Which products of a fused multiply-add change sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// The product.
    pub product: bool,
    /// The addend, in even lanes.
    pub even: bool,
    /// The addend, in odd lanes.
    pub odd: bool,
}

/// a * b + c in the first `count` lanes; the others come from `keep`.
pub fn fma<T: Lane>(
    env: &mut Env,
    [a, b, c]: [u128; 3],
    keep: u128,
    count: usize,
    signs: Signs,
) -> u128 {
    let (a, b, c) = (T::split(a), T::split(b), T::split(c));
    let mut result = T::split(keep);
    let lanes = a.as_ref().iter().zip(b.as_ref()).zip(c.as_ref());
    for (i, (slot, ((&a, &b), &c))) in result
        .as_mut()
        .iter_mut()
        .zip(lanes)
        .enumerate()
        .take(count)
    {
        let turn_addend = if i & 1 == 0 { signs.even } else { signs.odd };
        *slot = scalar::fma(env, a, b, c, (signs.product, turn_addend));
    }
    T::join(result)
}

/// HADDPS, HSUBPS, HADDPD, HSUBPD.
pub fn horizontal<T: Lane>(env: &mut Env, op: Binary, a: u128, b: u128) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    let mut result = T::split(0);
    let pairs = a.as_ref().chunks_exact(2).chain(b.as_ref().chunks_exact(2));
    for (slot, pair) in result.as_mut().iter_mut().zip(pairs) {
        *slot = op.apply(env, pair[0], pair[1]);
    }
    T::join(result)
}

/// ADDSUBPS, ADDSUBPD: even lanes subtract, odd lanes add.
pub fn addsub<T: Lane>(env: &mut Env, a: u128, b: u128) -> u128 {
    let mut odd = false;
    each::<T>(a, b, usize::MAX, |x, y| {
        let op = if odd { Binary::Add } else { Binary::Sub };
        odd = !odd;
        op.apply(env, x, y)
    })
}

/// DPPS, DPPD, in each half: the sum of the products that the upper immediate bits pick, where the lower ones
/// say. All halves go step by step together; an exception that is not masked ends it after its step.
pub fn dot<T: Lane, const HALVES: usize>(
    env: &mut Env,
    a: [u128; HALVES],
    b: [u128; HALVES],
    immediate: u8,
) -> [u128; HALVES] {
    let mut sums: [Vec<T>; HALVES] = std::array::from_fn(|half| {
        let (a, b) = (T::split(a[half]), T::split(b[half]));
        let pairs = a.as_ref().iter().zip(b.as_ref()).enumerate();
        pairs
            .map(|(i, (&x, &y))| match immediate >> (4 + i) & 1 {
                0 => T::default(),
                _ => scalar::mul(env, x, y),
            })
            .collect()
    });
    while env.unmasked() == 0 && sums.iter().any(|half| half.len() > 1) {
        env.earlier |= env.flags;
        for half in &mut sums {
            let next = half
                .chunks_exact(2)
                .map(|pair| scalar::add(env, pair[0], pair[1]));
            *half = next.collect();
        }
    }
    sums.map(|half| {
        let mut result = T::split(0);
        for (i, slot) in result.as_mut().iter_mut().enumerate() {
            if immediate >> i & 1 != 0 {
                *slot = half[0];
            }
        }
        T::join(result)
    })
}

/// CVTDQ2PS.
pub fn cvtdq2ps(env: &mut Env, a: u128) -> u128 {
    u32::join(i32::split(a).map(|x| scalar::from_signed(env, x.into())))
}

/// CVTDQ2PD, of the two doublewords of `a`.
pub fn cvtdq2pd(env: &mut Env, a: u64) -> u128 {
    let lanes = i32::split(a.into());
    u64::join([
        scalar::from_signed(env, lanes[0].into()),
        scalar::from_signed(env, lanes[1].into()),
    ])
}

/// CVTPS2DQ, CVTTPS2DQ.
pub fn cvtps2dq(env: &mut Env, mode: Rounding, a: u128) -> u128 {
    u32::join(u32::split(a).map(|x| low32(scalar::to_signed(env, mode, x, 32))))
}

/// CVTPD2DQ, CVTTPD2DQ: two doublewords.
pub fn cvtpd2dq(env: &mut Env, mode: Rounding, a: u128) -> u64 {
    let [low, high] = u64::split(a).map(|x| low32(scalar::to_signed(env, mode, x, 32)));
    u64::from(low) | (u64::from(high) << 32)
}

fn low32(value: i64) -> u32 {
    (value.cast_unsigned() & 0xffff_ffff) as u32
}

/// CVTPS2PD, of the two singles of `a`.
pub fn cvtps2pd(env: &mut Env, a: u64) -> u128 {
    let [low, high, ..] = u32::split(a.into());
    u64::join([
        scalar::convert::<u32, u64>(env, low),
        scalar::convert::<u32, u64>(env, high),
    ])
}

/// CVTPD2PS: two singles.
pub fn cvtpd2ps(env: &mut Env, a: u128) -> u64 {
    let [low, high] = u64::split(a).map(|x| scalar::convert::<u64, u32>(env, x));
    u64::from(low) | (u64::from(high) << 32)
}

/// VCVTPH2PS, of the four halves of `a`. Denormal halves are numbers like others, whatever DAZ says.
pub fn vcvtph2ps(env: &mut Env, a: u64) -> u128 {
    let [h0, h1, h2, h3, ..] = u16::split(a.into());
    u32::join(
        [h0, h1, h2, h3]
            .map(|x| convert::convert_quietly(env, F16, F32, Raw::from_f16(x)).to_f32()),
    )
}

/// VCVTPS2PH: four halves. FTZ has no say; denormal singles count.
pub fn vcvtps2ph(env: &mut Env, a: u128, immediate: u8) -> u64 {
    let mut local = Env { ftz: false, ..*env };
    if immediate & 4 == 0 {
        local.rounding = Rounding::from_bits(immediate.into());
    }
    let halves = u32::split(a)
        .map(|x| u64::from(convert::convert(&mut local, F32, F16, Raw::from_f32(x)).to_f16()));
    env.flags |= local.flags;
    halves.iter().rev().fold(0, |all, half| (all << 16) | half)
}
