//! A sector's IV.

use ::cipher::{Block, BlockCipherEncrypt};
use qapi::{Error, Result};

use super::{Algorithm, BlockCipher, CipherSpec, new_key};
use crate::Hash;

/// A cipher that encrypts one block at a time, whatever its type.
pub(super) trait OneBlock: Send + Sync {
    /// Encrypts the sector's number; what the block has more than `out` is left out.
    fn number(&self, sector: u64, out: &mut [u8]);
}

struct Essiv<C>(C);

impl<C: BlockCipher> OneBlock for Essiv<C> {
    fn number(&self, sector: u64, out: &mut [u8]) {
        let mut block = Block::<C>::default();
        put(sector, &mut block);
        self.0.encrypt_block(&mut block);
        for (to, byte) in out.iter_mut().zip(&block) {
            *to = *byte;
        }
    }
}

/// What makes IVs.
pub(super) enum Iv {
    Plain,
    Plain64,
    Essiv(Box<dyn OneBlock>),
}

impl Iv {
    /// The IV of a sector, in `out` which is zero.
    pub(super) fn fill(&self, sector: u64, out: &mut [u8]) {
        match self {
            Self::Plain => put(sector & 0xffff_ffff, out),
            Self::Plain64 => put(sector, out),
            Self::Essiv(cipher) => cipher.number(sector, out),
        }
    }

    /// The same as a block.
    pub(super) fn block<C: BlockCipherEncrypt>(&self, sector: u64) -> Block<C> {
        let mut block = Block::<C>::default();
        self.fill(sector, &mut block);
        block
    }
}

fn put(number: u64, out: &mut [u8]) {
    for (to, byte) in out.iter_mut().zip(number.to_le_bytes()) {
        *to = byte;
    }
}

/// ESSIV: the cipher's key is as long as the hash, which may make it another one than the disk's.
pub(super) fn essiv(spec: &CipherSpec, key: &[u8]) -> Result<Iv> {
    let Some(hash) = spec.ivgen_hash else {
        return Err(Error::new("Missing IV generator hash specification"));
    };
    let algorithm = essiv_algorithm(spec.algorithm, hash)?;
    let salt = hash.digest(&[key]);
    let salt = salt.get(..algorithm.key_len()).unwrap_or(&salt);
    macro_rules! with {
        ($type:ty) => {
            Box::new(Essiv(new_key::<$type>(salt)?))
        };
    }
    Ok(Iv::Essiv(match algorithm {
        Algorithm::Aes128 => with!(aes::Aes128),
        Algorithm::Aes192 => with!(aes::Aes192),
        Algorithm::Aes256 => with!(aes::Aes256),
        Algorithm::Des => with!(des::Des),
        Algorithm::TripleDes => with!(des::TdesEde3),
        Algorithm::Cast5 => with!(cast5::Cast5),
        Algorithm::Serpent128 | Algorithm::Serpent192 | Algorithm::Serpent256 => {
            with!(serpent::Serpent)
        }
        Algorithm::Twofish128 | Algorithm::Twofish192 | Algorithm::Twofish256 => {
            with!(super::twofish::Twofish)
        }
        Algorithm::Sm4 => with!(sm4::Sm4),
    }))
}

fn essiv_algorithm(algorithm: Algorithm, hash: Hash) -> Result<Algorithm> {
    if hash.digest_len() == algorithm.key_len() {
        return Ok(algorithm);
    }
    let family = match algorithm.luks_name() {
        Some("aes") => "AES",
        Some("serpent") => "Serpent",
        Some("twofish") => "Twofish",
        _ => {
            return Err(Error::new(format!(
                "Cipher {} not supported with essiv",
                algorithm.name()
            )));
        }
    };
    algorithm.with_key_len(hash.digest_len()).ok_or_else(|| {
        Error::new(format!(
            "No {family} cipher with key size {} available",
            hash.digest_len()
        ))
    })
}
