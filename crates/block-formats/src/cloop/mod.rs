//! cloop: the packed loop devices of Knoppix (`create_compressed_fs.c` of the cloop utilities, format V2.0).
//!
//! A shell script of 128 bytes, the size of a block and how many there are, one offset more than there are blocks, and
//! for each block a zlib stream from its offset to the next. Numbers are big endian.

mod header;
mod offsets;

use std::io;

use block_core::{
    BoxFuture, Extent, ExtentKind, FormatDriver, FormatInfo, OpenRequest, Opened, Place,
    ProbeInput, Slot,
};
use qapi::{Result, format_size};

use crate::deflate;
use crate::read_only::{Lookup, ReadOnly, could_not_read, disk_size};
use header::{HEADER, Header, SCRIPT};
use offsets::Offsets;

/// cloop
pub static DRIVER: FormatDriver = FormatDriver {
    name: "cloop",
    probe,
    open: |request: OpenRequest<'_>| -> BoxFuture<'_, Result<Opened>> { Box::pin(open(request)) },
    create: None,
    create_options: &[],
    amend_options: &[],
    measure: None,
    supports_backing: false,
};

fn probe(input: &ProbeInput<'_>) -> u8 {
    if input.head.starts_with(SCRIPT) { 2 } else { 0 }
}

async fn open(request: OpenRequest<'_>) -> Result<Opened> {
    let file = request.file;
    let name = file.node().filename().to_owned();
    let mut bytes = [0; HEADER];
    let failed = |e: io::Error| could_not_read(&name, &e);
    file.read(0, &mut bytes).await.map_err(failed)?;
    let header = Header::decode(&bytes)?;
    let length = file.node().length().map_err(failed)?;
    let offsets = Offsets::new(file.clone(), header.blocks, length);
    offsets.check(&name).await?;
    let cloop = Cloop {
        block: header.block,
        size: disk_size(u64::from(header.blocks) * u64::from(header.block / 512))?,
        length,
        offsets,
    };
    Ok(Opened {
        format: Box::new(ReadOnly(cloop)),
        edges: vec![file],
        backing: None,
    })
}

struct Cloop {
    /// Bytes of a block.
    block: u32,
    /// Bytes of the disk.
    size: u64,
    /// Bytes of the file.
    length: u64,
    offsets: Offsets,
}

impl Cloop {
    /// The extent at `offset`, of a block that lies between `from` and `to` in the file.
    fn extent(&self, offset: u64, len: u64, (from, to): (u64, u64)) -> io::Result<Extent> {
        let block = u64::from(self.block);
        let within = offset % block;
        // No packer makes a block much longer than it was: what is behind that is not part of the stream.
        let packed = to.min(self.length).saturating_sub(from).min(2 * block);
        let packed = u32::try_from(packed).unwrap_or(0);
        if packed == 0 {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(Extent {
            len: len.min(block - within),
            kind: ExtentKind::Compressed {
                at: Place {
                    slot: Slot::FILE,
                    offset: from,
                },
                packed_len: packed,
                cluster_start: offset - within,
                cluster_len: self.block,
            },
        })
    }
}

impl Lookup for Cloop {
    fn size(&self) -> u64 {
        self.size
    }

    fn info(&self) -> FormatInfo {
        let block = format_size(self.block.into());
        FormatInfo {
            uses: vec![format!(
                "compressed loop image: blocks of {block} packed by zlib, read only"
            )],
            ..FormatInfo::default()
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        Box::pin(async move {
            let place = self.offsets.of(offset / u64::from(self.block)).await?;
            self.extent(offset, len, place)
        })
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent> {
        let place = self.offsets.known(offset / u64::from(self.block))?;
        self.extent(offset, len, place).ok()
    }

    fn unpack(&self, _start: u64, packed: &[u8], block: &mut [u8]) -> io::Result<()> {
        deflate::unpack_zlib(packed, block)
    }
}

#[cfg(test)]
mod tests;
