//! Bits and prefix codes of deflate streams (RFC 1951, 3.2).

/// Longest word of a code, and of the code that codes are stored with.
const MAX_BITS: u8 = 15;
const MAX_BITS_STORED: u8 = 7;
/// The order in which that code's own lengths are stored.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// Bits on their way into a buffer, lowest first.
pub(super) struct Bits<'a> {
    out: &'a mut [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self {
            out,
            at: 0,
            held: 0,
            count: 0,
        }
    }

    /// Adds `count` bits. `None`: there is no room.
    pub(super) fn put(&mut self, bits: u16, count: u8) -> Option<()> {
        self.held |= u64::from(bits) << self.count;
        self.count += u32::from(count);
        if self.count >= 32 {
            let room = self.out.get_mut(self.at..self.at + 4)?;
            room.copy_from_slice(&self.held.to_le_bytes()[..4]);
            self.at += 4;
            self.held >>= 32;
            self.count -= 32;
        }
        Some(())
    }

    /// Writes what is left; the length of all.
    pub(super) fn finish(self) -> Option<usize> {
        let len = self.count.div_ceil(8) as usize;
        let room = self.out.get_mut(self.at..self.at + len)?;
        room.copy_from_slice(&self.held.to_le_bytes()[..len]);
        Some(self.at + len)
    }
}

/// A canonical prefix code: of each symbol the length of its word, 0 if it has none, and the word, first bit lowest.
pub(super) struct Code(Vec<(u8, u16)>);

impl Code {
    /// The code for symbols that come so often. Those that never come have no word.
    pub(super) fn new(counts: &[u32]) -> Self {
        Self::limited(counts, MAX_BITS)
    }

    fn limited(counts: &[u32], most: u8) -> Self {
        let used = (0..).zip(counts).filter(|(_, count)| **count > 0);
        let mut used: Vec<(u32, usize)> = used.map(|(symbol, count)| (*count, symbol)).collect();
        let mut lengths = vec![0; counts.len()];
        if let [(_, symbol)] = used.as_slice() {
            // A code of one word is one bit long.
            lengths[*symbol] = 1;
        } else if !used.is_empty() {
            used.sort_unstable();
            let depths = limit(&depths(&used), most);
            for ((_, symbol), length) in used.iter().zip(depths) {
                lengths[*symbol] = length;
            }
        }
        Self(words(&lengths))
    }

    pub(super) fn put(&self, bits: &mut Bits<'_>, symbol: usize) -> Option<()> {
        let (length, word) = self.0[symbol];
        bits.put(word, length)
    }

    /// How many lengths are stored, at least so many.
    fn stored(&self, least: usize) -> usize {
        let last = self.0.iter().rposition(|(length, _)| *length > 0);
        last.map_or(0, |last| last + 1).max(least)
    }
}

/// Depths in a Huffman tree of leaves in the order of their weights, at least two.
fn depths(leaves: &[(u32, usize)]) -> Vec<u8> {
    let count = leaves.len();
    // Leaves come first; the nodes behind them are made in the order of their weights.
    let mut weights: Vec<u64> = leaves.iter().map(|leaf| u64::from(leaf.0)).collect();
    let mut parents = vec![0; 2 * count - 1];
    let (mut leaf, mut inner) = (0, count);
    for node in count..2 * count - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            let is_leaf = leaf < count && (inner >= node || weights[leaf] <= weights[inner]);
            let child = if is_leaf { &mut leaf } else { &mut inner };
            sum += weights[*child];
            parents[*child] = node;
            *child += 1;
        }
        weights.push(sum);
    }
    let mut depths = vec![0_u8; 2 * count - 1];
    for node in (0..2 * count - 2).rev() {
        depths[node] = depths[parents[node]].saturating_add(1);
    }
    depths.truncate(count);
    depths
}

/// Lengths of at most `most` in place of depths, deepest first, that still make a complete code.
fn limit(depths: &[u8], most: u8) -> Vec<u8> {
    let mut lengths: Vec<u8> = depths.iter().map(|depth| (*depth).min(most)).collect();
    let room = 1_u32 << most;
    let mut used: u32 = lengths.iter().map(|length| room >> length).sum();
    while used > room {
        // The longest word that can grow costs least.
        let at = (0..lengths.len())
            .filter(|at| lengths[*at] < most)
            .max_by_key(|at| lengths[*at]);
        let Some(at) = at else { break };
        lengths[at] += 1;
        used -= room >> lengths[at];
    }
    // That may have made more room than was needed.
    while let Some(at) = (0..lengths.len())
        .filter(|at| room >> lengths[*at] <= room - used)
        .min_by_key(|at| lengths[*at])
    {
        used += room >> lengths[at];
        lengths[at] -= 1;
    }
    lengths
}

/// The canonical words for lengths.
fn words(lengths: &[u8]) -> Vec<(u8, u16)> {
    let mut counts = [0_u16; 16];
    for length in lengths.iter().filter(|length| **length > 0) {
        counts[usize::from(*length)] += 1;
    }
    let mut next = [0_u16; 17];
    for length in 1..16 {
        // What follows the last word of a complete code is never used.
        next[length + 1] = next[length].wrapping_add(counts[length]).wrapping_mul(2);
    }
    let word = |length: &u8| {
        if *length == 0 {
            return (0, 0);
        }
        let word = &mut next[usize::from(*length)];
        let reversed = word.reverse_bits() >> (16 - length);
        *word += 1;
        (*length, reversed)
    };
    lengths.iter().map(word).collect()
}

/// A symbol of the code that codes are stored with, and the bits behind it.
struct Run {
    symbol: usize,
    extra: u16,
    bits: u8,
}

fn runs(lengths: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut push = |symbol: usize, extra: usize, bits| {
        let extra = u16::try_from(extra).unwrap_or(0);
        runs.push(Run {
            symbol,
            extra,
            bits,
        });
    };
    for same in lengths.chunk_by(|a, b| a == b) {
        let symbol = usize::from(same[0]);
        let mut left = same.len();
        if symbol > 0 {
            push(symbol, 0, 0);
            left -= 1;
        }
        while left > 0 {
            let (code, least, most, bits) = match (symbol, left) {
                (0, 11..) => (18, 11, 138, 7),
                (0, 3..) => (17, 3, 10, 3),
                (1.., 3..) => (16, 3, 6, 2),
                _ => (symbol, 1, 1, 0),
            };
            let now = left.min(most);
            push(code, now - least, bits);
            left -= now;
        }
    }
    runs
}

/// Stores the codes of a block.
pub(super) fn write_codes(bits: &mut Bits<'_>, literals: &Code, distances: &Code) -> Option<()> {
    let (literal_count, distance_count) = (literals.stored(257), distances.stored(1));
    let stored = literals.0[..literal_count]
        .iter()
        .chain(&distances.0[..distance_count]);
    let lengths: Vec<u8> = stored.map(|(length, _)| *length).collect();
    let runs = runs(&lengths);
    let mut counts = [0; ORDER.len()];
    for run in &runs {
        counts[run.symbol] += 1;
    }
    let code = Code::limited(&counts, MAX_BITS_STORED);
    let last = ORDER.iter().rposition(|symbol| code.0[*symbol].0 > 0);
    let order_count = last.map_or(0, |last| last + 1).max(4);
    for (count, least, len) in [
        (literal_count, 257, 5),
        (distance_count, 1, 5),
        (order_count, 4, 4),
    ] {
        bits.put(u16::try_from(count - least).unwrap_or(0), len)?;
    }
    for symbol in &ORDER[..order_count] {
        bits.put(u16::from(code.0[*symbol].0), 3)?;
    }
    for run in &runs {
        code.put(bits, run.symbol)?;
        bits.put(run.extra, run.bits)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_complete_and_short_enough() {
        // Weights of Fibonacci's numbers make the deepest tree.
        let mut counts = vec![1_u32, 1];
        while counts.len() < 40 {
            counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
        }
        for most in [7, 9, 15] {
            let code = Code::limited(&counts, most);
            let longest = code.0.iter().map(|(length, _)| *length).max();
            assert_eq!(longest, Some(most));
            let used: u32 = code.0.iter().map(|(length, _)| (1 << most) >> length).sum();
            assert_eq!(used, 1 << most);
        }
    }

    #[test]
    fn one_symbol_has_a_word() {
        assert_eq!(Code::new(&[0, 5, 0]).0, [(0, 0), (1, 0), (0, 0)]);
        assert_eq!(Code::new(&[0, 0]).0, [(0, 0), (0, 0)]);
    }
}
