//! Heads that must be refused.

use super::header::{HEADER, Header};
use crate::bytes::put_be32;

fn head(block: u32, blocks: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    put_be32(&mut bytes, 128, block);
    put_be32(&mut bytes, 132, blocks);
    bytes
}

#[test]
fn what_cannot_be_is_refused() {
    let cases = [
        (513, 1, "block_size 513 must be a multiple of 512"),
        (0, 1, "block_size cannot be zero"),
        (
            0xffff_fe00,
            1,
            "block_size 4294966784 must be 64 MB or less",
        ),
        (
            512,
            u32::MAX,
            "n_blocks 4294967295 must be 536870911 or less",
        ),
        (
            512,
            0x1fff_ffff,
            "image requires too many offsets, try increasing block size",
        ),
    ];
    for (block, blocks, words) in cases {
        let error = Header::decode(&head(block, blocks)).expect_err(words);
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn the_largest_that_can_be_is_taken() {
    let header = Header::decode(&head(64 << 20, (64 << 20) - 1)).unwrap();
    assert_eq!(header.block, 64 << 20);
}
