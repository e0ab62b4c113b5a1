//! Heads that must be refused.

use super::header::{HEADER, Header, is_bochs};
use crate::bytes::{put_le32, put_le64};

fn good() -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..22].copy_from_slice(b"Bochs Virtual HD Image");
    bytes[32..39].copy_from_slice(b"Redolog");
    bytes[48..55].copy_from_slice(b"Growing");
    put_le32(&mut bytes, 64, 0x2_0000);
    put_le32(&mut bytes, 68, 512);
    put_le32(&mut bytes, 72, 8);
    put_le32(&mut bytes, 76, 1);
    put_le32(&mut bytes, 80, 4096);
    put_le64(&mut bytes, 88, 8 * 4096);
    bytes
}

#[test]
fn both_versions_are_read() {
    let header = Header::decode(&good()).unwrap();
    assert_eq!((header.sectors, header.bitmap_sectors), (64, 1));
    let mut bytes = good();
    put_le32(&mut bytes, 64, 0x1_0000);
    put_le32(&mut bytes, 84, 4096);
    put_le64(&mut bytes, 88, 0);
    assert_eq!(Header::decode(&bytes).unwrap().sectors, 8);
}

#[test]
fn what_cannot_be_is_refused() {
    let cases = [
        (64, 3, "Image not in Bochs format"),
        (72, 0x10_0001, "Catalog size is too large"),
        (80, 0, "Extent size must be at least 512"),
        (80, 768, "Extent size 768 is not a power of two"),
        (80, 0x100_0000, "Extent size 16777216 is too large"),
        (72, 7, "Catalog size is too small for this disk size"),
    ];
    for (at, value, words) in cases {
        let mut bytes = good();
        put_le32(&mut bytes, at, value);
        let error = Header::decode(&bytes).expect_err(words);
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn a_longer_magic_text_is_another_format() {
    let mut bytes = good();
    bytes[22] = b'x';
    assert!(!is_bochs(&bytes));
}
