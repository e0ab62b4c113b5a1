//! Entries of packed clusters, and headers that must be refused.

use super::{Header, Qcow};
use crate::blocks::{Cell, Packer, Scheme};
use crate::bytes::{put_be32, put_be64};

fn good() -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..4].copy_from_slice(b"QFI\xfb");
    put_be32(&mut bytes, 4, 1);
    put_be64(&mut bytes, 24, 1 << 20);
    bytes[32] = 12;
    bytes[33] = 9;
    bytes
}

#[test]
fn a_packed_entry_reads_back() {
    for cluster_bits in [9, 12, 16] {
        let scheme = Qcow {
            cluster_bits,
            sealed: None,
            backing: None,
            first: 0,
        };
        let raw = scheme.packed_raw(0x1234_5678, 300);
        assert_eq!(scheme.cell(raw), Cell::Packed(0x1234_5678, 300));
        assert_eq!(scheme.cell(0x10000), Cell::Data(0x10000));
        assert_eq!(scheme.cell(0), Cell::Free);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    assert!(Header::decode(&good()).is_ok());
    let cases: [(usize, u8, &str); 4] = [
        (32, 17, "Cluster size must be between 512 and 64k"),
        (33, 14, "L2 table size must be between 512 and 64k"),
        (7, 2, "qcow (v1) does not support qcow version 2"),
        (39, 2, "invalid encryption method in qcow header"),
    ];
    for (at, value, words) in cases {
        let mut bytes = good();
        bytes[at] = value;
        let error = Header::decode(&bytes).err().expect(words);
        assert_eq!(error.to_string(), words);
    }
    let mut bytes = good();
    put_be64(&mut bytes, 24, u64::MAX);
    assert!(Header::decode(&bytes).is_err());
}
