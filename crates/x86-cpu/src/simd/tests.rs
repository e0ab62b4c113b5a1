//! Published examples.

use super::{aes, poly, sha, strings};

/// Bytes as they are written down.
fn block(hex: u128) -> u128 {
    hex.swap_bytes()
}

#[test]
fn aes_round_of_the_standard() {
    // FIPS 197, appendix B: the start of round 1, its key, and the start of round 2.
    let state = block(0x193d_e3be_a0f4_e22b_9ac6_8d2a_e9f8_4808);
    let key = block(0xa0fa_fe17_8854_2cb1_23a3_3939_2a6c_7605);
    let next = block(0xa49c_7ff2_689f_352b_6b5b_ea43_026a_5049);
    assert_eq!(aes::aesenc(state, key), next);
}

#[test]
fn decryption_undoes_encryption() {
    let (state, key) = (0x0123_4567_89ab_cdef_0011_2233_4455_6677, 0x1111_2222_3333);
    let mixed = aes::aesenc(state, 0);
    // AESDEC undoes the round of another order, so undo the column mix first.
    assert_eq!(aes::aesdeclast(aes::aesimc(mixed), key) ^ key, state);
}

#[test]
fn crc32c_of_the_digits() {
    assert_eq!(!poly::crc32(!0, b"123456789"), 0xe306_9283);
}

#[test]
fn carryless_product() {
    assert_eq!(poly::pclmulqdq(3, 3, 0), 5);
    assert_eq!(poly::pclmulqdq(1 << 64, 7, 1), 7);
}

#[test]
fn sha256_schedule_of_zeros_is_zero() {
    assert_eq!(sha::sha256msg1(0, 0), 0);
    assert_eq!(sha::sha256msg2(0, 0), 0);
}

#[test]
fn a_needle_is_found_in_a_haystack() {
    let text = u128::from_le_bytes(*b"where is waldo?\0");
    let needle = u128::from_le_bytes(*b"waldo\0\0\0\0\0\0\0\0\0\0\0");
    let ordered = 0b1100;
    let lengths = |s| strings::implicit_length(s, ordered);
    let found = strings::compare(needle, lengths(needle), text, lengths(text), ordered);
    assert_eq!(found.index(ordered), 9);
}
