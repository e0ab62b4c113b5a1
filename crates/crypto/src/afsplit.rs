//! The anti-forensic splitter of LUKS 1 (section 2.4): a key is stored as many times its length, and no part of that
//! is of use without all of it.

use zeroize::Zeroizing;

use crate::{Hash, random};

/// Splits `key` into stripes of its own length; `stripes` at least 1.
///
/// # Errors
/// When there are no random bytes.
pub(crate) fn split(hash: Hash, key: &[u8], stripes: usize) -> qapi::Result<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(vec![0; key.len() * stripes]);
    let last = key.len() * (stripes - 1);
    random(&mut out[..last])?;
    let block = fold(hash, &out[..last], key.len());
    for ((to, key), fold) in out[last..].iter_mut().zip(key).zip(block.iter()) {
        *to = key ^ fold;
    }
    Ok(out)
}

/// The key of `len` bytes that was split.
pub(crate) fn merge(hash: Hash, split: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let last = split.len().saturating_sub(len);
    let mut key = fold(hash, &split[..last], len);
    for (to, part) in key.iter_mut().zip(&split[last..]) {
        *to ^= part;
    }
    key
}

/// What all stripes but the last come to.
fn fold(hash: Hash, stripes: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let mut block = Zeroizing::new(vec![0; len]);
    for stripe in stripes.chunks_exact(len.max(1)) {
        for (to, part) in block.iter_mut().zip(stripe) {
            *to ^= part;
        }
        diffuse(hash, &mut block);
    }
    block
}

/// Replaces each piece of a block, as long as a digest, by the digest of its number and itself.
fn diffuse(hash: Hash, block: &mut [u8]) {
    for (number, piece) in (0_u32..).zip(block.chunks_mut(hash.digest_len())) {
        let digest = hash.digest(&[&number.to_be_bytes(), piece]);
        let len = piece.len();
        piece.copy_from_slice(&digest[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_split_is_merged_again() {
        for hash in Hash::ALL {
            for len in [16, 24, 32, 64] {
                let key: Vec<u8> = (0..len).collect();
                for stripes in [1, 2, 40] {
                    let parts = split(*hash, &key, stripes).unwrap();
                    assert_eq!(parts.len(), key.len() * stripes);
                    assert_eq!(merge(*hash, &parts, key.len())[..], key);
                }
            }
        }
    }

    #[test]
    fn one_lost_bit_loses_the_key() {
        let key = [7; 32];
        let mut parts = split(Hash::Sha256, &key, 10).unwrap();
        parts[40] ^= 1;
        assert_ne!(merge(Hash::Sha256, &parts, 32)[..], key);
    }
}
