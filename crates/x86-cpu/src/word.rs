//! Numbers of an operand's width.
//!
//! Most of `exec` computes in 64 bits and lets [`Word`] cut: a value of a narrower width travels as a zero-extended
//! `u64`.
#![expect(
    clippy::cast_possible_truncation,
    reason = "cutting a number to its width is what this file is for"
)]

/// What memory is read and written in.
pub trait Unit: Copy {
    /// Size in bytes.
    const BYTES: usize;
    /// From little-endian bytes; missing bytes are zero.
    fn from_bytes(bytes: &[u8]) -> Self;
    /// Little-endian bytes into the front of a buffer of at least [`Unit::BYTES`].
    fn to_bytes(self, into: &mut [u8; 32]);
}

/// An integer operand.
pub trait Word: Unit + PartialEq + Eq + Default + 'static {
    /// Width in bits.
    const BITS: u32;
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::BITS - 1);
    /// All bits of the width.
    const MASK: u64 = u64::MAX >> (64 - Self::BITS);
    /// Cuts.
    fn cut(value: u64) -> Self;
    /// Zero-extends.
    fn zx(self) -> u64;
    /// Sign-extends.
    fn sx(self) -> u64;
}

macro_rules! word {
    ($unsigned:ty, $signed:ty) => {
        impl Unit for $unsigned {
            const BYTES: usize = size_of::<$unsigned>();
            #[inline(always)]
            fn from_bytes(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$unsigned>()];
                for (slot, byte) in raw.iter_mut().zip(bytes) {
                    *slot = *byte;
                }
                Self::from_le_bytes(raw)
            }
            #[inline(always)]
            fn to_bytes(self, into: &mut [u8; 32]) {
                into[..Self::BYTES].copy_from_slice(&self.to_le_bytes());
            }
        }
        impl Word for $unsigned {
            const BITS: u32 = <$unsigned>::BITS;
            #[inline(always)]
            fn cut(value: u64) -> Self {
                value as $unsigned
            }
            #[inline(always)]
            fn zx(self) -> u64 {
                u64::from(self)
            }
            #[inline(always)]
            fn sx(self) -> u64 {
                i64::from(self.cast_signed()).cast_unsigned()
            }
        }
    };
}

word!(u8, i8);
word!(u16, i16);
word!(u32, i32);
word!(u64, i64);

impl Unit for u128 {
    const BYTES: usize = 16;
    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Self {
        let mut raw = [0; 16];
        for (slot, byte) in raw.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        Self::from_le_bytes(raw)
    }
    #[inline(always)]
    fn to_bytes(self, into: &mut [u8; 32]) {
        into[..16].copy_from_slice(&self.to_le_bytes());
    }
}

/// A 256-bit operand, lowest quarter first.
impl Unit for [u64; 4] {
    const BYTES: usize = 32;
    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Self {
        let mut value = [0; 4];
        for (slot, raw) in value.iter_mut().zip(bytes.chunks(8)) {
            *slot = u64::from_bytes(raw);
        }
        value
    }
    #[inline(always)]
    fn to_bytes(self, into: &mut [u8; 32]) {
        for (slot, value) in into.chunks_exact_mut(8).zip(self) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// The lowest byte.
#[inline(always)]
pub const fn low8(value: u64) -> u8 {
    value as u8
}

/// The lowest two bytes.
#[inline(always)]
pub const fn low16(value: u64) -> u16 {
    value as u16
}

/// The lowest four bytes.
#[inline(always)]
pub const fn low32(value: u64) -> u32 {
    value as u32
}

/// The lower half.
#[inline(always)]
pub const fn low64(value: u128) -> u64 {
    value as u64
}

/// The upper half.
#[inline(always)]
pub const fn high64(value: u128) -> u64 {
    (value >> 64) as u64
}

/// An offset below a bound that fits any host.
#[inline(always)]
pub const fn index(value: u64) -> usize {
    value as usize
}
