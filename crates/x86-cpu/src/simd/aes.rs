//! AES rounds (FIPS 197). The tables are made from the field's arithmetic at compile time.

use super::lanes::Lanes;

const SBOX: [u8; 256] = sbox();
const INVERSE: [u8; 256] = invert(&SBOX);

const fn double(x: u8) -> u8 {
    (x << 1) ^ if x & 0x80 != 0 { 0x1b } else { 0 }
}

const fn multiply(a: u8, b: u8) -> u8 {
    let (mut power, mut sum, mut bit) = (a, 0, 0);
    while bit < 8 {
        if b >> bit & 1 != 0 {
            sum ^= power;
        }
        power = double(power);
        bit += 1;
    }
    sum
}

const fn sbox() -> [u8; 256] {
    let mut table = [0; 256];
    // 3 generates the field's group and 0xf6 is its inverse: p and q run through all pairs of inverses.
    let (mut p, mut q) = (1_u8, 1_u8);
    loop {
        p = multiply(p, 3);
        q = multiply(q, 0xf6);
        table[p as usize] =
            q ^ q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4) ^ 0x63;
        if p == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
}

const fn invert(table: &[u8; 256]) -> [u8; 256] {
    let mut inverse = [0; 256];
    let mut value = 0_u8;
    loop {
        inverse[table[value as usize] as usize] = value;
        if value == 255 {
            return inverse;
        }
        value += 1;
    }
}

fn substitute(state: [u8; 16], table: &[u8; 256]) -> [u8; 16] {
    state.map(|x| table[usize::from(x)])
}

/// Row r of the state (bytes r, r + 4, …) turned left by r, or right when `inverse`.
fn shift_rows(state: [u8; 16], inverse: bool) -> [u8; 16] {
    std::array::from_fn(|i| {
        let row = i % 4;
        let turn = if inverse { 4 - row } else { row };
        state[(i + turn * 4) % 16]
    })
}

fn mix_columns(state: [u8; 16], row: [u8; 4]) -> [u8; 16] {
    std::array::from_fn(|i| {
        let column = i / 4 * 4;
        (0..4).fold(0, |sum, j| {
            sum ^ multiply(state[column + j], row[(j + 4 - i % 4) % 4])
        })
    })
}

const MIX: [u8; 4] = [2, 3, 1, 1];
const UNMIX: [u8; 4] = [14, 11, 13, 9];

/// AESENC.
pub fn aesenc(a: u128, key: u128) -> u128 {
    let state = substitute(shift_rows(u8::split(a), false), &SBOX);
    u8::join(mix_columns(state, MIX)) ^ key
}

/// AESENCLAST.
pub fn aesenclast(a: u128, key: u128) -> u128 {
    u8::join(substitute(shift_rows(u8::split(a), false), &SBOX)) ^ key
}

/// AESDEC.
pub fn aesdec(a: u128, key: u128) -> u128 {
    let state = substitute(shift_rows(u8::split(a), true), &INVERSE);
    u8::join(mix_columns(state, UNMIX)) ^ key
}

/// AESDECLAST.
pub fn aesdeclast(a: u128, key: u128) -> u128 {
    u8::join(substitute(shift_rows(u8::split(a), true), &INVERSE)) ^ key
}

/// AESIMC.
pub fn aesimc(a: u128) -> u128 {
    u8::join(mix_columns(u8::split(a), UNMIX))
}

/// AESKEYGENASSIST.
pub fn aeskeygenassist(a: u128, immediate: u8) -> u128 {
    let words = u32::split(u8::join(substitute(u8::split(a), &SBOX)));
    let turned = |word: u32| word.rotate_right(8) ^ u32::from(immediate);
    u32::join([words[1], turned(words[1]), words[3], turned(words[3])])
}
