//! A record: one case's registers, code and memory, as bytes.

use house_tests::Rng;

use crate::layout::{
    CODE, CODE_AT, CODE_BYTES, CS_32, CS_64, FRAME, RECORD, WINDOW, WINDOW_AT, WINDOW_BYTES, XSAVE,
};
use crate::values;

/// Sets a word.
pub(crate) fn put(record: &mut [u8], at: usize, value: u64) {
    record[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Reads a word.
pub(crate) fn word(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*record[at..].first_chunk().expect("within the record"))
}

/// Reads sixteen bits.
pub(crate) fn half(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(*record[at..].first_chunk().expect("within the record"))
}

/// Width of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    /// Compatibility mode.
    B32,
    /// 64-bit mode.
    B64,
}

/// A record with random registers and memory, and no code yet.
pub(crate) fn random(rng: &mut Rng, bits: Bits) -> Vec<u8> {
    let mut record = vec![0; RECORD];
    for i in 0..16 {
        let value = values::integer(rng);
        let value = match bits {
            Bits::B32 => value & 0xffff_ffff,
            Bits::B64 => value,
        };
        put(&mut record, i * 8, value);
    }
    if bits == Bits::B32 {
        record[64..128].fill(0);
    }
    put(&mut record, 4 * 8, WINDOW_AT + 256 + rng.below(64) * 8);
    put(&mut record, FRAME, CODE_AT);
    put(&mut record, FRAME + 8, flags(rng));
    let selector = match bits {
        Bits::B32 => CS_32,
        Bits::B64 => CS_64,
    };
    put(&mut record, FRAME + 16, selector);
    record[CODE..CODE + CODE_BYTES].fill(0xcc);
    for lane in record[WINDOW..WINDOW + WINDOW_BYTES].chunks_exact_mut(16) {
        lane.copy_from_slice(&values::lanes(rng));
    }
    x87(rng, &mut record[XSAVE..]);
    vectors(rng, &mut record[XSAVE..], bits);
    record
}

fn flags(rng: &mut Rng) -> u64 {
    let mut flags = 0x202 | (rng.word() & 0x8d5);
    if rng.one_in(6) {
        flags |= 0x400;
    }
    flags
}

fn x87(rng: &mut Rng, area: &mut [u8]) {
    let mut control = 0x37f_u16;
    if rng.one_in(2) {
        let bits = u16::try_from(rng.below(16)).expect("four bits");
        control = (control & 0xff) | (bits << 8);
    }
    if rng.one_in(4) {
        control &= !u16::try_from(rng.below(64)).expect("six bits");
    }
    let exceptions = u16::try_from(rng.below(64)).expect("six bits") & control;
    let codes = u16::try_from(rng.word() & 0x4700).expect("sixteen bits");
    let top = u16::try_from(rng.below(8)).expect("three bits");
    area[0..2].copy_from_slice(&control.to_le_bytes());
    area[2..4].copy_from_slice(&(exceptions | codes | (top << 11)).to_le_bytes());
    area[4] = match rng.below(4) {
        0 => rng.word().to_le_bytes()[0],
        1 => 0xff,
        // Two registers above the top are free, and those from it on are full.
        _ => 0b0011_1111_u8.rotate_left(top.into()),
    };
    for i in 0..8 {
        let at = 32 + i * 16;
        area[at..at + 10].copy_from_slice(&values::extended(rng));
    }
}

fn vectors(rng: &mut Rng, area: &mut [u8], bits: Bits) {
    let mut mxcsr = 0x1f80_u32;
    if rng.one_in(2) {
        mxcsr |= u32::try_from(rng.below(64)).expect("six bits");
    }
    if rng.one_in(3) {
        mxcsr |= u32::try_from(rng.below(4) << 13).expect("fits");
    }
    if rng.one_in(4) {
        mxcsr |= u32::try_from(rng.word() & 0x8040).expect("fits");
    }
    if rng.one_in(5) {
        let cleared = u32::try_from(rng.below(64)).expect("six bits");
        mxcsr &= !(cleared << 7);
        mxcsr &= !cleared;
    }
    area[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    let count = if bits == Bits::B64 { 16 } else { 8 };
    for i in 0..count {
        area[160 + i * 16..176 + i * 16].copy_from_slice(&values::lanes(rng));
        area[576 + i * 16..592 + i * 16].copy_from_slice(&values::lanes(rng));
    }
    area[512] = 7;
}
