//! The header of a parallels image.

use qapi::{Error, Result};

use crate::bytes::{le32, le64, put_le32, put_le64};
use crate::make::invalid;

/// Bytes of the header; the array follows.
pub(super) const HEADER: usize = 64;
/// Places are counted in sectors.
pub(super) const MAGIC: &[u8] = b"WithoutFreeSpace";
/// Places are counted in blocks.
pub(super) const MAGIC_EXT: &[u8] = b"WithouFreSpacExt";
/// The mark of a writer, and where it is.
pub(super) const IN_USE: u32 = 0x746f_6e59;
pub(super) const IN_USE_AT: u64 = 44;
/// Where the start of the data is told, in sectors.
pub(super) const DATA_AT: u64 = 48;

const VERSION: u32 = 2;

/// Fields that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Places are counted in blocks.
    pub(super) ext: bool,
    /// Sectors of a block.
    pub(super) tracks: u32,
    pub(super) entries: u32,
    /// Size in bytes.
    pub(super) size: u64,
    pub(super) in_use: bool,
    /// In sectors; 0 in old images: right behind the array.
    pub(super) data: u32,
}

fn too_big(message: &str) -> Error {
    Error::new(message).errno(27)
}

impl Header {
    /// Reads and checks it.
    ///
    /// # Errors
    /// In the reference's words.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self> {
        let ext = bytes.starts_with(MAGIC_EXT);
        if le32(bytes, 16) != VERSION || !(ext || bytes.starts_with(MAGIC)) {
            return Err(invalid("Image not in Parallels format"));
        }
        let tracks = le32(bytes, 28);
        if tracks == 0 {
            return Err(invalid("Invalid image: Zero sectors per track"));
        }
        if tracks > (i32::MAX / 513).unsigned_abs() {
            return Err(too_big("Invalid image: Too big cluster"));
        }
        let entries = le32(bytes, 32);
        if entries > u32::MAX / 8 {
            return Err(too_big("Catalog too large"));
        }
        if le64(bytes, 56) >= (i64::MAX >> 9).unsigned_abs() {
            return Err(too_big("Invalid image: Too big offset"));
        }
        let sectors = le64(bytes, 36);
        let sectors = if ext { sectors } else { sectors & 0xffff_ffff };
        let size = sectors
            .checked_mul(512)
            .filter(|s| *s <= i64::MAX.unsigned_abs());
        Ok(Self {
            ext,
            tracks,
            entries,
            size: size.ok_or_else(|| too_big("Image is too large"))?,
            in_use: le32(bytes, 44) == IN_USE,
            data: le32(bytes, 48),
        })
    }

    /// Bytes of a block.
    pub(super) fn cluster(&self) -> u64 {
        u64::from(self.tracks) * 512
    }

    /// Bytes that a place is counted in.
    pub(super) fn unit(&self) -> u64 {
        if self.ext { self.cluster() } else { 512 }
    }

    /// First byte of the first block in a file of `length` bytes, and whether that is what the header says.
    pub(super) fn data_start(&self, length: u64) -> (u64, bool) {
        let array = HEADER as u64 + u64::from(self.entries) * 4;
        let least = array.next_multiple_of(self.unit());
        let told = u64::from(self.data) * 512;
        if told == 0 && !self.ext {
            return (least, true);
        }
        if told < least || told > length.next_multiple_of(512) {
            return (least, false);
        }
        (told, true)
    }

    /// The header's bytes.
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let magic = if self.ext { MAGIC_EXT } else { MAGIC };
        bytes[..16].copy_from_slice(magic);
        put_le32(&mut bytes, 16, VERSION);
        put_le32(&mut bytes, 20, 16);
        let cylinders = self.size / 512 / 16 / 32;
        put_le32(
            &mut bytes,
            24,
            u32::try_from(cylinders & 0xffff_ffff).unwrap_or(0),
        );
        put_le32(&mut bytes, 28, self.tracks);
        put_le32(&mut bytes, 32, self.entries);
        put_le64(&mut bytes, 36, self.size / 512);
        put_le32(&mut bytes, 44, if self.in_use { IN_USE } else { 0 });
        put_le32(&mut bytes, 48, self.data);
        bytes
    }
}
