//! Trailers, tables and packings by themselves.

use super::chunks::{Chunk, Chunks, Kind, Packing};
use super::trailer::{self, Table, Trailer};
use super::{Dmg, Failure, plist, unpack};
use crate::bytes::{put_be32, put_be64};

fn trailer() -> [u8; 512] {
    let mut bytes = [0; 512];
    bytes[..4].copy_from_slice(b"koly");
    put_be64(&mut bytes, 0xd8, 100);
    put_be64(&mut bytes, 0xe0, 50);
    put_be64(&mut bytes, 0x1ec, 77);
    bytes
}

#[test]
fn a_trailer_tells_where_the_tables_are() {
    let read = Trailer::decode(&trailer(), 1000).unwrap();
    assert_eq!(read.table, Table::Plist(100, 50));
    assert_eq!(read.sectors, 77);
    let mut bytes = trailer();
    put_be64(&mut bytes, 0x30, 8);
    let read = Trailer::decode(&bytes, 1000).unwrap();
    assert_eq!(read.table, Table::Fork(0, 8));
}

#[test]
fn trailers_that_point_behind_themselves_are_refused() {
    for (at, value) in [
        (0x18, 1001),
        (0x28, 1000),
        (0x30, 1001),
        (0xd8, u64::MAX),
        (0xe0, 901),
        (0xe0, 0),
        (0x1ec, 1 << 63),
    ] {
        let mut bytes = trailer();
        put_be64(&mut bytes, at, value);
        assert_eq!(Trailer::decode(&bytes, 1000), None, "{at:#x}");
    }
}

#[test]
fn the_trailer_may_start_at_any_byte() {
    for at in [0, 1, 511] {
        let mut window = [0; trailer::WINDOW];
        window[at..at + 4].copy_from_slice(b"koly");
        assert_eq!(trailer::find(&window), Some(at));
    }
    assert_eq!(trailer::find(&[0; trailer::WINDOW]), None);
}

#[test]
fn base64_passes_over_blanks() {
    assert_eq!(plist::decode(b" bWlz\n\taA== "), b"mish");
    assert_eq!(plist::decode(b"====="), b"");
}

/// A table of chunks: kind, first sector, sectors, offset, length.
fn mish(first: u64, entries: &[(u32, [u64; 4])]) -> Vec<u8> {
    let mut out = vec![0; 204 + entries.len() * 40];
    out[..4].copy_from_slice(b"mish");
    put_be64(&mut out, 8, first);
    for (i, (kind, numbers)) in entries.iter().enumerate() {
        let at = 204 + i * 40;
        put_be32(&mut out, at, *kind);
        for (j, number) in numbers.iter().enumerate() {
            put_be64(&mut out, at + 8 + j * 8, *number);
        }
    }
    out
}

fn words(result: Result<(), Failure>) -> String {
    match result {
        Err(Failure::Words(words)) => words,
        _ => String::new(),
    }
}

#[test]
fn chunks_of_all_tables_are_one_disk() {
    let mut chunks = Chunks::new(10);
    chunks
        .add(&mish(8, &[(0, [0, 4, 0, 0]), (0xffff_ffff, [4, 0, 0, 0])]))
        .ok();
    chunks.add(&mish(0, &[(1, [0, 8, 5, 4096])])).ok();
    let dmg = Dmg {
        size: 12 * 512,
        chunks: chunks.sorted(),
    };
    let plain = Chunk {
        kind: Kind::Plain,
        first: 0,
        sectors: 8,
        at: 15,
        len: 4096,
    };
    assert_eq!(dmg.find(7), Some(&plain));
    assert_eq!(dmg.find(8).map(|c| c.kind), Some(Kind::Zero));
    assert_eq!(dmg.find(12), None);
    assert_eq!(dmg.look(3 * 512, 1 << 20).unwrap().len, 5 * 512);
    assert!(dmg.look(12 * 512, 512).is_err());
}

#[test]
fn chunks_of_more_than_64_megabytes_are_refused() {
    let mut chunks = Chunks::new(0);
    let table = mish(0, &[(0, [0, u64::MAX, 0, 0]), (1, [0, 131_073, 0, 0])]);
    assert_eq!(
        words(chunks.add(&table)),
        "sector count 131073 for chunk 1 is larger than max (131072)"
    );
    let table = mish(0, &[(0x8000_0005, [0, 1, 0, 67_108_865])]);
    assert_eq!(
        words(chunks.add(&table)),
        "length 67108865 for chunk 2 is larger than max (67108864)"
    );
}

/// `printf 'qemu%.0s' {1..128}` packed by `bzip2`.
const BZIP2: &str = "QlpoOTFBWSZTWSMsSsQAAL+BgAICIgAgADDNNAqTJQHAMAwDxdyRThQkCMsSsQA=";
/// The same packed by `xz`.
const XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AH/AAxdADiZSf9crGZlkGkAAAAJT8DxggpHUwABKIAEAAAAQ3QuFrHEZ/sCAAAAAARZWg==";

#[test]
fn chunks_unpack_to_their_length_and_no_other() {
    let plain = b"qemu".repeat(128);
    for (packing, text) in [(Packing::Bzip2, BZIP2), (Packing::Lzma, XZ)] {
        let packed = plist::decode(text.as_bytes());
        let mut out = vec![0; 512];
        unpack::unpack(packing, &packed, &mut out).unwrap();
        assert_eq!(out, plain);
        for len in [511, 513, 0] {
            let mut out = vec![0; len];
            assert!(unpack::unpack(packing, &packed, &mut out).is_err());
        }
        for cut in 0..packed.len() {
            let mut out = vec![0; 512];
            assert!(unpack::unpack(packing, &packed[..cut], &mut out).is_err());
        }
    }
}
