//! vpc: Virtual PC's and Hyper-V's VHD (Microsoft, "Virtual Hard Disk Image Format Specification" 1.0).
//!
//! A fixed disk is the plain bytes with a footer behind them. A dynamic disk starts with a copy of the footer, then a
//! header, an array of sector numbers and blocks of 2 MiB, each behind a bitmap of its sectors; the footer follows the last block.

mod create;
mod dynamic;
mod fixed;
mod footer;

use std::io;

use block_core::{BoxFuture, CreateRequest, FormatDriver, OpenRequest, Opened, ProbeInput};
use qapi::{Error, Result, opts};

use crate::make::invalid;
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
    let failed = |e: io::Error| Error::from_io("Unable to read VHD header", &e);
    let length = file.node().length().map_err(failed)?;
    let mut bytes = [0; FOOTER];
    file.read(0, &mut bytes).await.map_err(failed)?;
    let at_front = bytes.starts_with(footer::MAGIC);
    if !at_front {
        let Some(at) = length.checked_sub(FOOTER as u64) else {
            return Err(invalid("File too small for a VHD header"));
        };
        file.read(at, &mut bytes).await.map_err(failed)?;
    }
    let footer = Footer::decode(&bytes, at_front)?;
    let size = footer.disk_size(size_from)?;
    if footer.kind == Kind::Fixed {
        return Ok(fixed::open(file, size, length));
    }
    dynamic::open(file, &footer, bytes, size, request.read_write).await
}

#[cfg(test)]
mod tests;
