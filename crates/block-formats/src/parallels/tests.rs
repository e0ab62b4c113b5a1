//! Headers that must be refused, and where data starts.

use super::header::{HEADER, Header};
use crate::bytes::put_le32;

fn header() -> Header {
    Header {
        ext: true,
        tracks: 2048,
        entries: 10,
        size: 10 << 20,
        in_use: false,
        data: 2048,
    }
}

#[test]
fn a_header_reads_back() {
    assert_eq!(
        Header::decode(&header().encode()).expect("it is good"),
        header()
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let cases: [(usize, u32, &str); 4] = [
        (16, 3, "Image not in Parallels format"),
        (28, 0, "Invalid image: Zero sectors per track"),
        (28, u32::MAX, "Invalid image: Too big cluster"),
        (32, u32::MAX, "Catalog too large"),
    ];
    for (at, value, words) in cases {
        let mut bytes: [u8; HEADER] = header().encode();
        put_le32(&mut bytes, at, value);
        let error = Header::decode(&bytes).expect_err(words);
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn data_starts_behind_the_array() {
    let length = 20 << 20;
    assert_eq!(header().data_start(length), (1 << 20, true));
    let wrong = Header {
        data: 1,
        ..header()
    };
    assert_eq!(wrong.data_start(length), (1 << 20, false));
    let old = Header {
        ext: false,
        data: 0,
        ..header()
    };
    assert_eq!(old.data_start(length), (512, true));
}
