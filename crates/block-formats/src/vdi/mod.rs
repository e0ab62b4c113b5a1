//! vdi: the disk images of VirtualBox (comments in `VDICore.h` of VirtualBox's sources).
//!
//! A header of 512 bytes, an array of 32-bit block numbers, blocks of 1 MiB. Dynamic images map blocks as they are
//! written; static ones map all of them from the start.

mod check;
mod create;
mod header;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use block_core::{
    BoxFuture, CreateRequest, FormatDriver, FormatInfo, OpenRequest, Opened, ProbeInput,
};
use qapi::{Error, Result, format_size};

use crate::blocks::{Blocks, Cell, Checker, Core, Scheme};
use crate::bytes::le32;
use crate::tables::{Coding, Tables};
use header::{BLOCK, HEADER, Header, MAGIC};

/// A block that was never written.
const FREE: u64 = 0xffff_ffff;
/// A block that was given back; reads as zeroes too.
const DISCARDED: u64 = 0xffff_fffe;

/// vdi
pub static DRIVER: FormatDriver = FormatDriver {
    name: "vdi",
    probe,
    open: |request: OpenRequest<'_>| -> BoxFuture<'_, Result<Opened>> { Box::pin(open(request)) },
    create: Some(|request: CreateRequest<'_>| -> BoxFuture<'_, Result<()>> {
        Box::pin(create::create(request))
    }),
    create_options: create::OPTIONS,
    amend_options: &[],
    measure: None,
    supports_backing: false,
};

fn probe(input: &ProbeInput<'_>) -> u8 {
    if le32(input.head, 64) == MAGIC {
        100
    } else {
        0
    }
}

/// What entries mean: the number of a block behind `data`.
struct Vdi {
    data: u64,
    /// Blocks that the header says are in the file.
    told: AtomicU64,
    blocks: u64,
    /// All blocks are there from the start, many as holes.
    fixed: bool,
}

async fn open(request: OpenRequest<'_>) -> Result<Opened> {
    let file = request.file;
    let mut bytes = [0; HEADER];
    let failed = |e: io::Error| Error::from_io("Could not read the VDI header", &e);
    file.read(0, &mut bytes).await.map_err(failed)?;
    let header = Header::decode(&bytes)?;
    let map = header.map_offset.into();
    let blocks = u64::from(header.blocks);
    let length = file.node().length().map_err(failed)?;
    if map + blocks * 4 > length {
        return Err(Error::new("VDI block map ends behind the end of the file").errno(22));
    }
    let tables = Tables::array(file.clone(), Coding::Le32, map, blocks);
    let data = u64::from(header.data_offset);
    let used = if request.read_write {
        used(&tables, blocks).await.map_err(failed)?
    } else {
        0
    };
    let next = data + used.max(header.allocated.into()) * BLOCK;
    let core = Core::new(
        file.clone(),
        tables,
        (header.disk_size(), BLOCK, next),
        request.read_write,
    );
    let scheme = Vdi {
        data,
        told: AtomicU64::new(header.allocated.into()),
        blocks,
        fixed: header.kind == 2,
    };
    Ok(Opened {
        format: Box::new(Blocks::new(core, scheme)),
        edges: vec![file],
        backing: None,
    })
}

/// Blocks up to the last one in use: the header's count is written last, and a power cut may have come before.
async fn used(tables: &Tables, blocks: u64) -> io::Result<u64> {
    let mut used = 0;
    let see = |_, number| {
        if number < blocks {
            used = used.max(number + 1);
        }
    };
    tables.scan(see).await?;
    Ok(used)
}

impl Scheme for Vdi {
    fn cell(&self, raw: u64) -> Cell {
        match raw {
            FREE | DISCARDED => Cell::Zero,
            number if number < self.blocks => Cell::Data(self.data + number * BLOCK),
            _ => Cell::Bad,
        }
    }

    fn raw(&self, host: u64) -> u64 {
        (host - self.data) / BLOCK
    }

    fn holes(&self) -> bool {
        self.fixed
    }

    /// The header counts the blocks in the file.
    fn settle<'a>(&'a self, core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let blocks = core.next().saturating_sub(self.data) / BLOCK;
            if blocks == self.told.load(Ordering::Relaxed) {
                return Ok(());
            }
            let count = u32::try_from(blocks).unwrap_or(u32::MAX);
            core.write(header::ALLOCATED_AT, &count.to_le_bytes())
                .await?;
            self.told.store(blocks, Ordering::Relaxed);
            Ok(())
        })
    }

    fn info(&self, _core: &Core) -> FormatInfo {
        FormatInfo {
            dirty: Some(false),
            cluster_size: Some(BLOCK),
            uses: vec![
                format!(
                    "{} disk of VirtualBox, in blocks of {}",
                    if self.fixed { "static" } else { "dynamic" },
                    format_size(BLOCK)
                ),
                format!(
                    "{} of {} blocks are in the file",
                    self.told.load(Ordering::Relaxed),
                    self.blocks
                ),
            ],
            ..FormatInfo::default()
        }
    }

    fn checker(&self) -> Option<&dyn Checker> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
