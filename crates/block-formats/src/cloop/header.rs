//! The head of a cloop image.

use qapi::Result;

use crate::bytes::be32;
use crate::make::invalid;

/// What an image starts with, so that it can be run as a script.
pub(super) const SCRIPT: &[u8] =
    b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n";
/// Bytes before the offsets.
pub(super) const HEADER: usize = 136;
/// Where the numbers are.
const NUMBERS: usize = 128;
/// Longest block in bytes.
pub(super) const MAX_BLOCK: u32 = 64 << 20;
/// Longest table of offsets in bytes.
const MAX_TABLE: u64 = 512 << 20;
/// Most blocks whose table's length has 32 bits.
const MAX_BLOCKS: u32 = (u32::MAX - 1) / 8;

/// The numbers of an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of a block: a multiple of 512, not 0.
    pub(super) block: u32,
    /// How many blocks there are.
    pub(super) blocks: u32,
}

impl Header {
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self> {
        let block = be32(bytes, NUMBERS);
        let blocks = be32(bytes, NUMBERS + 4);
        if !block.is_multiple_of(512) {
            let words = format!("block_size {block} must be a multiple of 512");
            return Err(invalid(words));
        }
        if block == 0 {
            return Err(invalid("block_size cannot be zero"));
        }
        if block > MAX_BLOCK {
            let megabytes = MAX_BLOCK >> 20;
            let words = format!("block_size {block} must be {megabytes} MB or less");
            return Err(invalid(words));
        }
        if blocks > MAX_BLOCKS {
            let words = format!("n_blocks {blocks} must be {MAX_BLOCKS} or less");
            return Err(invalid(words));
        }
        if (u64::from(blocks) + 1) * 8 > MAX_TABLE {
            return Err(invalid(
                "image requires too many offsets, try increasing block size",
            ));
        }
        Ok(Self { block, blocks })
    }
}
