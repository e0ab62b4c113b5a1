//! Headers that must be refused, and what they are refused with.

use super::header::{BLOCK, HEADER, Header};
use crate::bytes::{put_le32, put_le64};

fn good() -> [u8; HEADER] {
    let header = Header {
        kind: 1,
        map_offset: 512,
        data_offset: 1024,
        size: 10 * BLOCK,
        blocks: 10,
        allocated: 0,
    };
    header.encode([[1; 16], [2; 16]])
}

#[test]
fn a_header_reads_back() {
    let header = Header::decode(&good()).expect("it is good");
    assert_eq!(
        (header.size, header.blocks, header.kind),
        (10 * BLOCK, 10, 1)
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let cases: [(usize, u32, &str); 6] = [
        (0x40, 1, "bad signature 00000001"),
        (0x44, 0x10002, "version 1.2"),
        (0x154, 513, "unaligned block map offset 0x201"),
        (0x178, 4096, "block size 4096 is not 1048576"),
        (0x180, 9, "image bitmap has room for 9437184"),
        (0x1b8, 1, "non-NULL parent UUID"),
    ];
    for (at, value, words) in cases {
        let mut bytes = good();
        put_le32(&mut bytes, at, value);
        let error = Header::decode(&bytes).expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut bytes = good();
    put_le64(&mut bytes, 0x170, u64::MAX);
    assert!(Header::decode(&bytes).is_err());
}
