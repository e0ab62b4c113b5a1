//! vpc: Virtual PC's and Hyper-V's VHD (Microsoft, "Virtual Hard Disk Image Format Specification" 1.0).
//!
//! A fixed disk is the plain bytes with a footer behind them. A dynamic disk starts with a copy of the footer, then a
//! header, an array of sector numbers and blocks of 2 MiB, each behind a bitmap of its sectors; the footer follows the last block.
//! A differencing disk is a dynamic one whose bitmaps tell which sectors are its own; it is only read.

mod create;
mod differencing;
mod dynamic;
mod fixed;
mod footer;

use std::io;

use block_core::{BoxFuture, CreateRequest, Edge, FormatDriver, OpenRequest, Opened, ProbeInput};
use qapi::{Error, Result, opts};

use crate::make::{invalid, unsupported};
use footer::{FOOTER, Footer, Kind, SizeFrom};

/// vpc
pub static DRIVER: FormatDriver = FormatDriver {
    name: "vpc",
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

/// A fixed disk has nothing at its front to know it by.
fn probe(input: &ProbeInput<'_>) -> u8 {
    if input.head.starts_with(footer::MAGIC) {
        100
    } else {
        0
    }
}

async fn open(request: OpenRequest<'_>) -> Result<Opened> {
    let size_from = match opts::take_str(request.options, "force_size_calc")?.as_deref() {
        None => SizeFrom::Creator,
        Some("chs") => SizeFrom::Geometry,
        Some("current_size") => SizeFrom::Field,
        Some(other) => {
            return Err(invalid(format!("Invalid size calculation mode: '{other}'")));
        }
    };
    let file = request.file;
    let found = Found::read(&file).await?;
    let footer = Footer::decode(&found.bytes)?;
    let size = footer.disk_size(size_from)?;
    match (found.at_front, footer.kind) {
        // What a copy at the front says of its kind is not looked at by others either.
        (false, Kind::Fixed) => Ok(fixed::open(file, size, found.length, footer.id)),
        (_, Kind::Differencing) => {
            if request.read_write {
                // GAP: writes to a differencing disk would have to keep its bitmaps.
                return Err(unsupported("Differencing VHD images can only be read"));
            }
            differencing::open(file, &footer, size).await
        }
        _ => dynamic::open(file, (&footer, found), size, request.read_write).await,
    }
}

/// The footer that an image goes by.
struct Found {
    bytes: [u8; FOOTER],
    /// It is the copy at the front, or would be there.
    at_front: bool,
    /// One of a dynamic disk's two copies is not what it should be.
    damaged: bool,
    /// Bytes of the file.
    length: u64,
}

impl Found {
    /// The copy at the front, or where there is none that is whole the footer itself.
    async fn read(file: &Edge) -> Result<Self> {
        let failed = |e: io::Error| Error::from_io("Unable to read VHD header", &e);
        let length = file.node().length().map_err(failed)?;
        let (mut front, mut end) = ([0; FOOTER], [0; FOOTER]);
        file.read(0, &mut front).await.map_err(failed)?;
        let marked = front.starts_with(footer::MAGIC);
        let Some(at) = length.checked_sub(FOOTER as u64) else {
            return Err(invalid("File too small for a VHD header"));
        };
        file.read(at, &mut end).await.map_err(failed)?;
        let use_front = footer::is_whole(&front) || (marked && !footer::is_whole(&end));
        Ok(Self {
            bytes: if use_front { front } else { end },
            at_front: marked,
            damaged: front != end,
            length,
        })
    }
}

#[cfg(test)]
mod tests;
