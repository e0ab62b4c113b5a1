//! The two headers of an image: where the log is, and which of them is newer.

use std::io;
use std::sync::Arc;

use block_core::{Edge, WriteFlags};
use qapi::Result;

use crate::blocks::errno;
use crate::bytes::{le16, le32, le64, put_le16, put_le32, put_le64};
use crate::make::invalid;

/// Where the headers are.
pub(super) const PLACES: [u64; 2] = [64 << 10, 128 << 10];
/// What regions and blocks are aligned to; the headers and their kin lie before the first.
pub(super) const MIB: u64 = 1 << 20;
/// What the log's sectors and each header are long.
pub(super) const SECTOR: usize = 4096;

const SIGNATURE: &[u8] = b"head";
const CHECKSUM_AT: usize = 4;

/// 128 bits that name something.
pub(super) type Guid = [u8; 16];

/// Fields of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: u64,
    /// New with each session that writes.
    pub(super) file_write: Guid,
    /// New with each session that changes what a guest sees; images that stand on this one name it.
    pub(super) data_write: Guid,
    /// Names the entries of the log that count; zero for none.
    pub(super) log: Guid,
    pub(super) log_version: u16,
    pub(super) log_length: u32,
    pub(super) log_offset: u64,
}

/// The sum of a structure, its own field taken as zero.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let after = CHECKSUM_AT + 4;
    let sum = crc32c::crc32c(bytes.get(..CHECKSUM_AT).unwrap_or_default());
    let sum = crc32c::crc32c_append(sum, &[0; 4]);
    crc32c::crc32c_append(sum, bytes.get(after..).unwrap_or_default())
}

/// Whether a structure has the sum it says.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    checksum(bytes) == le32(bytes, CHECKSUM_AT)
}

/// Enters the sum of a structure.
pub(super) fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    put_le32(bytes, CHECKSUM_AT, sum);
}

/// The GUID at an offset.
pub(super) fn guid(bytes: &[u8], at: usize) -> Guid {
    let mut guid = [0; 16];
    if let Some(found) = bytes.get(at..at + 16) {
        guid.copy_from_slice(found);
    }
    guid
}

impl Header {
    fn decode(bytes: &[u8; SECTOR]) -> Option<Self> {
        let good = bytes.starts_with(SIGNATURE) && is_whole(bytes) && le16(bytes, 66) == 1;
        good.then(|| Self {
            sequence: le64(bytes, 8),
            file_write: guid(bytes, 16),
            data_write: guid(bytes, 32),
            log: guid(bytes, 48),
            log_version: le16(bytes, 64),
            log_length: le32(bytes, 68),
            log_offset: le64(bytes, 72),
        })
    }

    /// The header's bytes.
    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        bytes[..4].copy_from_slice(SIGNATURE);
        put_le64(&mut bytes, 8, self.sequence);
        bytes[16..32].copy_from_slice(&self.file_write);
        bytes[32..48].copy_from_slice(&self.data_write);
        bytes[48..64].copy_from_slice(&self.log);
        put_le16(&mut bytes, 64, self.log_version);
        put_le16(&mut bytes, 66, 1);
        put_le32(&mut bytes, 68, self.log_length);
        put_le64(&mut bytes, 72, self.log_offset);
        seal(&mut bytes);
        bytes
    }

    /// Whether the log has entries that count.
    pub(super) fn has_log(&self) -> bool {
        self.log != Guid::default() && self.log_length > 0
    }

    fn check(&self) -> Result<()> {
        let damaged = |what: &str| Err(invalid(format!("The log of the VHDX image {what}")));
        if self.log_offset < MIB || !self.log_offset.is_multiple_of(MIB) {
            return damaged("is in a place where it cannot be");
        }
        if self.log_version != 0 {
            return damaged("is of a version that is not known");
        }
        if !u64::from(self.log_length).is_multiple_of(MIB) {
            return damaged("has an odd length");
        }
        if self.log_offset > i64::MAX as u64 {
            return damaged("is behind the end of what a file can be");
        }
        Ok(())
    }
}

/// The headers of an open image.
pub(super) struct Headers {
    file: Arc<Edge>,
    /// The newer one.
    pub(super) now: Header,
    /// Which of the two it is.
    slot: usize,
}

impl Headers {
    /// Reads both and takes the newer one.
    ///
    /// # Errors
    /// In the reference's words when neither is good.
    pub(super) async fn read(file: &Arc<Edge>) -> Result<Self> {
        let none = || invalid("No valid VHDX header found");
        let mut found = [None; 2];
        for (place, header) in PLACES.iter().zip(&mut found) {
            let mut bytes = [0; SECTOR];
            file.read(*place, &mut bytes).await.map_err(|_| none())?;
            *header = Header::decode(&bytes);
        }
        let (now, slot) = match found {
            [Some(first), None] => (first, 0),
            [None, Some(second)] => (second, 1),
            [Some(first), Some(second)] if first.sequence > second.sequence => (first, 0),
            [Some(first), Some(second)] if first.sequence < second.sequence => (second, 1),
            // A tool of Microsoft's writes the same one twice.
            [Some(first), Some(second)] if first == second => (first, 0),
            _ => return Err(none()),
        };
        now.check()?;
        Ok(Self {
            file: Arc::clone(file),
            now,
            slot,
        })
    }

    /// Replaces the older header by a newer one, and makes sure that it is there.
    ///
    /// # Errors
    /// What the file says.
    pub(super) async fn write(&mut self, change: impl FnOnce(&mut Header)) -> io::Result<()> {
        let mut new = self.now;
        new.sequence = new.sequence.checked_add(1).ok_or_else(|| errno(5))?;
        change(&mut new);
        let slot = 1 - self.slot;
        let bytes = new.encode();
        self.file
            .write(PLACES[slot], &bytes, WriteFlags::default())
            .await?;
        self.file.flush().await?;
        (self.now, self.slot) = (new, slot);
        Ok(())
    }
}
