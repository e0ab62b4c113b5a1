//! Slots: finding the disk's key in one with a passphrase, putting it into one, erasing one.

use std::fmt;

use qapi::{Error, Result};
use zeroize::Zeroizing;

use super::header::material_sectors;
use super::{DIGEST_LEN, Header, MAX_ITERATIONS, SALT_LEN, SECTOR, SLOTS};
use crate::{Hash, Passphrase, SectorCipher, Stop, afsplit, count_iterations, derive, random};

/// Fewest iterations of a slot.
const MIN_SLOT_ITERATIONS: u64 = 1000;

/// The key of a disk; wiped when dropped.
pub struct MasterKey(pub(super) Zeroizing<Vec<u8>>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// Where a slot's material is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaterialRange {
    /// Its first byte.
    pub offset: u64,
    /// Its length: whole sectors, at most 256 KiB.
    pub len: usize,
}

/// Iterations that take `time_ms`, when a second of computing does `per_second`.
pub(super) fn scaled(per_second: u64, time_ms: u64, divisor: u64, least: u64) -> Result<u32> {
    let range = |what: String| Error::with_errno(what, 34);
    let all = per_second
        .checked_mul(time_ms)
        .ok_or_else(|| range(format!("PBKDF iterations {per_second} too large to scale")))?;
    let iterations = all / 1000 / divisor;
    u32::try_from(iterations.max(least)).map_err(|_| {
        range(format!(
            "PBKDF iterations {iterations} larger than {}",
            u32::MAX
        ))
    })
}

impl Header {
    /// What en- and decrypts the payload.
    ///
    /// # Errors
    /// When the key is not of this header.
    pub fn cipher(&self, key: &MasterKey) -> Result<SectorCipher> {
        SectorCipher::new(&self.spec, &key.0)
    }

    /// Where the material of a slot is; `slot` below [`SLOTS`].
    #[must_use]
    pub fn material(&self, slot: usize) -> MaterialRange {
        let stripes = self.slots[slot].stripes;
        // Key length and stripes were checked: at most 64 times 4000.
        let bytes = self.key_len() * usize::try_from(stripes).unwrap_or(0);
        MaterialRange {
            offset: self.slots[slot].offset(),
            len: bytes.next_multiple_of(crate::SECTOR_LEN),
        }
    }

    /// Refuses a header whose iterations would take far longer than anybody's patience.
    ///
    /// # Errors
    /// With the number.
    pub fn check_iterations(&self) -> Result<()> {
        let active = self.slots.iter().filter(|s| s.active);
        let all: u64 = active
            .map(|s| u64::from(s.iterations) + u64::from(self.iterations))
            .sum();
        if all > MAX_ITERATIONS {
            return Err(Error::new(format!(
                "The LUKS header asks for {all} iterations to try its keyslots, more than {MAX_ITERATIONS}"
            )));
        }
        Ok(())
    }

    /// Looks for the key in a slot with a passphrase. `material` is what is stored for the slot, and is used up.
    /// `None`: the slot is inactive, or the passphrase is another one.
    ///
    /// # Errors
    /// When it was stopped.
    pub fn open_slot(
        &self,
        slot: usize,
        material: &mut [u8],
        passphrase: &Passphrase,
        stop: &Stop,
    ) -> Result<Option<MasterKey>> {
        let slot = &self.slots[slot];
        if !slot.active {
            return Ok(None);
        }
        let len = self.key_len();
        let mut key = Zeroizing::new(vec![0; len]);
        let password = passphrase.as_bytes();
        let iterations = u64::from(slot.iterations);
        derive(self.hash, password, &slot.salt, iterations, &mut key, stop)?;
        SectorCipher::new(&self.spec, &key)?.decrypt(0, material);
        let bytes = len * usize::try_from(slot.stripes).unwrap_or(0);
        let split = material.get(..bytes).unwrap_or(material);
        let key = afsplit::merge(self.hash, split, len);
        let digest = digest(self.hash, &key, &self.salt, self.iterations, stop)?;
        // All bytes are looked at, so that time does not tell how many are right.
        let differ = digest
            .iter()
            .zip(&self.digest)
            .fold(0, |all, (a, b)| all | (a ^ b));
        Ok((differ == 0).then_some(MasterKey(key)))
    }

    /// Puts the key into a slot under a passphrase, and gives what is to be stored as its material. The header is to be
    /// stored after it.
    ///
    /// # Errors
    /// When there are no random bytes, the time is beyond all numbers, or it was stopped.
    pub fn fill_slot(
        &mut self,
        slot: usize,
        key: &MasterKey,
        passphrase: &Passphrase,
        time_ms: u64,
        stop: &Stop,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let len = self.key_len();
        let mut salt = [0; SALT_LEN];
        random(&mut salt)?;
        let per_second = count_iterations(self.hash, len, stop)?;
        let iterations = scaled(per_second, time_ms, 1, MIN_SLOT_ITERATIONS)?;
        let mut slot_key = Zeroizing::new(vec![0; len]);
        let password = passphrase.as_bytes();
        derive(
            self.hash,
            password,
            &salt,
            u64::from(iterations),
            &mut slot_key,
            stop,
        )?;
        let range = self.material(slot);
        let stripes = usize::try_from(self.slots[slot].stripes).unwrap_or(1);
        let mut material = afsplit::split(self.hash, &key.0, stripes)?;
        if material.len() < range.len {
            // What is behind the last stripe in its sector is encrypted, too.
            let mut whole = Zeroizing::new(vec![0; range.len]);
            whole[..material.len()].copy_from_slice(&material);
            material = whole;
        }
        SectorCipher::new(&self.spec, &slot_key)?.encrypt(0, &mut material);
        let entry = &mut self.slots[slot];
        entry.salt = salt;
        entry.iterations = iterations;
        entry.active = true;
        Ok(material)
    }

    /// Makes a slot inactive. The header is to be stored, and the material overwritten.
    pub fn clear_slot(&mut self, slot: usize) {
        let entry = &mut self.slots[slot];
        entry.salt = [0; SALT_LEN];
        entry.iterations = 0;
        entry.active = false;
    }

    /// The first slot that is not active.
    #[must_use]
    pub fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(|s| !s.active)
    }

    /// How many slots are active.
    #[must_use]
    pub fn active_slots(&self) -> usize {
        self.slots.iter().filter(|s| s.active).count()
    }
}

/// The digest by which a key is known to be right.
pub(super) fn digest(
    hash: Hash,
    key: &[u8],
    salt: &[u8],
    iterations: u32,
    stop: &Stop,
) -> Result<[u8; DIGEST_LEN]> {
    let mut digest = [0; DIGEST_LEN];
    derive(hash, key, salt, u64::from(iterations), &mut digest, stop)?;
    Ok(digest)
}

/// Sectors from the front of the file to the end of the last slot's material, for keys of this length.
pub(super) fn header_sectors(key_len: usize) -> u64 {
    let slots = u64::try_from(SLOTS).unwrap_or(8);
    super::ALIGN_SECTORS
        + slots * material_sectors(u32::try_from(key_len).unwrap_or(0), super::STRIPES)
}

/// The same in bytes.
pub(super) fn header_bytes(key_len: usize) -> u64 {
    header_sectors(key_len) * SECTOR
}
