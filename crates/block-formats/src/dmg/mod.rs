//! dmg: Apple's disk images (UDIF; there is no public specification, `hdiutil` writes them), read only.
//!
//! The last 512 bytes (`koly`) tell where a property list or an old resource fork is. These hold tables (`mish`) of
//! chunks: runs of sectors that are zero, plain, or packed by zlib, bzip2 or lzma. Numbers are big endian.

mod chunks;
mod fork;
mod plist;
mod trailer;
mod unpack;

use std::io;
use std::sync::Arc;

use block_core::{
    BoxFuture, Edge, Extent, ExtentKind, FormatDriver, FormatInfo, OpenRequest, Opened, Place,
    ProbeInput, Slot,
};
use qapi::{Error, Result};

use crate::read_only::{Lookup, ReadOnly, could_not_open, could_not_read, disk_size};
use chunks::{Chunk, Chunks, Kind, Packing};
use trailer::{Table, Trailer};

/// dmg
pub static DRIVER: FormatDriver = FormatDriver {
    name: "dmg",
    probe,
    open: |request: OpenRequest<'_>| -> BoxFuture<'_, Result<Opened>> { Box::pin(open(request)) },
    create: None,
    create_options: &[],
    amend_options: &[],
    measure: None,
    supports_backing: false,
};

fn probe(input: &ProbeInput<'_>) -> u8 {
    if input.filename.len() > 4 && input.filename.ends_with(".dmg") {
        2
    } else {
        0
    }
}

async fn open(request: OpenRequest<'_>) -> Result<Opened> {
    let file = request.file;
    let name = file.node().filename().to_owned();
    let trailer = find_trailer(&file, &name).await?;
    let mut chunks = Chunks::new(trailer.data_fork);
    let filled = match trailer.table {
        Table::Fork(at, len) => fork::read(&file, at, len, &mut chunks).await,
        Table::Plist(at, len) => plist::read(&file, at, len, &mut chunks).await,
    };
    filled.map_err(|failure| failure.told(&name))?;
    let dmg = Dmg {
        size: disk_size(trailer.sectors)?,
        chunks: chunks.sorted(),
    };
    Ok(Opened {
        format: Box::new(ReadOnly(dmg)),
        edges: vec![file],
        backing: None,
    })
}

/// Looks for the trailer, which starts in the last sector or the one before when the file has an odd length.
async fn find_trailer(file: &Arc<Edge>, name: &str) -> Result<Trailer> {
    let length = file
        .node()
        .length()
        .map_err(|e| Error::from_io("Failed to get file size while reading UDIF trailer", &e))?;
    let length = length.next_multiple_of(512);
    if length < 512 {
        let words = "dmg file must be at least 512 bytes long";
        return Err(Error::new(words).errno(22));
    }
    let from = length.saturating_sub(trailer::SEARCH_BACK);
    let mut bytes = vec![0; trailer::WINDOW + trailer::LEN];
    file.read(from, &mut bytes)
        .await
        .map_err(|e| Error::from_io("Failed while reading UDIF trailer", &e))?;
    let within = trailer::find(&bytes[..trailer::WINDOW])
        .ok_or_else(|| Error::new("Could not locate UDIF trailer in dmg file").errno(22))?;
    let end = from + within as u64;
    Trailer::decode(&bytes[within..], end).ok_or_else(|| could_not_open(name, 22))
}

/// Why a table could not be read.
enum Failure {
    /// It cannot be.
    Invalid,
    /// It cannot be, in so many words.
    Words(String),
    /// The file could not be read.
    Read(io::Error),
}

impl Failure {
    /// The error that the user sees; words that are printed apart from it go out here.
    fn told(self, name: &str) -> Error {
        match self {
            Self::Invalid => could_not_open(name, 22),
            Self::Words(words) => {
                qapi::report(&Error::new(words));
                could_not_open(name, 22)
            }
            Self::Read(error) => could_not_read(name, &error),
        }
    }
}

/// Kinds of chunks, in words.
const KINDS: &[(Kind, &str)] = &[
    (Kind::Plain, "as they are"),
    (Kind::Zero, "of zeroes"),
    (Kind::Packed(Packing::Zlib), "packed by zlib"),
    (Kind::Packed(Packing::Bzip2), "packed by bzip2"),
    (Kind::Packed(Packing::Lzma), "packed by lzma"),
];

struct Dmg {
    size: u64,
    /// By their first sector; none is empty.
    chunks: Vec<Chunk>,
}

impl Dmg {
    /// The chunk with this sector.
    fn find(&self, sector: u64) -> Option<&Chunk> {
        let after = self.chunks.partition_point(|c| c.first <= sector);
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        (sector - chunk.first < chunk.sectors).then_some(chunk)
    }

    fn look(&self, offset: u64, len: u64) -> io::Result<Extent> {
        let chunk = self
            .find(offset / 512)
            .ok_or_else(|| io::Error::from_raw_os_error(5))?;
        let start = chunk.first * 512;
        let within = offset - start;
        let bytes = chunk.sectors.saturating_mul(512);
        let len = len.min(bytes - within);
        let place = |offset: u64| Place {
            slot: Slot::FILE,
            offset,
        };
        Ok(match chunk.kind {
            Kind::Zero => zero(len),
            // What the file does not have of a plain chunk is zero.
            Kind::Plain if within >= chunk.len => zero(len),
            Kind::Plain => Extent {
                len: len.min(chunk.len - within),
                kind: ExtentKind::Data {
                    at: place(chunk.at.saturating_add(within)),
                    recurse: false,
                },
            },
            Kind::Packed(_) => Extent {
                len,
                kind: ExtentKind::Compressed {
                    at: place(chunk.at),
                    packed_len: u32::try_from(chunk.len).map_err(io::Error::other)?,
                    cluster_start: start,
                    cluster_len: u32::try_from(bytes).map_err(io::Error::other)?,
                },
            },
        })
    }
}

fn zero(len: u64) -> Extent {
    Extent {
        len,
        kind: ExtentKind::Zero { at: None },
    }
}

impl Lookup for Dmg {
    fn size(&self) -> u64 {
        self.size
    }

    fn info(&self) -> FormatInfo {
        let mut uses = vec!["disk image of macOS, read only".to_owned()];
        for (kind, words) in KINDS {
            let count = self.chunks.iter().filter(|c| c.kind == *kind).count();
            if count > 0 {
                uses.push(format!("{count} chunks {words}"));
            }
        }
        FormatInfo {
            uses,
            ..FormatInfo::default()
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        Box::pin(std::future::ready(self.look(offset, len)))
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent> {
        self.look(offset, len).ok()
    }

    fn unpack(&self, start: u64, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        match self.find(start / 512).map(|c| c.kind) {
            Some(Kind::Packed(packing)) => unpack::unpack(packing, packed, cluster),
            _ => Err(io::Error::from_raw_os_error(5)),
        }
    }
}

#[cfg(test)]
mod tests;
