//! ECB, CBC and CTR (NIST SP 800-38A) over sectors. Where a mode chains blocks, several sectors go side by side, so
//! that the cipher always has many blocks to work on at once.

use ::cipher::{Array, Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser};

use super::iv::Iv;
use super::{BlockCipher, Direction, SECTOR_LEN, Sectors};

/// Sectors that go side by side.
const SIDE_BY_SIDE: usize = 16;

/// A buffer as blocks of a cipher; sectors are whole blocks of all of them.
fn blocks<C: BlockSizeUser>(data: &mut [u8]) -> &mut [Block<C>] {
    Array::slice_as_chunks_mut(data).0
}

fn xor(to: &mut [u8], other: &[u8]) {
    for (to, other) in to.iter_mut().zip(other) {
        *to ^= other;
    }
}

pub(super) struct Ecb<C>(pub(super) C);

impl<C: BlockCipher> Sectors for Ecb<C> {
    fn run(&self, _first: u64, data: &mut [u8], direction: Direction) {
        match direction {
            Direction::Encrypt => self.0.encrypt_blocks(blocks::<C>(data)),
            Direction::Decrypt => self.0.decrypt_blocks(blocks::<C>(data)),
        }
    }
}

pub(super) struct Cbc<C> {
    pub(super) cipher: C,
    pub(super) iv: Iv,
}

impl<C: BlockCipher> Sectors for Cbc<C> {
    fn run(&self, first: u64, data: &mut [u8], direction: Direction) {
        match direction {
            Direction::Decrypt => {
                for (sector, number) in data.chunks_mut(SECTOR_LEN).zip(first..) {
                    let mut iv = self.iv.block::<C>(number);
                    cbc_chain(&self.cipher, &mut iv, sector, direction);
                }
            }
            Direction::Encrypt => {
                let groups = data.chunks_mut(SIDE_BY_SIDE * SECTOR_LEN);
                for (group, number) in groups.zip((first..).step_by(SIDE_BY_SIDE)) {
                    self.encrypt_group(number, group);
                }
            }
        }
    }
}

impl<C: BlockCipher> Cbc<C> {
    /// Block `i` of all sectors of a group is one call of the cipher.
    fn encrypt_group(&self, first: u64, group: &mut [u8]) {
        let block_len = C::block_size();
        let sectors = group.len() / SECTOR_LEN;
        let mut lanes: [Block<C>; SIDE_BY_SIDE] = std::array::from_fn(|_| Block::<C>::default());
        for (lane, number) in lanes.iter_mut().zip(first..) {
            *lane = self.iv.block::<C>(number);
        }
        let lanes = &mut lanes[..sectors];
        for at in (0..SECTOR_LEN).step_by(block_len) {
            for (lane, sector) in lanes.iter_mut().zip(group.chunks(SECTOR_LEN)) {
                xor(lane, &sector[at..at + block_len]);
            }
            self.cipher.encrypt_blocks(lanes);
            for (lane, sector) in lanes.iter().zip(group.chunks_mut(SECTOR_LEN)) {
                sector[at..at + block_len].copy_from_slice(lane);
            }
        }
    }
}

/// One chain over whole blocks; `iv` becomes the last block of ciphertext.
pub(super) fn cbc_chain<C: BlockCipherEncrypt + BlockCipherDecrypt>(
    cipher: &C,
    iv: &mut Block<C>,
    data: &mut [u8],
    direction: Direction,
) {
    if direction == Direction::Encrypt {
        for block in blocks::<C>(data) {
            xor(block, iv);
            cipher.encrypt_block(block);
            iv.copy_from_slice(block);
        }
        return;
    }
    let mut old = [0; SECTOR_LEN];
    for piece in data.chunks_mut(SECTOR_LEN) {
        let old = &mut old[..piece.len()];
        old.copy_from_slice(piece);
        cipher.decrypt_blocks(blocks::<C>(piece));
        let first = C::block_size().min(piece.len());
        xor(piece, iv);
        let before = old.len() - first;
        xor(&mut piece[first..], &old[..before]);
        iv.copy_from_slice(&old[before..]);
    }
}

pub(super) struct Ctr<C> {
    pub(super) cipher: C,
    pub(super) iv: Iv,
}

impl<C: BlockCipher> Sectors for Ctr<C> {
    fn run(&self, first: u64, data: &mut [u8], _direction: Direction) {
        let mut stream = [0; SECTOR_LEN];
        for (sector, number) in data.chunks_mut(SECTOR_LEN).zip(first..) {
            let mut counter = self.iv.block::<C>(number);
            for block in blocks::<C>(&mut stream) {
                block.copy_from_slice(&counter);
                count_up(&mut counter);
            }
            self.cipher.encrypt_blocks(blocks::<C>(&mut stream));
            xor(sector, &stream);
        }
    }
}

/// The next counter, big endian.
fn count_up(counter: &mut [u8]) {
    for byte in counter.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
}
