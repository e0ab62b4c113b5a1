//! Ciphers over sectors of 512 bytes, as disks are encrypted: an algorithm, a mode, and what makes a sector's
//! number into its IV.

mod algorithm;
mod iv;
mod modes;
#[cfg(test)]
mod tests;
mod twofish;
mod xts;

use ::cipher::consts::U16;
use ::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use qapi::{Error, Result};

use crate::Hash;
pub use algorithm::{Algorithm, IvGen, Mode};
use iv::{Iv, essiv};

/// Length of a sector in bytes: the unit that has an IV.
pub const SECTOR_LEN: usize = 512;

/// What encrypts a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CipherSpec {
    /// The block cipher.
    pub algorithm: Algorithm,
    /// How blocks are chained.
    pub mode: Mode,
    /// What makes a sector's IV.
    pub ivgen: IvGen,
    /// The hash that ESSIV needs.
    pub ivgen_hash: Option<Hash>,
}

impl CipherSpec {
    /// Length of the key in bytes.
    #[must_use]
    pub fn key_len(&self) -> usize {
        match self.mode {
            Mode::Xts => 2 * self.algorithm.key_len(),
            Mode::Ecb | Mode::Cbc | Mode::Ctr => self.algorithm.key_len(),
        }
    }
}

/// What is done to a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Encrypt,
    Decrypt,
}

/// A keyed algorithm in a mode. `data` is whole sectors, the first of them number `first`.
trait Sectors: Send + Sync {
    fn run(&self, first: u64, data: &mut [u8], direction: Direction);
}

/// A block cipher that is used here.
trait BlockCipher: BlockCipherEncrypt + BlockCipherDecrypt + KeyInit + Send + Sync + 'static {}

impl<C: BlockCipherEncrypt + BlockCipherDecrypt + KeyInit + Send + Sync + 'static> BlockCipher
    for C
{
}

/// A cipher with its key. The key is wiped when it is dropped.
pub struct SectorCipher(Box<dyn Sectors>);

impl std::fmt::Debug for SectorCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SectorCipher(..)")
    }
}

impl SectorCipher {
    /// Sets up a cipher with a key.
    ///
    /// # Errors
    /// In QEMU's words, when the parts do not fit together.
    pub fn new(spec: &CipherSpec, key: &[u8]) -> Result<Self> {
        check(spec, key.len())?;
        let iv = match spec.ivgen {
            IvGen::Plain => Iv::Plain,
            IvGen::Plain64 => Iv::Plain64,
            IvGen::Essiv => essiv(spec, key)?,
        };
        macro_rules! sectors {
            ($type:ty) => {
                keyed::<$type>(spec.mode, key, iv)
            };
        }
        macro_rules! sectors_16 {
            ($type:ty) => {
                match spec.mode {
                    Mode::Xts => keyed_xts::<$type>(key, iv),
                    _ => keyed::<$type>(spec.mode, key, iv),
                }
            };
        }
        match spec.algorithm {
            Algorithm::Aes128 => sectors_16!(aes::Aes128),
            Algorithm::Aes192 => sectors_16!(aes::Aes192),
            Algorithm::Aes256 => sectors_16!(aes::Aes256),
            Algorithm::Des => sectors!(des::Des),
            Algorithm::TripleDes => sectors!(des::TdesEde3),
            Algorithm::Cast5 => sectors!(cast5::Cast5),
            Algorithm::Serpent128 | Algorithm::Serpent192 | Algorithm::Serpent256 => {
                sectors_16!(serpent::Serpent)
            }
            Algorithm::Twofish128 | Algorithm::Twofish192 | Algorithm::Twofish256 => {
                sectors_16!(twofish::Twofish)
            }
            Algorithm::Sm4 => sectors_16!(sm4::Sm4),
        }
    }

    /// Encrypts whole sectors in place; `sector` is the number of the first.
    pub fn encrypt(&self, sector: u64, data: &mut [u8]) {
        debug_assert!(data.len().is_multiple_of(SECTOR_LEN));
        self.0.run(sector, data, Direction::Encrypt);
    }

    /// Decrypts whole sectors in place; `sector` is the number of the first.
    pub fn decrypt(&self, sector: u64, data: &mut [u8]) {
        debug_assert!(data.len().is_multiple_of(SECTOR_LEN));
        self.0.run(sector, data, Direction::Decrypt);
    }
}

fn check(spec: &CipherSpec, len: usize) -> Result<()> {
    let (mode, algorithm) = (spec.mode, spec.algorithm);
    if mode == Mode::Xts && matches!(algorithm, Algorithm::Des | Algorithm::TripleDes) {
        return Err(Error::new("XTS mode not compatible with DES/3DES"));
    }
    if len != spec.key_len() {
        return Err(Error::new(format!(
            "Cipher key length {len} should be {}",
            spec.key_len()
        )));
    }
    if mode == Mode::Xts && algorithm.block_len() != 16 {
        return Err(Error::new("Unsupported cipher mode xts"));
    }
    Ok(())
}

/// A block cipher with this key, whose length was checked.
fn new_key<C: KeyInit>(key: &[u8]) -> Result<C> {
    C::new_from_slice(key).map_err(|_| Error::new("Unable to set key"))
}

fn keyed<C: BlockCipher>(mode: Mode, key: &[u8], iv: Iv) -> Result<SectorCipher> {
    let cipher = new_key::<C>(key)?;
    Ok(SectorCipher(match mode {
        Mode::Ecb => Box::new(modes::Ecb(cipher)),
        Mode::Cbc => Box::new(modes::Cbc { cipher, iv }),
        Mode::Ctr => Box::new(modes::Ctr { cipher, iv }),
        Mode::Xts => return Err(Error::new("Unsupported cipher mode xts")),
    }))
}

fn keyed_xts<C: BlockCipher + BlockSizeUser<BlockSize = U16>>(
    key: &[u8],
    iv: Iv,
) -> Result<SectorCipher> {
    let (data, tweak) = key.split_at(key.len() / 2);
    Ok(SectorCipher(Box::new(xts::Xts {
        data: new_key::<C>(data)?,
        tweak: new_key::<C>(tweak)?,
        iv,
    })))
}

/// AES-CBC over one buffer of whole blocks that has one IV.
pub(crate) fn cbc_once(
    key: &[u8],
    iv: [u8; 16],
    data: &mut [u8],
    direction: Direction,
) -> Result<()> {
    let cipher = new_key::<aes::Aes256>(key)?;
    modes::cbc_chain(&cipher, &mut iv.into(), data, direction);
    Ok(())
}
