//! The header of a vdi image, version 1.1.

use qapi::Result;

use crate::bytes::{le32, le64, put_le32, put_le64};
use crate::make::{invalid, unsupported};

/// Bytes of the header.
pub(super) const HEADER: usize = 512;
/// Bytes of a block; others are not in use.
pub(super) const BLOCK: u64 = 1 << 20;
/// What is at offset 64.
pub(super) const MAGIC: u32 = 0xbeda_107f;
/// Where the number of blocks in the file is.
pub(super) const ALLOCATED_AT: u64 = 0x184;

const VERSION: u32 = 0x0001_0001;
/// Blocks an image may have.
const MAX_BLOCKS: u32 = 0x1fff_ff80;
/// The largest disk in bytes.
pub(super) const MAX_SIZE: u64 = MAX_BLOCKS as u64 * BLOCK;
const TEXT: &[u8] = b"<<< QEMU VM Virtual Disk Image >>>\n";

/// Fields that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// 1 dynamic, 2 static.
    pub(super) kind: u32,
    /// Where the array of block numbers is.
    pub(super) map_offset: u32,
    /// Where block 0 of the file is.
    pub(super) data_offset: u32,
    /// Size in bytes as it is stored.
    pub(super) size: u64,
    /// Blocks of the disk.
    pub(super) blocks: u32,
    /// Blocks in the file.
    pub(super) allocated: u32,
}

impl Header {
    /// Size in bytes, in whole sectors.
    pub(super) fn disk_size(&self) -> u64 {
        self.size.next_multiple_of(512)
    }

    /// Reads and checks it.
    ///
    /// # Errors
    /// In the reference's words.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self> {
        let header = Self {
            kind: le32(bytes, 0x4c),
            map_offset: le32(bytes, 0x154),
            data_offset: le32(bytes, 0x158),
            size: le64(bytes, 0x170),
            blocks: le32(bytes, 0x180),
            allocated: le32(bytes, 0x184),
        };
        too_large(header.size)?;
        let magic = le32(bytes, 0x40);
        if magic != MAGIC {
            return Err(invalid(format!(
                "Image not in VDI format (bad signature {magic:08x})"
            )));
        }
        header.check_layout(bytes)?;
        header.check_links(bytes)?;
        Ok(header)
    }

    fn check_layout(&self, bytes: &[u8]) -> Result<()> {
        let version = le32(bytes, 0x44);
        if version != VERSION {
            let (major, minor) = (version >> 16, version & 0xffff);
            return Err(refused(&format!("version {major}.{minor}")));
        }
        if !self.map_offset.is_multiple_of(512) {
            return Err(refused(&format!(
                "unaligned block map offset 0x{:x}",
                self.map_offset
            )));
        }
        if !self.data_offset.is_multiple_of(512) {
            return Err(refused(&format!(
                "unaligned data offset 0x{:x}",
                self.data_offset
            )));
        }
        let sector = le32(bytes, 0x168);
        if sector != 512 {
            return Err(refused(&format!("sector size {sector} is not 512")));
        }
        let block = le32(bytes, 0x178);
        if u64::from(block) != BLOCK {
            return Err(refused(&format!("block size {block} is not {BLOCK}")));
        }
        let room = u64::from(self.blocks) * BLOCK;
        if self.disk_size() > room {
            return Err(refused(&format!(
                "disk size {}, image bitmap has room for {room}",
                self.disk_size()
            )));
        }
        Ok(())
    }

    fn check_links(&self, bytes: &[u8]) -> Result<()> {
        let is_null = |at: usize| bytes[at..at + 16].iter().all(|b| *b == 0);
        if !is_null(0x1a8) {
            return Err(refused("non-NULL link UUID"));
        }
        if !is_null(0x1b8) {
            return Err(refused("non-NULL parent UUID"));
        }
        if self.blocks > MAX_BLOCKS {
            let blocks = self.blocks;
            return Err(refused(&format!(
                "too many blocks {blocks}, max is {MAX_BLOCKS}"
            )));
        }
        Ok(())
    }

    /// The header's bytes; `ids` are the image's UUID and that of its last snapshot.
    pub(super) fn encode(&self, ids: [[u8; 16]; 2]) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..TEXT.len()].copy_from_slice(TEXT);
        put_le32(&mut bytes, 0x40, MAGIC);
        put_le32(&mut bytes, 0x44, VERSION);
        put_le32(&mut bytes, 0x48, 0x180);
        put_le32(&mut bytes, 0x4c, self.kind);
        put_le32(&mut bytes, 0x154, self.map_offset);
        put_le32(&mut bytes, 0x158, self.data_offset);
        put_le32(&mut bytes, 0x168, 512);
        put_le64(&mut bytes, 0x170, self.size);
        put_le32(&mut bytes, 0x178, 1 << 20);
        put_le32(&mut bytes, 0x180, self.blocks);
        put_le32(&mut bytes, 0x184, self.allocated);
        bytes[0x188..0x198].copy_from_slice(&ids[0]);
        bytes[0x198..0x1a8].copy_from_slice(&ids[1]);
        bytes
    }
}

/// Refuses disks that the format cannot have.
pub(super) fn too_large(size: u64) -> Result<()> {
    if size <= MAX_SIZE {
        return Ok(());
    }
    Err(unsupported(format!(
        "Unsupported VDI image size (size is 0x{size:x}, max supported is 0x{MAX_SIZE:x})"
    )))
}

fn refused(what: &str) -> qapi::Error {
    unsupported(format!("unsupported VDI image ({what})"))
}
