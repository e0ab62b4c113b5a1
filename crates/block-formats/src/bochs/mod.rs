//! bochs: growing redologs of the Bochs emulator (`hdimage.h` of Bochs, versions 1 and 2), read only.
//!
//! A header of 512 bytes, a catalog of extents, and for each extent in use a bitmap of its sectors and the sectors.
//! Sectors that the bitmap does not have read as zeroes. Numbers are little endian.

mod header;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use block_core::{
    BoxFuture, Edge, Extent, ExtentKind, FormatDriver, FormatInfo, OpenRequest, Opened, Place,
    ProbeInput, Slot,
};
use qapi::{Result, format_size};

use crate::bytes::le32;
use crate::read_only::{Lookup, ReadOnly, could_not_read, disk_size};
use header::{HEADER, Header, SECTOR};

/// An extent that was never written.
const FREE: u32 = u32::MAX;

/// bochs
pub static DRIVER: FormatDriver = FormatDriver {
    name: "bochs",
    probe,
    open: |request: OpenRequest<'_>| -> BoxFuture<'_, Result<Opened>> { Box::pin(open(request)) },
    create: None,
    create_options: &[],
    amend_options: &[],
    measure: None,
    supports_backing: false,
};

fn probe(input: &ProbeInput<'_>) -> u8 {
    match input.head.first_chunk::<HEADER>() {
        Some(head) if header::is_bochs(head) => 100,
        _ => 0,
    }
}

async fn open(request: OpenRequest<'_>) -> Result<Opened> {
    let file = request.file;
    let name = file.node().filename().to_owned();
    let failed = |e: io::Error| could_not_read(&name, &e);
    let mut bytes = [0; HEADER];
    file.read(0, &mut bytes).await.map_err(failed)?;
    let header = Header::decode(&bytes)?;
    let size = disk_size(header.sectors)?;
    let mut catalog = vec![0; header.catalog as usize * 4];
    file.read(header.catalog_at.into(), &mut catalog)
        .await
        .map_err(failed)?;
    let bochs = Bochs {
        catalog: catalog.chunks_exact(4).map(|e| le32(e, 0)).collect(),
        file: Arc::clone(&file),
        size,
        header,
        last: Mutex::default(),
    };
    Ok(Opened {
        format: Box::new(ReadOnly(bochs)),
        edges: vec![file],
        backing: None,
    })
}

struct Bochs {
    file: Arc<Edge>,
    size: u64,
    header: Header,
    /// Numbers of extents in the file.
    catalog: Vec<u32>,
    /// The bitmap read last, and of which extent it is.
    last: Mutex<Option<(u64, Arc<Vec<u8>>)>>,
}

fn failed() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Bochs {
    /// The number of the extent with `offset`, and where its bitmap is; `None` when it was never written.
    fn extent(&self, offset: u64) -> io::Result<(u64, Option<u64>)> {
        let number = offset / u64::from(self.header.extent);
        let index = usize::try_from(number).map_err(io::Error::other)?;
        let entry = *self.catalog.get(index).ok_or_else(failed)?;
        if entry == FREE {
            return Ok((number, None));
        }
        let each = u64::from(self.header.bitmap_sectors) + self.header.sectors_of_extent();
        let at = (u64::from(entry) * SECTOR)
            .checked_mul(each)
            .and_then(|at| at.checked_add(self.header.data_at()))
            .filter(|at| i64::try_from(*at).is_ok())
            .ok_or_else(failed)?;
        Ok((number, Some(at)))
    }

    fn known(&self, number: u64) -> Option<Arc<Vec<u8>>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, bits) = last.as_ref()?;
        (*of == number).then(|| Arc::clone(bits))
    }

    async fn bitmap(&self, number: u64, at: u64) -> io::Result<Arc<Vec<u8>>> {
        if let Some(bits) = self.known(number) {
            return Ok(bits);
        }
        let bytes = self.header.sectors_of_extent().div_ceil(8);
        let mut bits = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        self.file.read(at, &mut bits).await?;
        let bits = Arc::new(bits);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((number, Arc::clone(&bits)));
        Ok(bits)
    }

    /// What the bitmap at `at` says of `offset`.
    fn look(&self, offset: u64, len: u64, at: u64, bits: &[u8]) -> io::Result<Extent> {
        let within = offset % u64::from(self.header.extent);
        let left = len.min(u64::from(self.header.extent) - within);
        let first = within / SECTOR;
        let last = (within + left - 1) / SECTOR;
        let there = bit(bits, first)?;
        let mut sector = first + 1;
        while sector <= last && bit(bits, sector)? == there {
            sector += 1;
        }
        let len = left.min(sector * SECTOR - within);
        if !there {
            return Ok(zero(len));
        }
        let data = at + SECTOR * u64::from(self.header.bitmap_sectors) + within;
        Ok(Extent {
            len,
            kind: ExtentKind::Data {
                at: Place {
                    slot: Slot::FILE,
                    offset: data,
                },
                recurse: false,
            },
        })
    }

    /// An extent that was never written.
    fn hole(&self, offset: u64, len: u64) -> Extent {
        let extent = u64::from(self.header.extent);
        zero(len.min(extent - offset % extent))
    }
}

fn bit(bits: &[u8], sector: u64) -> io::Result<bool> {
    let index = usize::try_from(sector / 8).map_err(io::Error::other)?;
    let byte = bits.get(index).ok_or_else(failed)?;
    Ok(byte >> (sector % 8) & 1 != 0)
}

fn zero(len: u64) -> Extent {
    Extent {
        len,
        kind: ExtentKind::Zero { at: None },
    }
}

impl Lookup for Bochs {
    fn size(&self) -> u64 {
        self.size
    }

    fn info(&self) -> FormatInfo {
        let extent = format_size(self.header.extent.into());
        FormatInfo {
            uses: vec![format!(
                "growing disk of Bochs, in extents of {extent}, read only"
            )],
            ..FormatInfo::default()
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        Box::pin(async move {
            match self.extent(offset)? {
                (_, None) => Ok(self.hole(offset, len)),
                (number, Some(at)) => {
                    let bits = self.bitmap(number, at).await?;
                    self.look(offset, len, at, &bits)
                }
            }
        })
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent> {
        match self.extent(offset).ok()? {
            (_, None) => Some(self.hole(offset, len)),
            (number, Some(at)) => {
                let bits = self.known(number)?;
                self.look(offset, len, at, &bits).ok()
            }
        }
    }

    fn unpack(&self, _start: u64, _packed: &[u8], _cluster: &mut [u8]) -> io::Result<()> {
        Err(failed())
    }
}

#[cfg(test)]
mod tests;
