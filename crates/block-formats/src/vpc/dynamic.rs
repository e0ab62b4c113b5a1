//! Dynamic disks: blocks behind bitmaps, found by an array of sector numbers.

use std::io;
use std::sync::Arc;

use block_core::{BoxFuture, Edge, FormatInfo, Opened};
use qapi::{Error, Result, format_size};

use super::Found;
use super::footer::{FOOTER, Footer, checksum};
use crate::blocks::{Blocks, Cell, Core, Scheme};
use crate::bytes::{be32, be64, put_be32, put_be64};
use crate::make::invalid;
use crate::tables::{Coding, Tables};

/// Bytes of the header.
pub(super) const HEADER: usize = 1024;
/// Bytes of a block of images made here.
pub(super) const BLOCK: u64 = 2 << 20;

const MAGIC: &[u8] = b"cxsparse";
/// A block that was never written.
pub(super) const FREE: u64 = 0xffff_ffff;
/// Entries that the reference takes.
const MAX_ENTRIES: u32 = i32::MAX as u32 / 4;

/// The header of a dynamic disk with a table for `entries` blocks at `table`.
pub(super) fn encode(table: u64, entries: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    put_be64(&mut bytes, 8, u64::MAX);
    put_be64(&mut bytes, 16, table);
    put_be32(&mut bytes, 24, 0x0001_0000);
    put_be32(&mut bytes, 28, entries);
    put_be32(&mut bytes, 32, 2 << 20);
    let sum = checksum(&bytes, 36);
    put_be32(&mut bytes, 36, sum);
    bytes
}

/// What a block's entry means, and where the footer belongs.
struct Dynamic {
    footer: [u8; FOOTER],
    /// One of its copies has to be written anew.
    damaged: bool,
    id: String,
    /// Bytes of the bitmap before a block.
    bitmap: u64,
}

impl Dynamic {
    fn uses(&self, block: u64) -> Vec<String> {
        let mut uses = vec![format!(
            "dynamic disk of Virtual PC, in blocks of {}, each behind a bitmap of {} bytes",
            format_size(block),
            self.bitmap
        )];
        if self.damaged {
            uses.push("one of its two footers is damaged; the other counts".to_owned());
        }
        uses
    }
}

/// The header of a dynamic or differencing disk.
pub(super) struct Header {
    /// Bytes of a block.
    pub(super) block: u64,
    /// Bytes of the bitmap before it.
    pub(super) bitmap: u64,
    entries: u32,
    table: u64,
}

impl Header {
    fn decode(bytes: &[u8; HEADER], size: u64) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(invalid("Invalid header magic"));
        }
        let block = be32(bytes, 32);
        if !block.is_power_of_two() || block < 512 {
            return Err(invalid(format!("Invalid block size {block}")));
        }
        let block = u64::from(block);
        if size / block > u64::from(u32::MAX) {
            return Err(invalid("Too many blocks"));
        }
        let entries = be32(bytes, 28);
        if u64::from(entries) * block < size {
            return Err(invalid("Page table too small"));
        }
        if entries > MAX_ENTRIES {
            let told = entries.cast_signed();
            return Err(invalid(format!("Max Table Entries too large ({told})")));
        }
        Ok(Self {
            block,
            bitmap: (block / (8 * 512)).next_multiple_of(512).max(512),
            entries,
            table: be64(bytes, 16),
        })
    }
}

/// What dynamic and differencing disks have in common.
pub(super) struct Front {
    pub(super) header: Header,
    /// Its bytes.
    pub(super) raw: [u8; HEADER],
    pub(super) tables: Tables,
    /// First byte behind the last block.
    pub(super) next: u64,
}

/// Reads the header, and where the table's blocks end.
pub(super) async fn front(file: &Arc<Edge>, footer: &Footer, size: u64) -> Result<Front> {
    let length = file.node().length();
    let length = length.map_err(|e| Error::from_io("Unable to learn image size", &e))?;
    let mut raw = [0; HEADER];
    let inside = footer
        .data_offset
        .checked_add(HEADER as u64)
        .is_some_and(|end| end <= length);
    if !inside {
        return Err(invalid("Error reading dynamic VHD header"));
    }
    file.read(footer.data_offset, &mut raw)
        .await
        .map_err(|e| Error::from_io("Error reading dynamic VHD header", &e))?;
    let header = Header::decode(&raw, size)?;
    let table_end = header.table.checked_add(u64::from(header.entries) * 4);
    let Some(table_end) = table_end.filter(|end| *end <= length) else {
        return Err(invalid("Error reading pagetable"));
    };
    let tables = Tables::array(
        Arc::clone(file),
        Coding::Be32,
        header.table,
        header.entries.into(),
    );
    let mut next = table_end.next_multiple_of(512);
    tables
        .scan(|_, raw| {
            if raw != FREE {
                next = next.max(raw * 512 + header.bitmap + header.block);
            }
        })
        .await
        .map_err(|e| Error::from_io("Error reading pagetable", &e))?;
    if next > length {
        return Err(invalid(
            "block-vpc: free_data_block_offset points after the end of file. The image has been truncated.",
        ));
    }
    Ok(Front {
        header,
        raw,
        tables,
        next,
    })
}

/// Opens a dynamic disk of `size` bytes.
pub(super) async fn open(
    file: Arc<Edge>,
    (footer, found): (&Footer, Found),
    size: u64,
    read_write: bool,
) -> Result<Opened> {
    let front = front(&file, footer, size).await?;
    let numbers = (size, front.header.block, front.next);
    let core = Core::new(file.clone(), front.tables, numbers, read_write);
    let scheme = Dynamic {
        footer: found.bytes,
        damaged: found.damaged,
        id: footer.id.clone(),
        bitmap: front.header.bitmap,
    };
    Ok(Opened {
        format: Box::new(Blocks::new(core, scheme)),
        edges: vec![file],
        backing: None,
    })
}

impl Scheme for Dynamic {
    fn cell(&self, raw: u64) -> Cell {
        if raw == FREE {
            Cell::Zero
        } else {
            Cell::Data(raw * 512 + self.bitmap)
        }
    }

    fn raw(&self, host: u64) -> u64 {
        (host - self.bitmap) / 512
    }

    /// All sectors of a block are in use: a new block is all ours.
    fn lead(&self) -> (u64, u8) {
        (self.bitmap, 0xff)
    }

    fn alignment(&self) -> u64 {
        512
    }

    /// What one copy lost, the other still knows.
    fn begin<'a>(&'a self, core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            if self.damaged {
                core.write(0, &self.footer).await?;
                core.write(core.next(), &self.footer).await?;
            }
            Ok(())
        })
    }

    /// New blocks were put where the footer was.
    fn settle<'a>(&'a self, core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { core.write(core.next(), &self.footer).await })
    }

    fn info(&self, core: &Core) -> FormatInfo {
        FormatInfo {
            dirty: Some(false),
            cluster_size: Some(core.block),
            content_id: Some(self.id.clone()),
            uses: self.uses(core.block),
            ..FormatInfo::default()
        }
    }
}
