//! A new header with a new key.

use qapi::{Error, Result};
use zeroize::Zeroizing;

use super::header::{field, material_sectors, put_text, put32};
use super::slots::{digest, header_bytes, header_sectors, scaled};
use super::{
    ALIGN_SECTORS, DIGEST_LEN, HEADER_LEN, Header, MasterKey, SALT_LEN, SECTOR, STRIPES, Slot,
};
use crate::{
    Algorithm, CipherSpec, Hash, IvGen, Mode, SectorCipher, Stop, count_iterations, random,
};

/// Fewest iterations of the digest.
const MIN_DIGEST_ITERATIONS: u64 = 1000;

/// What a new header is to be like.
#[derive(Debug, Clone, Copy)]
pub struct CreateOptions {
    /// The block cipher.
    pub algorithm: Algorithm,
    /// How blocks are chained.
    pub mode: Mode,
    /// What makes IVs.
    pub ivgen: IvGen,
    /// The hash that ESSIV needs; it is written in the header for the others, too.
    pub ivgen_hash: Option<Hash>,
    /// The hash of all else.
    pub hash: Hash,
    /// How long an unlock is to take here, in milliseconds.
    pub time_ms: u64,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Aes256,
            mode: Mode::Xts,
            ivgen: IvGen::Plain64,
            ivgen_hash: None,
            hash: Hash::Sha256,
            time_ms: 2000,
        }
    }
}

impl CreateOptions {
    /// What encrypts the disk.
    #[must_use]
    pub fn spec(&self) -> CipherSpec {
        let hash = match self.ivgen {
            IvGen::Essiv => self.ivgen_hash.or(Some(Hash::Sha256)),
            IvGen::Plain | IvGen::Plain64 => self.ivgen_hash,
        };
        CipherSpec {
            algorithm: self.algorithm,
            mode: self.mode,
            ivgen: self.ivgen,
            ivgen_hash: hash,
        }
    }

    /// Refuses what cannot be made.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn check(&self) -> Result<()> {
        let spec = self.spec();
        if self.algorithm.luks_name().is_none() {
            return Err(Error::new(format!(
                "Algorithm '{}' not supported",
                self.algorithm.name()
            )));
        }
        SectorCipher::new(&spec, &vec![0; spec.key_len()])?;
        Ok(())
    }

    /// Bytes from the front of the file to the end of the last slot, where the payload begins.
    #[must_use]
    pub fn header_bytes(&self) -> u64 {
        header_bytes(self.spec().key_len())
    }
}

impl Header {
    /// A header with a new key and no active slot yet. `detached`: the payload is in another file.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn create(
        options: &CreateOptions,
        detached: bool,
        stop: &Stop,
    ) -> Result<(Self, MasterKey)> {
        options.check()?;
        let spec = options.spec();
        let key_len = spec.key_len();
        let mut key = Zeroizing::new(vec![0; key_len]);
        random(&mut key)?;
        let mut salt = [0; SALT_LEN];
        random(&mut salt)?;
        let per_second = count_iterations(options.hash, DIGEST_LEN, stop)?;
        // All eight slots together may have to be tried.
        let iterations = scaled(per_second, options.time_ms, 8, MIN_DIGEST_ITERATIONS)?;
        let digest = digest(options.hash, &key, &salt, iterations, stop)?;
        let payload = if detached { 0 } else { header_sectors(key_len) };
        let first = ALIGN_SECTORS;
        let each = material_sectors(u32::try_from(key_len).unwrap_or(0), STRIPES);
        let slots = std::array::from_fn(|i| Slot {
            active: false,
            iterations: 0,
            salt: [0; SALT_LEN],
            offset_sectors: u32::try_from(first + i as u64 * each).unwrap_or(u32::MAX),
            stripes: STRIPES,
        });
        let mut header = Self {
            raw: [0; HEADER_LEN],
            spec,
            hash: options.hash,
            payload_offset: payload * SECTOR,
            iterations,
            digest,
            salt,
            slots,
        };
        header.enter()?;
        Ok((header, MasterKey(key)))
    }

    /// Writes all but the slots into the bytes of a new header.
    fn enter(&mut self) -> Result<()> {
        let raw = &mut self.raw;
        raw[..6].copy_from_slice(b"LUKS\xba\xbe");
        raw[6..8].copy_from_slice(&1_u16.to_be_bytes());
        let spec = &self.spec;
        let name = spec.algorithm.luks_name().unwrap_or_default();
        put_text(raw, field::CIPHER_NAME, name);
        let mut mode = format!("{}-{}", spec.mode.name(), spec.ivgen.name());
        if let Some(hash) = spec.ivgen_hash {
            mode = format!("{mode}:{}", hash.name());
        }
        put_text(raw, field::CIPHER_MODE, &mode);
        put_text(raw, field::HASH_SPEC, self.hash.name());
        put32(
            raw,
            field::PAYLOAD,
            u32::try_from(self.payload_offset / SECTOR).unwrap_or(0),
        );
        put32(
            raw,
            field::KEY_LEN,
            u32::try_from(spec.key_len()).unwrap_or(0),
        );
        raw[field::DIGEST].copy_from_slice(&self.digest);
        raw[field::SALT].copy_from_slice(&self.salt);
        put32(raw, field::ITERATIONS, self.iterations);
        put_text(raw, field::UUID, &uuid()?);
        Ok(())
    }
}

/// A random UUID (RFC 9562, version 4) as text.
fn uuid() -> Result<String> {
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    ))
}
