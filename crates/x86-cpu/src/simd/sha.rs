//! SHA-1 and SHA-256 steps (FIPS 180-4), on the word order of the SHA extensions: the first word of a
//! message or state is in the highest lane for SHA-1, in the lowest for SHA-256.

use super::lanes::Lanes;

/// SHA1NEXTE.
pub fn sha1nexte(a: u128, b: u128) -> u128 {
    let mut words = u32::split(b);
    words[3] = words[3].wrapping_add(u32::split(a)[3].rotate_left(30));
    u32::join(words)
}

/// SHA1MSG1.
pub fn sha1msg1(a: u128, b: u128) -> u128 {
    let (a, b) = (u32::split(a), u32::split(b));
    u32::join([b[2] ^ a[0], b[3] ^ a[1], a[0] ^ a[2], a[1] ^ a[3]])
}

/// SHA1MSG2.
pub fn sha1msg2(a: u128, b: u128) -> u128 {
    let (a, b) = (u32::split(a), u32::split(b));
    let w16 = (a[3] ^ b[2]).rotate_left(1);
    let w17 = (a[2] ^ b[1]).rotate_left(1);
    let w18 = (a[1] ^ b[0]).rotate_left(1);
    let w19 = (a[0] ^ w16).rotate_left(1);
    u32::join([w19, w18, w17, w16])
}

/// SHA1RNDS4.
pub fn sha1rnds4(state: u128, message: u128, immediate: u8) -> u128 {
    let [mut d, mut c, mut b, mut a] = u32::split(state);
    let mut e = 0_u32;
    let constant = match immediate & 3 {
        0 => 0x5a82_7999,
        1 => 0x6ed9_eba1,
        2 => 0x8f1b_bcdc,
        _ => 0xca62_c1d6_u32,
    };
    for word in u32::split(message).into_iter().rev() {
        let f = match immediate & 3 {
            0 => (b & c) ^ (!b & d),
            2 => (b & c) ^ (b & d) ^ (c & d),
            _ => b ^ c ^ d,
        };
        let next = f
            .wrapping_add(a.rotate_left(5))
            .wrapping_add(word)
            .wrapping_add(e)
            .wrapping_add(constant);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    u32::join([d, c, b, a])
}

/// SHA256MSG1.
pub fn sha256msg1(a: u128, b: u128) -> u128 {
    let (w, next) = (u32::split(a), u32::split(b)[0]);
    let sigma = |x: u32| x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
    u32::join([
        w[0].wrapping_add(sigma(w[1])),
        w[1].wrapping_add(sigma(w[2])),
        w[2].wrapping_add(sigma(w[3])),
        w[3].wrapping_add(sigma(next)),
    ])
}

/// SHA256MSG2.
pub fn sha256msg2(a: u128, b: u128) -> u128 {
    let (w, last) = (u32::split(a), u32::split(b));
    let sigma = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10);
    let w16 = w[0].wrapping_add(sigma(last[2]));
    let w17 = w[1].wrapping_add(sigma(last[3]));
    u32::join([
        w16,
        w17,
        w[2].wrapping_add(sigma(w16)),
        w[3].wrapping_add(sigma(w17)),
    ])
}

/// SHA256RNDS2: `cdgh` is the register written, `words` the implicit XMM0.
pub fn sha256rnds2(cdgh: u128, abef: u128, words: u128) -> u128 {
    let [mut h, mut g, mut d, mut c] = u32::split(cdgh);
    let [mut f, mut e, mut b, mut a] = u32::split(abef);
    for word in u32::split(words).into_iter().take(2) {
        let ch = (e & f) ^ (!e & g);
        let maj = (a & b) ^ (a & c) ^ (b & c);
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t = ch.wrapping_add(s1).wrapping_add(word).wrapping_add(h);
        (h, g, f, e) = (g, f, e, d.wrapping_add(t));
        (d, c, b, a) = (c, b, a, t.wrapping_add(maj).wrapping_add(s0));
    }
    u32::join([f, e, b, a])
}
