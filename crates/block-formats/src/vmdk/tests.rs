//! Descriptors and headers: what is understood, what is refused.

use super::descriptor::{Kind, create_type, extents, hex, looks_like, quoted, with_cid};
use super::header::{HEADER, Header, Layout};
use crate::bytes::{put_le32, put_le64};

const TEXT: &str = "# Disk DescriptorFile\nversion=1\nCID=12ab\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n\n\
    RW 100 FLAT \"a b.vmdk\" 7\nRW 5 SPARSE \"c.vmdk\"\nRDONLY 5 FLAT \"d.vmdk\" 0\nRW 0 SPARSE \"e.vmdk\"\n";

#[test]
fn descriptors_are_known() {
    assert!(looks_like(TEXT.as_bytes()));
    assert!(looks_like(b"  \r\nversion=3\r\n"));
    assert!(!looks_like(b"version=4\n"));
    assert!(!looks_like(b"\nversion=1\n"));
}

#[test]
fn descriptors_are_read() {
    assert_eq!(hex(TEXT, "CID="), Some(0x12ab));
    assert_eq!(hex(TEXT, "parentCID="), Some(u32::MAX));
    assert_eq!(
        create_type(TEXT).expect("it is known"),
        "twoGbMaxExtentFlat"
    );
    let all = extents(TEXT).expect("they are good");
    assert_eq!(all.len(), 2);
    assert_eq!(
        (all[0].sectors, all[0].kind, all[0].file.as_str()),
        (100, Kind::Flat(3584), "a b.vmdk")
    );
    assert_eq!(all[1].word, "SPARSE");
    for line in [
        "RW 5 FLAT \"a\"",
        "RW 5 FLAT \"a\" -1",
        "RW 5 SPARSE \"a\" 1",
    ] {
        let error = extents(line).expect_err(line);
        assert_eq!(error.to_string(), format!("Invalid extent line: {line}"));
    }
}

#[test]
fn an_id_is_replaced() {
    let new = with_cid(TEXT, 0xdead_beef).expect("it has one");
    assert!(new.contains("version=1\nCID=deadbeef\nparentCID=ffffffff\n"));
    assert_eq!(quoted(&new, "createType"), Some("twoGbMaxExtentFlat"));
}

fn good() -> [u8; HEADER] {
    Layout {
        capacity: 10240,
        packed: false,
        zero_grains: false,
    }
    .header()
}

#[test]
fn what_cannot_be_is_refused() {
    assert!(Header::decode(&good()).is_ok());
    let cases: [(usize, u64, &str); 5] = [
        (4, 9 | 3 << 32, "Unsupported VMDK version 9"),
        (20, 0, "L1 entry size is invalid"),
        (20, 1 << 30, "Invalid granularity, image may be corrupt"),
        (12, 1 << 50, "L1 size too big"),
        (56, 1 << 60, "Grain directory is too far away"),
    ];
    for (at, value, words) in cases {
        let mut bytes = good();
        put_le64(&mut bytes, at, value);
        let error = Header::decode(&bytes).expect_err(words);
        assert_eq!(error.to_string(), words);
    }
    let mut bytes = good();
    put_le32(&mut bytes, 44, 513);
    let error = Header::decode(&bytes).expect_err("tables have 512 entries at most");
    assert_eq!(error.to_string(), "L2 table size too big");
}
