//! Layouts of entries, parent locators, and headers and tables that must be refused.

use super::bat::{self, Block, Layout};
use super::header::{Header, SECTOR, is_whole, seal};
use super::locator::{Locator, id_text};
use super::log;
use crate::bytes::{le32, put_le16, put_le32};

const MIB: u64 = 1 << 20;

#[test]
fn entries_of_bitmaps_stand_between_those_of_blocks() {
    let layout = Layout::new(10 << 30, 256 << 20, 512);
    assert_eq!((layout.ratio, layout.blocks()), (16, 40));
    assert_eq!(layout.entries(false), 42);
    assert_eq!(layout.entries(true), 51);
    assert_eq!(layout.entry(15), (15, 1));
    assert_eq!(layout.entry(16), (17, 16));
    assert_eq!(layout.bitmap_entry(16), 33);
    let blocks: Vec<u64> = (0..51).filter_map(|e| layout.block_of(e)).collect();
    assert_eq!(blocks, (0..40).collect::<Vec<_>>());
    for block in blocks {
        assert_eq!(layout.block_of(layout.entry(block).0), Some(block));
    }
    assert_eq!(Layout::new(0, 1 << 20, 512).entries(false), 0);
    assert_eq!(Layout::new(1 << 30, 1 << 20, 4096).ratio, 32768);
}

#[test]
fn states_say_what_a_block_is() {
    assert_eq!(bat::block(0), Block::Absent);
    assert_eq!(bat::block((7 * MIB) | 2), Block::Zero);
    assert_eq!(bat::block((7 * MIB) | 6), Block::Data(7 * MIB));
    assert_eq!(bat::block((7 * MIB) | 7), Block::Partly(7 * MIB));
    // In the header, or of a state that there is not.
    assert_eq!(bat::block(6), Block::Bad);
    assert_eq!(bat::block((7 * MIB) | 4), Block::Bad);
}

#[test]
fn sums_are_castagnoli() {
    let mut bytes = [0; 64];
    bytes[..4].copy_from_slice(b"head");
    seal(&mut bytes);
    assert!(is_whole(&bytes));
    bytes[63] ^= 1;
    assert!(!is_whole(&bytes));
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_header_has_its_sum() {
    let header = Header {
        sequence: 7,
        file_write: [1; 16],
        data_write: [2; 16],
        log: [3; 16],
        log_version: 0,
        log_length: 1 << 20,
        log_offset: MIB,
    };
    let bytes = header.encode();
    assert!(is_whole(&bytes));
    assert_eq!((le32(&bytes, 68), bytes.len()), (1 << 20, SECTOR));
}

#[test]
fn an_entry_keeps_whole_sectors() {
    let sector: Vec<u8> = (0..SECTOR).map(|n| n.to_le_bytes()[0]).collect();
    let bytes = log::entry(&[9; 16], &[(4 * MIB, &sector), (5 * MIB, &sector)], 6 * MIB);
    assert_eq!(bytes.len(), 3 * SECTOR);
    assert!(is_whole(&bytes));
    assert_eq!(bytes[64..68], *b"desc");
    assert_eq!(bytes[68..72], sector[SECTOR - 4..]);
    assert_eq!(bytes[72..80], sector[..8]);
    assert_eq!(bytes[SECTOR + 8..2 * SECTOR - 4], sector[8..SECTOR - 4]);
}

const VHDX_PARENT: [u8; 16] = [
    0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13,
];

fn locator(pairs: &[(&str, &str)]) -> Vec<u8> {
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let mut bytes = VHDX_PARENT.to_vec();
    bytes.resize(20 + 12 * pairs.len(), 0);
    put_le16(&mut bytes, 18, u16::try_from(pairs.len()).unwrap());
    for (number, (key, value)) in pairs.iter().enumerate() {
        for (field, text) in [(0, key), (1, value)] {
            let raw = wide(text);
            let (at, len) = (bytes.len(), raw.len());
            let pair = 20 + 12 * number;
            put_le32(&mut bytes, pair + 4 * field, u32::try_from(at).unwrap());
            put_le16(
                &mut bytes,
                pair + 8 + 2 * field,
                u16::try_from(len).unwrap(),
            );
            bytes.extend(raw);
        }
    }
    bytes
}

#[test]
fn a_locator_tells_path_and_ids() {
    let found = Locator::decode(&locator(&[
        ("parent_linkage", "{83ED0EC2-24C8-49A6-A959-5E4BD1288480}"),
        ("absolute_win32_path", r"\\?\C:\disks\base.vhdx"),
        ("relative_path", r".\up\base.vhdx"),
    ]));
    let found = found.expect("it is good");
    assert_eq!(found.path, "up/base.vhdx");
    assert_eq!(found.ids, ["83ed0ec2-24c8-49a6-a959-5e4bd1288480"]);
    let found = Locator::decode(&locator(&[("volume_path", r"\\?\V{1}\base.vhdx")]));
    assert_eq!(found.expect("it is good").path, "base.vhdx");
}

#[test]
fn damaged_locators_are_refused() {
    let good = locator(&[("relative_path", "base.vhdx")]);
    assert!(Locator::decode(&good).is_some());
    for len in 0..good.len() {
        assert_eq!(Locator::decode(&good[..len]), None, "cut to {len}");
    }
    for at in (16..32).filter(|at| !(16..18).contains(at)) {
        for value in [0xff, 0x80] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert!(Locator::decode(&bytes).is_none(), "byte {at} = {value}");
        }
    }
    assert_eq!(
        Locator::decode(&locator(&[("relative_path", "nbd:x")])),
        None
    );
    assert_eq!(Locator::decode(&locator(&[])), None);
}

#[test]
fn ids_are_written_as_guids() {
    let id = [
        0xc2, 0x0e, 0xed, 0x83, 0xc8, 0x24, 0xa6, 0x49, 0xa9, 0x59, 0x5e, 0x4b, 0xd1, 0x28, 0x84,
        0x80,
    ];
    assert_eq!(id_text(&id), "83ed0ec2-24c8-49a6-a959-5e4bd1288480");
}
