//! Twofish (Schneier, Kelsey, Whiting, Wagner, Hall, Ferguson 1998), its substitutions multiplied out for the key.
//!
//! A round looks up eight words instead of computing each of their bytes through up to five permutations and two
//! multiplications: about a hundred times faster, for 4 KiB and a few microseconds a key.

use ::cipher::consts::{U1, U16, U32};
use ::cipher::{
    Block, BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncBackend,
    BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, InOut, InvalidLength, Key, KeyInit,
    KeySizeUser, ParBlocksSizeUser,
};
use zeroize::Zeroize;

/// The four substitutions of nibbles that each of the two permutations is made of.
const NIBBLES: [[[u8; 16]; 4]; 2] = [
    [
        [8, 1, 7, 13, 6, 15, 3, 2, 0, 11, 5, 9, 14, 12, 10, 4],
        [14, 12, 11, 8, 1, 2, 3, 5, 15, 4, 10, 6, 7, 0, 9, 13],
        [11, 10, 5, 14, 6, 13, 9, 0, 12, 8, 15, 3, 2, 4, 7, 1],
        [13, 7, 15, 4, 1, 2, 6, 14, 9, 11, 3, 0, 8, 5, 12, 10],
    ],
    [
        [2, 8, 11, 13, 15, 7, 6, 14, 3, 1, 9, 4, 0, 10, 12, 5],
        [1, 14, 2, 11, 4, 12, 3, 7, 6, 13, 10, 5, 15, 9, 0, 8],
        [4, 12, 7, 5, 1, 6, 9, 10, 0, 14, 13, 8, 2, 11, 3, 15],
        [11, 9, 5, 1, 12, 3, 13, 14, 6, 4, 7, 15, 2, 0, 8, 10],
    ],
];

/// The permutations q0 and q1 of bytes.
const Q: [[u8; 256]; 2] = [permutation(&NIBBLES[0]), permutation(&NIBBLES[1])];

/// Which permutation a byte of a word goes through, one column each: those of the words of a longest key first.
const ORDER: [[usize; 5]; 4] = [
    [1, 1, 0, 0, 1],
    [0, 1, 1, 0, 0],
    [0, 0, 0, 1, 1],
    [1, 0, 1, 1, 0],
];

/// The code that spreads a byte over a word, by columns.
const SPREAD: [[u8; 4]; 4] = [
    [0x01, 0x5b, 0xef, 0xef],
    [0xef, 0xef, 0x5b, 0x01],
    [0x5b, 0xef, 0x01, 0xef],
    [0x5b, 0x01, 0xef, 0x5b],
];

/// x^8 + x^6 + x^5 + x^3 + 1, without its first term.
const SPREAD_FIELD: u8 = 0x69;

/// The code that makes eight bytes of the key into four.
const SHORTEN: [[u8; 8]; 4] = [
    [0x01, 0xa4, 0x55, 0x87, 0x5a, 0x58, 0xdb, 0x9e],
    [0xa4, 0x56, 0x82, 0xf3, 0x1e, 0xc6, 0x68, 0xe5],
    [0x02, 0xa1, 0xfc, 0xc1, 0x47, 0xae, 0x3d, 0x19],
    [0xa4, 0x55, 0x87, 0x5a, 0x58, 0xdb, 0x9e, 0x03],
];

/// x^8 + x^6 + x^3 + x^2 + 1, without its first term.
const SHORTEN_FIELD: u8 = 0x4d;

const ROUNDS: usize = 16;

const fn permutation(nibbles: &[[u8; 16]; 4]) -> [u8; 256] {
    let mut out = [0; 256];
    let mut x = 0_u8;
    loop {
        let (a, b) = mix(x >> 4, x & 15);
        let (a, b) = mix(nibbles[0][a as usize], nibbles[1][b as usize]);
        out[x as usize] = (nibbles[3][b as usize] << 4) | nibbles[2][a as usize];
        if x == u8::MAX {
            return out;
        }
        x += 1;
    }
}

const fn mix(a: u8, b: u8) -> (u8, u8) {
    (a ^ b, (a ^ ((b << 3) | (b >> 1)) ^ (a << 3)) & 15)
}

/// A product of polynomials over GF(2).
fn times(mut a: u8, mut b: u8, field: u8) -> u8 {
    let mut out = 0;
    while a != 0 {
        out ^= b * (a & 1);
        b = (b << 1) ^ (field * (b >> 7));
        a >>= 1;
    }
    out
}

/// One byte of a word, in `column` of it, through the permutations; `words` in the order they are used.
fn substitute(column: usize, byte: u8, words: &[[u8; 4]]) -> u8 {
    let order = &ORDER[column][4 - words.len()..];
    words.iter().zip(&order[1..]).fold(
        Q[order[0]][usize::from(byte)],
        |byte, (word, permutation)| Q[*permutation][usize::from(byte ^ word[column])],
    )
}

fn spread(column: usize, byte: u8) -> u32 {
    u32::from_le_bytes(SPREAD[column].map(|factor| times(byte, factor, SPREAD_FIELD)))
}

/// The function h of a word whose four bytes are equal.
fn h(byte: u8, words: &[[u8; 4]]) -> u32 {
    (0..4)
        .map(|column| spread(column, substitute(column, byte, words)))
        .fold(0, |all, part| all ^ part)
}

/// Twofish with its key.
pub(super) struct Twofish {
    /// What a byte of a word adds to the function g, one table a place.
    g: [[u32; 256]; 4],
    /// Four words of whitening before, four after, and two a round.
    keys: [u32; 8 + 2 * ROUNDS],
}

impl Twofish {
    fn g(&self, word: u32) -> u32 {
        let [a, b, c, d] = word.to_le_bytes().map(usize::from);
        self.g[0][a] ^ self.g[1][b] ^ self.g[2][c] ^ self.g[3][d]
    }

    /// What a round adds to its two other words.
    fn f(&self, round: usize, a: u32, b: u32) -> (u32, u32) {
        let (a, b) = (self.g(a), self.g(b.rotate_left(8)));
        let sum = a.wrapping_add(b);
        (
            sum.wrapping_add(self.keys[8 + 2 * round]),
            sum.wrapping_add(b).wrapping_add(self.keys[9 + 2 * round]),
        )
    }

    fn whiten(&self, words: [u32; 4], first: usize) -> [u32; 4] {
        std::array::from_fn(|n| words[n] ^ self.keys[first + n])
    }

    fn encrypt(&self, block: &[u8; 16]) -> [u8; 16] {
        let [mut a, mut b, mut c, mut d] = self.whiten(load(block), 0);
        for round in 0..ROUNDS {
            let (first, second) = self.f(round, a, b);
            (a, b, c, d) = ((c ^ first).rotate_right(1), d.rotate_left(1) ^ second, a, b);
        }
        store(self.whiten([c, d, a, b], 4))
    }

    fn decrypt(&self, block: &[u8; 16]) -> [u8; 16] {
        let [mut c, mut d, mut a, mut b] = self.whiten(load(block), 4);
        for round in (0..ROUNDS).rev() {
            let (first, second) = self.f(round, c, d);
            (a, b, c, d) = (c, d, a.rotate_left(1) ^ first, (b ^ second).rotate_right(1));
        }
        store(self.whiten([a, b, c, d], 0))
    }
}

fn load(block: &[u8; 16]) -> [u32; 4] {
    let (words, _) = block.as_chunks();
    std::array::from_fn(|n| u32::from_le_bytes(words[n]))
}

fn store(words: [u32; 4]) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, word) in out.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    out
}

impl KeySizeUser for Twofish {
    type KeySize = U32;
}

impl KeyInit for Twofish {
    fn new(key: &Key<Self>) -> Self {
        Self::of(key)
    }

    fn new_from_slice(key: &[u8]) -> Result<Self, InvalidLength> {
        match key.len() {
            16 | 24 | 32 => Ok(Self::of(key)),
            _ => Err(InvalidLength),
        }
    }
}

impl Twofish {
    /// `key` is two, three or four times eight bytes.
    fn of(key: &[u8]) -> Self {
        // Of each eight bytes the first four, the last four, and what both are shortened to.
        let mut words = [[[0_u8; 4]; 4]; 3];
        let (eights, _) = key.as_chunks::<8>();
        let used = eights.len();
        for (n, eight) in eights.iter().enumerate() {
            // The last words of the key are used first, but the first of the shortened ones.
            words[0][used - 1 - n].copy_from_slice(&eight[..4]);
            words[1][used - 1 - n].copy_from_slice(&eight[4..]);
            words[2][n] = SHORTEN.map(|row| {
                let products = row.iter().zip(eight);
                products.fold(0, |sum, (a, b)| sum ^ times(*b, *a, SHORTEN_FIELD))
            });
        }
        let mut out = Self {
            g: [[0; 256]; 4],
            keys: [0; 8 + 2 * ROUNDS],
        };
        for (pair, n) in out.keys.chunks_exact_mut(2).zip((0_u8..).step_by(2)) {
            let a = h(n, &words[0][..used]);
            let b = h(n + 1, &words[1][..used]).rotate_left(8);
            pair[0] = a.wrapping_add(b);
            pair[1] = pair[0].wrapping_add(b).rotate_left(9);
        }
        for (column, table) in out.g.iter_mut().enumerate() {
            for (entry, byte) in table.iter_mut().zip(0..=u8::MAX) {
                *entry = spread(column, substitute(column, byte, &words[2][..used]));
            }
        }
        words.zeroize();
        out
    }
}

impl Drop for Twofish {
    fn drop(&mut self) {
        self.g.zeroize();
        self.keys.zeroize();
    }
}

impl BlockSizeUser for Twofish {
    type BlockSize = U16;
}

impl ParBlocksSizeUser for Twofish {
    type ParBlocksSize = U1;
}

impl BlockCipherEncrypt for Twofish {
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        f.call(self);
    }
}

impl BlockCipherDecrypt for Twofish {
    fn decrypt_with_backend(&self, f: impl BlockCipherDecClosure<BlockSize = U16>) {
        f.call(self);
    }
}

impl BlockCipherEncBackend for Twofish {
    fn encrypt_block(&self, mut block: InOut<'_, '_, Block<Self>>) {
        let out = self.encrypt(block.get_in().as_ref());
        *block.get_out() = out.into();
    }
}

impl BlockCipherDecBackend for Twofish {
    fn decrypt_block(&self, mut block: InOut<'_, '_, Block<Self>>) {
        let out = self.decrypt(block.get_in().as_ref());
        *block.get_out() = out.into();
    }
}
