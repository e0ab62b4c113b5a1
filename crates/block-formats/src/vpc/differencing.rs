//! Differencing disks: the header names the parent, and the bitmap before each block tells which of its sectors are here.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use block_core::{BackingLink, BoxFuture, Edge, Opened};
use qapi::Result;

use super::dynamic::{self, FREE, HEADER};
use super::footer::{Footer, id_text};
use crate::bytes::{be32, be64};
use crate::differencing::{Bits, Differencing, Part, Parts};
use crate::make::invalid;
use crate::read_only::ReadOnly;
use crate::tables::Tables;
use crate::windows;

/// Where the header has the parent's id, its name, and the places of other names.
const PARENT_ID: std::ops::Range<usize> = 40..56;
const PARENT_NAME: std::ops::Range<usize> = 64..576;
const LOCATORS: std::ops::Range<usize> = 576..768;
const LOCATOR: usize = 24;
/// Bytes that a name may have.
const MAX_NAME: u32 = 4096;

/// A locator of a name relative to the image, and of one with a drive.
const RELATIVE: &[u8] = b"W2ru";
const ABSOLUTE: &[u8] = b"W2ku";

/// Where sectors are: `bitmap` bytes before each block.
struct Sectors {
    bitmap: u64,
}

impl Parts for Sectors {
    fn entry(&self, block: u64) -> (u64, u64) {
        (block, u64::MAX)
    }

    fn part(&self, raw: u64) -> Part {
        if raw == FREE {
            Part::Parent
        } else {
            Part::Mixed(raw * 512 + self.bitmap)
        }
    }

    fn bitmap<'a>(
        &'a self,
        _tables: &'a Tables,
        _block: u64,
        raw: u64,
    ) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(std::future::ready(Ok(raw * 512)))
    }

    fn bits(&self) -> Bits {
        Bits::HighestFirst
    }
}

/// Opens a differencing disk of `size` bytes.
pub(super) async fn open(file: Arc<Edge>, footer: &Footer, size: u64) -> Result<Opened> {
    let front = dynamic::front(&file, footer, size).await?;
    let link = BackingLink {
        file: parent(&file, &front.raw).await?,
        format: Some("vpc".to_owned()),
    };
    let image = Differencing {
        file: Arc::clone(&file),
        tables: front.tables,
        parts: Sectors {
            bitmap: front.header.bitmap,
        },
        size,
        block: front.header.block,
        sector: 512,
        parent: link.clone(),
        parent_ids: vec![id_text(&front.raw[PARENT_ID])],
        id: footer.id.clone(),
        stale: AtomicBool::new(false),
        last: Mutex::default(),
    };
    Ok(Opened {
        format: Box::new(ReadOnly(image)),
        edges: vec![file],
        backing: Some(link),
    })
}

/// The parent's file, as it can be looked for here.
async fn parent(file: &Edge, header: &[u8; HEADER]) -> Result<String> {
    let mut absolute = String::new();
    for locator in header[LOCATORS].chunks_exact(LOCATOR) {
        let code = &locator[..4];
        if code != RELATIVE && code != ABSOLUTE {
            continue;
        }
        let (length, at) = (be32(locator, 8), be64(locator, 16));
        let mut name = vec![0; length.min(MAX_NAME) as usize];
        let read = file.read(at.min(i64::MAX as u64 - 8192), &mut name).await;
        read.map_err(|e| qapi::Error::from_io("Error reading the parent's name", &e))?;
        let name = windows::utf16le(&name).unwrap_or_default();
        if code == ABSOLUTE {
            absolute = windows::beside(&name);
            continue;
        }
        let name = windows::relative(&name);
        if !name.is_empty() {
            return Ok(name);
        }
    }
    if absolute.is_empty() {
        let name = windows::utf16be(&header[PARENT_NAME]).unwrap_or_default();
        absolute = windows::beside(&name);
    }
    if absolute.is_empty() {
        return Err(invalid(
            "The differencing VHD image does not name its parent",
        ));
    }
    Ok(absolute)
}
