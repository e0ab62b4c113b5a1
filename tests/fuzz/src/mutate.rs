//! Mutation: of inputs as bytes, for the smoke run, and of images as words, for the targets.

/// A small random source: same seed, same run.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A source that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.word() % bound).unwrap_or(0)
    }
}

/// Changes an input a little: flips, interesting bytes, cuts, repeats, growth.
pub fn bytes(input: &mut Vec<u8>, random: &mut Random) {
    const ODD: [u8; 10] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\\', b',', b'='];
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(6) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = ODD[random.below(ODD.len())],
            2 => input.truncate(at),
            3 => input.insert(at, ODD[random.below(ODD.len())]),
            4 => {
                let word = random.word().to_be_bytes();
                input.splice(at..at, word);
            }
            _ => {
                let from = random.below(input.len() + 1);
                let piece = input[from.min(at)..from.max(at)].to_vec();
                if piece.len() + input.len() < 4096 {
                    input.splice(at..at, piece);
                }
            }
        }
    }
}

/// Changes 1 to 4 of the big-endian words that lie at `places` of an image, as `script` says: a place, an
/// operation, a value.
pub fn words(image: &mut [u8], places: &[usize], script: &[u8]) {
    for step in script.chunks(11).take(4) {
        let mut padded = [0; 11];
        padded[..step.len()].copy_from_slice(step);
        let pick = usize::from(u16::from_be_bytes([padded[0], padded[1]]));
        let Some(at) = places.get(pick % places.len().max(1)) else {
            return;
        };
        let mut value = [0; 8];
        value.copy_from_slice(&padded[3..]);
        let value = u64::from_be_bytes(value);
        let Some(slot) = image.get_mut(*at..*at + 8) else {
            continue;
        };
        let mut old = [0; 8];
        old.copy_from_slice(slot);
        let old = u64::from_be_bytes(old);
        let new = match padded[2] % 8 {
            0 => value,
            1 => old ^ (1 << (value % 64)),
            2 => old.wrapping_add(value % 4096 * 512),
            3 => old.wrapping_sub(value % 4096 * 512),
            4 => 0,
            5 => u64::MAX,
            6 => old << 1,
            _ => old.rotate_left(8),
        };
        slot.copy_from_slice(&new.to_be_bytes());
    }
}
