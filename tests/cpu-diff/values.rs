//! Random registers and memory: numbers that instructions find interesting.

use house_tests::Rng;

/// An integer: often small, of one bit, or at an edge.
pub(crate) fn integer(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0 => rng.below(4),
        1 => rng.below(256),
        2 => rng.below(256).wrapping_neg(),
        3 => 1 << rng.below(64),
        4 => (1_u64 << rng.below(64)).wrapping_sub(1),
        5 => rng.word() & 0xffff_ffff,
        _ => rng.word(),
    }
}

/// The exponent field of a float of `bits` exponent bits.
fn exponent(rng: &mut Rng, bits: u32) -> u64 {
    let max = (1 << bits) - 1;
    let middle = max >> 1;
    match rng.below(12) {
        0 => 0,
        1 => max,
        2 => 1 + rng.below(3),
        3 => max - 1 - rng.below(3),
        4 => rng.below(max + 1),
        5 | 6 => middle - 80_u64.min(middle) + rng.below(160),
        _ => middle - 4 + rng.below(8),
    }
    .min(max)
}

/// A fraction of `bits` bits.
fn fraction(rng: &mut Rng, bits: u32) -> u64 {
    let mask = u64::MAX >> (64 - bits);
    let value = match rng.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << rng.below(bits.into()),
        3 => u64::MAX << rng.below(bits.into()),
        4 => (rng.word() & 0xff) << (bits - 8),
        _ => rng.word(),
    };
    value & mask
}

/// A single.
pub(crate) fn single(rng: &mut Rng) -> u32 {
    let sign = rng.below(2) << 31;
    let bits = sign | (exponent(rng, 8) << 23) | fraction(rng, 23);
    u32::try_from(bits).expect("32 bits")
}

/// A double.
pub(crate) fn double(rng: &mut Rng) -> u64 {
    (rng.below(2) << 63) | (exponent(rng, 11) << 52) | fraction(rng, 52)
}

/// A double extended: ten bytes.
pub(crate) fn extended(rng: &mut Rng) -> [u8; 10] {
    let exp = exponent(rng, 15);
    let integer = match rng.below(24) {
        0 => rng.below(2),
        _ => u64::from(exp != 0),
    };
    let sig = (integer << 63) | fraction(rng, 63);
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&sig.to_le_bytes());
    let high = exp | (rng.below(2) << 15);
    bytes[8..].copy_from_slice(&high.to_le_bytes()[..2]);
    bytes
}

/// Sixteen bytes of one kind of lane.
pub(crate) fn lanes(rng: &mut Rng) -> [u8; 16] {
    let mut bytes = [0; 16];
    match rng.below(6) {
        0 => rng.fill(&mut bytes),
        1 => {
            for lane in bytes.chunks_exact_mut(8) {
                lane.copy_from_slice(&integer(rng).to_le_bytes());
            }
        }
        2 | 3 => {
            for lane in bytes.chunks_exact_mut(4) {
                lane.copy_from_slice(&single(rng).to_le_bytes());
            }
        }
        4 => {
            for lane in bytes.chunks_exact_mut(8) {
                lane.copy_from_slice(&double(rng).to_le_bytes());
            }
        }
        _ => {
            let few = rng.word();
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = few.to_le_bytes()[i % 8] & 0x83;
            }
        }
    }
    bytes
}
