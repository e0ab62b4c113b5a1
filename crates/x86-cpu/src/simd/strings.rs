//! The string compares of SSE4.2: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
//!
//! ```text
//! immediate  bit 0    words, not bytes
//!            bit 1    signed
//!            bits 3:2 equal any, ranges, equal each, equal ordered
//!            bits 5:4 polarity: positive, negative, positive masked, negative masked
//!            bit 6    index: the last match; mask: whole lanes
//! ```

use super::lanes::Lanes;

/// What a compare found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// One bit an element, after polarity.
    pub bits: u32,
    /// Elements in a register.
    pub count: u32,
    /// The second string ends within its register.
    pub second_ends: bool,
    /// The first string ends within its register.
    pub first_ends: bool,
}

impl Found {
    /// The result of PCMPxSTRI.
    #[must_use]
    pub fn index(&self, immediate: u8) -> u32 {
        match self.bits {
            0 => self.count,
            bits if immediate & 0x40 == 0 => bits.trailing_zeros(),
            bits => 31 - bits.leading_zeros(),
        }
    }

    /// The result of PCMPxSTRM.
    #[must_use]
    pub fn mask(&self, immediate: u8) -> u128 {
        if immediate & 0x40 == 0 {
            return self.bits.into();
        }
        let width = 128 / self.count;
        let lane = u128::MAX >> (128 - width);
        (0..self.count)
            .filter(|i| self.bits >> i & 1 != 0)
            .fold(0, |all, i| all | (lane << (i * width)))
    }
}

fn elements(value: u128, immediate: u8) -> Vec<i32> {
    match immediate & 3 {
        0 => u8::split(value).map(i32::from).to_vec(),
        1 => u16::split(value).map(i32::from).to_vec(),
        2 => i8::split(value).map(i32::from).to_vec(),
        _ => i16::split(value).map(i32::from).to_vec(),
    }
}

/// The length of an explicit string from EAX or EDX (RAX or RDX sign-extended).
#[must_use]
pub fn explicit_length(register: i64, immediate: u8) -> usize {
    let limit = if immediate & 1 == 0 { 16 } else { 8 };
    usize::try_from(register.unsigned_abs().min(limit)).unwrap_or(0)
}

/// The length of a string that ends with a zero element.
#[must_use]
pub fn implicit_length(value: u128, immediate: u8) -> usize {
    let all = elements(value, immediate);
    all.iter().position(|&x| x == 0).unwrap_or(all.len())
}

/// Compares the string in `a` (the register operand) with the one in `b`.
#[must_use]
pub fn compare(a: u128, a_length: usize, b: u128, b_length: usize, immediate: u8) -> Found {
    let (first, second) = (elements(a, immediate), elements(b, immediate));
    let count = first.len();
    let (set, text) = (
        &first[..a_length.min(count)],
        &second[..b_length.min(count)],
    );
    let hit = |i: usize| match immediate >> 2 & 3 {
        0 => text.get(i).is_some_and(|x| set.contains(x)),
        1 => text
            .get(i)
            .is_some_and(|x| set.chunks_exact(2).any(|r| r[0] <= *x && *x <= r[1])),
        2 => set.get(i) == text.get(i),
        // Past the end of the register there is nothing to compare, so the rest counts as equal.
        _ => set
            .iter()
            .zip(i..count)
            .all(|(x, place)| text.get(place) == Some(x)),
    };
    let bits = (0..count)
        .rev()
        .fold(0, |all, i| (all << 1) | u32::from(hit(i)));
    let all = u32::MAX >> (32 - count);
    let valid = (1_u32 << text.len()) - 1;
    let bits = match immediate >> 4 & 3 {
        1 => bits ^ all,
        3 => bits ^ valid,
        _ => bits,
    };
    Found {
        bits,
        count: if immediate & 1 == 0 { 16 } else { 8 },
        second_ends: b_length < count,
        first_ends: a_length < count,
    }
}
