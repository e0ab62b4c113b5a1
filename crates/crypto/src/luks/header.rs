//! The header: read with all checks, and written back as it was but for its slots.

use std::ops::Range;

use qapi::{Error, Result};

use super::{ALIGN_SECTORS, DIGEST_LEN, HEADER_LEN, SALT_LEN, SECTOR, SLOTS, STRIPES};
use crate::{Algorithm, CipherSpec, Hash, IvGen, Mode};

const MAGIC: &[u8; 6] = b"LUKS\xba\xbe";
const VERSION: u16 = 1;

pub(super) const ACTIVE: u32 = 0x00AC_71F3;
pub(super) const INACTIVE: u32 = 0x0000_DEAD;

/// Where fields are.
pub(super) mod field {
    use std::ops::Range;

    pub(crate) const VERSION: usize = 6;
    pub(crate) const CIPHER_NAME: Range<usize> = 8..40;
    pub(crate) const CIPHER_MODE: Range<usize> = 40..72;
    pub(crate) const HASH_SPEC: Range<usize> = 72..104;
    pub(crate) const PAYLOAD: usize = 104;
    pub(crate) const KEY_LEN: usize = 108;
    pub(crate) const DIGEST: Range<usize> = 112..132;
    pub(crate) const SALT: Range<usize> = 132..164;
    pub(crate) const ITERATIONS: usize = 164;
    pub(crate) const UUID: Range<usize> = 168..208;
    pub(crate) const SLOTS: usize = 208;
    pub(crate) const SLOT_LEN: usize = 48;
}

/// One slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// It holds the key.
    pub active: bool,
    /// Iterations that make a passphrase into the key of its material.
    pub iterations: u32,
    pub(super) salt: [u8; SALT_LEN],
    /// Where its material is, in sectors.
    pub(super) offset_sectors: u32,
    /// Stripes of its material.
    pub stripes: u32,
}

impl Slot {
    /// Where its material is, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        u64::from(self.offset_sectors) * SECTOR
    }
}

/// A header that passed all checks.
#[derive(Debug, Clone)]
pub struct Header {
    pub(super) raw: [u8; HEADER_LEN],
    /// What encrypts payload and materials.
    pub spec: CipherSpec,
    /// The hash of key derivation, splitter and digest.
    pub hash: Hash,
    /// Where the payload begins, in bytes; 0 when it is elsewhere.
    pub payload_offset: u64,
    /// Iterations of the digest.
    pub iterations: u32,
    pub(super) digest: [u8; DIGEST_LEN],
    pub(super) salt: [u8; SALT_LEN],
    pub(super) slots: [Slot; SLOTS],
}

/// Whether bytes from the front of a file are a LUKS 1 header.
#[must_use]
pub fn is_luks(head: &[u8]) -> bool {
    head.starts_with(MAGIC) && head.get(6..8) == Some(&VERSION.to_be_bytes())
}

fn be32(raw: &[u8], at: usize) -> u32 {
    let bytes = raw.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |b| u32::from_be_bytes(*b))
}

pub(super) fn put32(raw: &mut [u8], at: usize, value: u32) {
    if let Some(field) = raw.get_mut(at..at + 4) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// Writes a text with zeroes behind it; it is shorter than the field.
pub(super) fn put_text(raw: &mut [u8], range: Range<usize>, text: &str) {
    let field = &mut raw[range];
    field.fill(0);
    field[..text.len()].copy_from_slice(text.as_bytes());
}

/// The text of a field that ends with a NUL byte.
fn text(raw: &[u8], range: Range<usize>, what: &str) -> Result<String> {
    let field = &raw[range];
    let Some(end) = field.iter().position(|b| *b == 0) else {
        return Err(Error::new(format!(
            "LUKS header {what} is not NUL terminated"
        )));
    };
    Ok(String::from_utf8_lossy(&field[..end]).into_owned())
}

fn array<const N: usize>(raw: &[u8], at: usize) -> [u8; N] {
    let bytes = raw.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().unwrap_or([0; N])
}

/// Sectors that a slot's material has to itself. No cipher has a key so long that the product wraps; a header that
/// says so is refused for it in the end, with QEMU's words for what the wrapped length does before.
pub(super) fn material_sectors(key_len: u32, stripes: u32) -> u64 {
    u64::from(key_len.wrapping_mul(stripes))
        .div_ceil(SECTOR)
        .next_multiple_of(ALIGN_SECTORS)
}

impl Header {
    /// Reads a header. `detached`: the payload is in another file.
    ///
    /// # Errors
    /// In QEMU's words, when anything is not as it must be.
    pub fn parse(raw: &[u8; HEADER_LEN], detached: bool) -> Result<Self> {
        if !raw.starts_with(MAGIC) {
            return Err(Error::new("Volume is not in LUKS format"));
        }
        let version = u16::from_be_bytes(array(raw, field::VERSION));
        if version != VERSION {
            return Err(Error::new(format!(
                "LUKS version {version} is not supported"
            )));
        }
        let cipher = text(raw, field::CIPHER_NAME, "cipher name")?;
        let mode = text(raw, field::CIPHER_MODE, "cipher mode")?;
        let hash = text(raw, field::HASH_SPEC, "hash spec")?;
        let slots = std::array::from_fn(|i| slot(raw, field::SLOTS + i * field::SLOT_LEN));
        let payload = be32(raw, field::PAYLOAD);
        let key_len = be32(raw, field::KEY_LEN);
        let iterations = be32(raw, field::ITERATIONS);
        if !detached && u64::from(payload) < ALIGN_SECTORS {
            return Err(Error::new("LUKS payload is overlapping with the header"));
        }
        if iterations == 0 {
            return Err(Error::new("LUKS key iteration count is zero"));
        }
        let end = (!detached).then_some(u64::from(payload));
        check_slots(raw, &slots, key_len, end)?;
        let (spec, hash) = algorithms(&cipher, &mode, &hash, key_len)?;
        Ok(Self {
            raw: *raw,
            spec,
            hash,
            payload_offset: u64::from(payload) * SECTOR,
            iterations,
            digest: array(raw, field::DIGEST.start),
            salt: array(raw, field::SALT.start),
            slots,
        })
    }

    /// As it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut raw = self.raw;
        for (i, slot) in self.slots.iter().enumerate() {
            let at = field::SLOTS + i * field::SLOT_LEN;
            let state = if slot.active { ACTIVE } else { INACTIVE };
            put32(&mut raw, at, state);
            put32(&mut raw, at + 4, slot.iterations);
            raw[at + 8..at + 40].copy_from_slice(&slot.salt);
            put32(&mut raw, at + 40, slot.offset_sectors);
            put32(&mut raw, at + 44, slot.stripes);
        }
        raw
    }

    /// The slots.
    #[must_use]
    pub fn slots(&self) -> &[Slot; SLOTS] {
        &self.slots
    }

    /// The UUID, as text.
    #[must_use]
    pub fn uuid(&self) -> String {
        let field = &self.raw[field::UUID];
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    }

    /// Length of the disk's key in bytes.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.spec.key_len()
    }
}

fn slot(raw: &[u8], at: usize) -> Slot {
    Slot {
        active: be32(raw, at) == ACTIVE,
        iterations: be32(raw, at + 4),
        salt: array(raw, at + 8),
        offset_sectors: be32(raw, at + 40),
        stripes: be32(raw, at + 44),
    }
}

/// Refuses slots that are not as they must be; materials must end before sector `end`.
fn check_slots(raw: &[u8], slots: &[Slot; SLOTS], key_len: u32, end: Option<u64>) -> Result<()> {
    // Ends are counted in 32 bits, as the reference does; a slot that lies nowhere fails when it is read.
    let area = |slot: &Slot| {
        let start = u64::from(slot.offset_sectors);
        start..(start + material_sectors(key_len, slot.stripes)) & u64::from(u32::MAX)
    };
    for (i, slot) in slots.iter().enumerate() {
        let fail = |what: String| Err(Error::new(format!("Keyslot {i} {what}")));
        if slot.stripes != STRIPES {
            return fail(format!(
                "is corrupted (stripes {} != {STRIPES})",
                slot.stripes.cast_signed()
            ));
        }
        let state = be32(raw, field::SLOTS + i * field::SLOT_LEN);
        if state != ACTIVE && state != INACTIVE {
            return fail("state (active/disable) is corrupted".to_owned());
        }
        if slot.active && slot.iterations == 0 {
            return fail("iteration count is zero".to_owned());
        }
        let own = area(slot);
        if own.start < ALIGN_SECTORS {
            return fail("is overlapping with the LUKS header".to_owned());
        }
        if end.is_some_and(|end| own.end > end) {
            return fail("is overlapping with the encrypted payload".to_owned());
        }
        for (j, other) in slots.iter().enumerate().skip(i + 1) {
            let other = area(other);
            if own.start < other.end && other.start < own.end {
                return Err(Error::new(format!(
                    "Keyslots {i} and {j} are overlapping in the header"
                )));
            }
        }
    }
    Ok(())
}

/// What the names in a header mean. The mode is `MODE-IVGEN[:HASH]`.
fn algorithms(cipher: &str, mode: &str, hash: &str, key_len: u32) -> Result<(CipherSpec, Hash)> {
    let unknown = |what: &str, name: &str| Error::new(format!("{what} '{name}' not supported"));
    let Some((mode_name, ivgen)) = mode.split_once('-') else {
        return Err(Error::new(format!(
            "Unexpected cipher mode string format '{mode}'"
        )));
    };
    let (ivgen, ivgen_hash) = match ivgen.split_once(':') {
        None => (ivgen, None),
        Some((ivgen, name)) => {
            let hash = Hash::named(name).ok_or_else(|| unknown("Hash algorithm", name))?;
            (ivgen, Some(hash))
        }
    };
    let mode = Mode::named(mode_name).ok_or_else(|| unknown("Cipher mode", mode_name))?;
    let one_key = if mode == Mode::Xts {
        key_len / 2
    } else {
        key_len
    };
    let algorithm = usize::try_from(one_key)
        .ok()
        .and_then(|len| Algorithm::of_luks(cipher, len))
        .ok_or_else(|| {
            Error::new(format!(
                "Algorithm '{cipher}' with key size {one_key} bytes not supported"
            ))
        })?;
    let hash = Hash::named(hash).ok_or_else(|| unknown("Hash algorithm", hash))?;
    let ivgen = IvGen::named(ivgen).ok_or_else(|| unknown("IV generator", ivgen))?;
    if ivgen == IvGen::Essiv && ivgen_hash.is_none() {
        return Err(Error::new("Missing IV generator hash specification"));
    }
    let spec = CipherSpec {
        algorithm,
        mode,
        ivgen,
        ivgen_hash,
    };
    if key_len != u32::try_from(spec.key_len()).unwrap_or(0) {
        // An odd length in XTS mode.
        return Err(Error::new(format!(
            "Algorithm '{cipher}' with key size {one_key} bytes not supported"
        )));
    }
    // That the parts fit together is known before anybody waits for a passphrase.
    crate::SectorCipher::new(&spec, &vec![0; spec.key_len()])?;
    Ok((spec, hash))
}
