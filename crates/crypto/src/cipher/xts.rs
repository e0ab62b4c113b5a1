//! XTS (IEEE 1619) over sectors.
//!
//! The tweaks of several sectors are encrypted in one call, and the blocks of several sectors too: a cipher that has
//! instructions for it works on 8 to 64 blocks at once, and waits for itself when it gets fewer.

use ::cipher::consts::U16;
use ::cipher::{Array, Block, BlockSizeUser};

use super::iv::Iv;
use super::{BlockCipher, Direction, SECTOR_LEN, Sectors};

const BLOCK_LEN: usize = 16;

const BLOCKS: usize = SECTOR_LEN / BLOCK_LEN;

/// Sectors whose tweaks are encrypted in one call.
const GROUP: usize = 16;

/// Sectors whose blocks go through the cipher in one call.
const TOGETHER: usize = 4;

pub(super) struct Xts<C> {
    pub(super) data: C,
    pub(super) tweak: C,
    pub(super) iv: Iv,
}

/// The tweaks of blocks that go through the cipher in one call.
type Masks = [u128; TOGETHER * BLOCKS];

impl<C: BlockCipher + BlockSizeUser<BlockSize = U16>> Sectors for Xts<C> {
    fn run(&self, first: u64, data: &mut [u8], direction: Direction) {
        let mut masks: Masks = [0; TOGETHER * BLOCKS];
        let groups = data.chunks_mut(GROUP * SECTOR_LEN);
        for (group, number) in groups.zip((first..).step_by(GROUP)) {
            let mut tweaks: [Block<C>; GROUP] = std::array::from_fn(|_| Block::<C>::default());
            for (tweak, number) in tweaks.iter_mut().zip(number..) {
                self.iv.fill(number, tweak);
            }
            let tweaks = &mut tweaks[..group.len().div_ceil(SECTOR_LEN)];
            self.tweak.encrypt_blocks(tweaks);
            let parts = group.chunks_mut(TOGETHER * SECTOR_LEN);
            for (part, tweaks) in parts.zip(tweaks.chunks(TOGETHER)) {
                for (masks, tweak) in masks.chunks_exact_mut(BLOCKS).zip(tweaks) {
                    powers(u128::from_le_bytes((*tweak).into()), masks);
                }
                let (blocks, _) = Array::<u8, U16>::slice_as_chunks_mut(part);
                mask(blocks, &masks);
                match direction {
                    Direction::Encrypt => self.data.encrypt_blocks(blocks),
                    Direction::Decrypt => self.data.decrypt_blocks(blocks),
                }
                mask(blocks, &masks);
            }
        }
    }
}

/// The tweaks of a sector's blocks: each is the one before times x in GF(2^128).
fn powers(first: u128, masks: &mut [u128]) {
    let mut tweak = first;
    for mask in masks {
        *mask = tweak;
        tweak = (tweak << 1) ^ ((tweak >> 127) * 0x87);
    }
}

fn mask(blocks: &mut [Array<u8, U16>], masks: &Masks) {
    for (block, mask) in blocks.iter_mut().zip(masks) {
        let bytes: &mut [u8; BLOCK_LEN] = block.as_mut();
        *bytes = (u128::from_le_bytes(*bytes) ^ mask).to_le_bytes();
    }
}
