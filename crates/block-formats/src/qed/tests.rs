//! Headers that must be refused.

use super::header::{HEADER, Header};
use crate::bytes::{put_le32, put_le64};

const LENGTH: u64 = 1 << 20;

fn good() -> [u8; HEADER] {
    let header = Header {
        cluster_size: 65536,
        table_size: 4,
        header_clusters: 1,
        l1_offset: 65536,
        image_size: 1 << 30,
        ..Header::default()
    };
    header.encode()
}

#[test]
fn what_cannot_be_is_refused() {
    assert!(Header::decode(&good(), LENGTH).is_ok());
    let cases: [(usize, u32, &str); 5] = [
        (16, 8, "Unsupported QED features: 8"),
        (4, 2048, "QED cluster size is invalid"),
        (8, 3, "QED table size is invalid"),
        (48, 100, "QED image size is invalid"),
        (40, 4096, "QED table offset is invalid"),
    ];
    for (at, value, words) in cases {
        let mut bytes = good();
        put_le32(&mut bytes, at, value);
        let error = Header::decode(&bytes, LENGTH).expect_err(words);
        assert_eq!(error.to_string(), words);
    }
    let mut bytes = good();
    put_le64(&mut bytes, 40, u64::MAX - 65535);
    assert!(Header::decode(&bytes, LENGTH).is_err());
}
