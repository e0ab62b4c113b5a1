//! A second deflate coder (RFC 1951), for clusters full of records: tables of inodes, of entries, of samples.
//!
//! Whoever takes the longest match finds, for most records, one that is a byte longer somewhere far back, and pays more for
//! the distance than the byte is worth. This coder weighs the two. It knows two candidates for a match: the last place
//! where the same four bytes were, and the distance it used last.

use super::huffman::{Bits, Code, write_codes};

/// Most symbols of a block: codes follow the data.
const BLOCK: usize = 1 << 15;
/// Places are remembered by so many bits of a hash of the four bytes there.
const HASH_BITS: u32 = 13;
/// Longest match and distance that the format knows.
const MAX_LEN: usize = 258;
const MAX_DISTANCE: usize = 32 << 10;
/// The symbol that ends a block; those of lengths follow it.
const END: usize = 256;

/// Smallest length and number of further bits of the symbols for lengths, and the same for distances.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const DISTANCES: [(u16, u8); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];

/// A literal (distance 0, the byte in `len`) or a match.
#[derive(Clone, Copy)]
struct Token {
    distance: u16,
    len: u16,
}

/// A match and about how many bits it saves; of length 0: none.
#[derive(Default, Clone, Copy)]
struct Match {
    saved: usize,
    distance: usize,
    len: usize,
}

/// Memory for coding, kept from one cluster to the next.
pub(super) struct Coder {
    /// Places by hash, counted from 1.
    heads: Vec<u32>,
    tokens: Vec<Token>,
    /// Symbols of lengths, counted from 0.
    length_symbols: [u8; MAX_LEN + 1],
}

impl Default for Coder {
    fn default() -> Self {
        let mut length_symbols = [0; MAX_LEN + 1];
        for (symbol, (least, _)) in (0..).zip(LENGTHS) {
            length_symbols[usize::from(least)..].fill(symbol);
        }
        Self {
            heads: vec![0; 1 << HASH_BITS],
            tokens: Vec::new(),
            length_symbols,
        }
    }
}

/// Whether bytes are the same at one distance all over the data, as a sample of places shows.
pub(super) fn looks_like_records(data: &[u8]) -> bool {
    const SAMPLES: usize = 32;
    const LONGEST: usize = 256;
    // Odd, so that every part of a record is met.
    let step = (data.len() / SAMPLES) | 1;
    if step < LONGEST * 2 {
        return false;
    }
    let (mut last, mut alike) = (0, 0);
    for at in (LONGEST..data.len()).step_by(step) {
        let word = word_at(data, at);
        // Long runs of one byte are no records.
        let found = (1..=LONGEST).find(|back| word_at(data, at - back) == word);
        if let (Some(back), Some(_)) = (found, word) {
            alike += usize::from(back == last && back > 1);
            last = back;
        }
    }
    alike * 4 >= SAMPLES
}

fn word_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// How many bytes at `at` are those at `from`, which is before it.
fn match_len(data: &[u8], from: usize, at: usize) -> usize {
    let most = (data.len() - at).min(MAX_LEN);
    let (a, b) = (&data[from..from + most], &data[at..at + most]);
    let mut len = 0;
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        if x != y {
            break;
        }
        len += 8;
    }
    let rest = a[len..].iter().zip(&b[len..]);
    len + rest.take_while(|(x, y)| x == y).count()
}

impl Coder {
    /// Codes `data`. `None`: it does not fit into `out`.
    pub(super) fn code(&mut self, data: &[u8], out: &mut [u8]) -> Option<usize> {
        self.heads.fill(0);
        let mut bits = Bits::new(out);
        let (mut at, mut last) = (0, 0);
        loop {
            at = self.parse(data, at, &mut last);
            self.write_block(&mut bits, at >= data.len())?;
            if at >= data.len() {
                return bits.finish();
            }
        }
    }

    /// Turns data into the symbols of a block; gives where the next one begins.
    fn parse(&mut self, data: &[u8], mut at: usize, last: &mut usize) -> usize {
        self.tokens.clear();
        let mut ahead = None;
        while at < data.len() && self.tokens.len() < BLOCK {
            let found = ahead.take().unwrap_or_else(|| self.find(data, at, *last));
            if found.saved > 0 {
                let next = self.find(data, at + 1, *last);
                if next.saved <= found.saved {
                    self.push(found.distance, found.len);
                    *last = found.distance;
                    at += found.len;
                    continue;
                }
                ahead = Some(next);
            }
            self.push(0, usize::from(data[at]));
            at += 1;
        }
        at
    }

    fn push(&mut self, distance: usize, len: usize) {
        // Both are bounded by the format.
        self.tokens.push(Token {
            distance: u16::try_from(distance).unwrap_or(u16::MAX),
            len: u16::try_from(len).unwrap_or(u16::MAX),
        });
    }

    /// The best match at `at`, which is remembered.
    fn find(&mut self, data: &[u8], at: usize, last: usize) -> Match {
        let Some(word) = word_at(data, at) else {
            return Match::default();
        };
        let hash = word.wrapping_mul(0x9e37_79b1) >> (u32::BITS - HASH_BITS);
        let head = &mut self.heads[hash as usize];
        let before = *head as usize;
        *head = u32::try_from(at + 1).unwrap_or(0);
        let mut best = Match::default();
        // The place itself is met again when it was looked at ahead.
        for distance in [(at + 1).wrapping_sub(before), last] {
            if distance == 0 || distance > MAX_DISTANCE.min(at) || distance == best.distance {
                continue;
            }
            let from = at - distance;
            if word_at(data, from) == Some(word) {
                let len = match_len(data, from, at);
                let cost = 2 * distance.ilog2() as usize;
                let saved = (len * 8).saturating_sub(cost);
                if saved > best.saved {
                    best = Match {
                        saved,
                        distance,
                        len,
                    };
                }
            }
        }
        best
    }

    fn write_block(&self, bits: &mut Bits<'_>, is_last: bool) -> Option<()> {
        let mut literals = [0; END + 1 + LENGTHS.len()];
        let mut distances = [0; DISTANCES.len()];
        for token in &self.tokens {
            if token.distance == 0 {
                literals[usize::from(token.len)] += 1;
            } else {
                literals[END + 1 + self.length_symbol(token.len)] += 1;
                distances[distance_symbol(token.distance)] += 1;
            }
        }
        literals[END] = 1;
        let (literals, distances) = (Code::new(&literals), Code::new(&distances));
        // Codes of its own.
        bits.put(u16::from(is_last) | (2 << 1), 3)?;
        write_codes(bits, &literals, &distances)?;
        for token in &self.tokens {
            if token.distance == 0 {
                literals.put(bits, usize::from(token.len))?;
                continue;
            }
            let symbol = self.length_symbol(token.len);
            let (least, extra) = LENGTHS[symbol];
            literals.put(bits, END + 1 + symbol)?;
            bits.put(token.len - least, extra)?;
            let symbol = distance_symbol(token.distance);
            let (least, extra) = DISTANCES[symbol];
            distances.put(bits, symbol)?;
            bits.put(token.distance - least, extra)?;
        }
        literals.put(bits, END)
    }

    fn length_symbol(&self, len: u16) -> usize {
        usize::from(self.length_symbols[usize::from(len)])
    }
}

fn distance_symbol(distance: u16) -> usize {
    let before = distance - 1;
    if before < 4 {
        return usize::from(before);
    }
    let top = before.ilog2();
    top as usize * 2 + usize::from((before >> (top - 1)) & 1)
}
