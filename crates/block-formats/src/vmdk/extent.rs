//! One extent of a disk: flat or sparse.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use block_core::{Edge, Slot};
use qapi::{Error, Result};

use super::header::{HEADER, Header, MARKERS, REDUNDANT, ZERO_GRAINS, in_footer, is_at_end};
use crate::blocks::Core;
use crate::bytes::le32;
use crate::make::invalid;
use crate::tables::{Coding, Home, Tables};

/// A part of the disk.
pub(super) struct Extent {
    /// First byte of the disk that is here.
    pub(super) start: u64,
    /// Bytes of the disk that are here.
    pub(super) len: u64,
    pub(super) slot: Slot,
    pub(super) file: Arc<Edge>,
    /// The word of its line; empty when the descriptor is inside.
    pub(super) word: &'static str,
    pub(super) kind: Kind,
}

/// How bytes are found.
pub(super) enum Kind {
    /// From this offset on.
    Flat(u64),
    Sparse(Box<Sparse>),
}

/// Grains and where they are.
pub(super) struct Sparse {
    /// Its blocks are grains; its size is the extent's.
    pub(super) core: Core,
    pub(super) packed: bool,
    pub(super) markers: bool,
    pub(super) zero_grains: bool,
}

impl Extent {
    /// First byte of the disk behind it.
    pub(super) fn end(&self) -> u64 {
        self.start + self.len
    }

    /// The grains, if there are any.
    pub(super) fn sparse(&self) -> Option<&Sparse> {
        match &self.kind {
            Kind::Flat(_) => None,
            Kind::Sparse(sparse) => Some(sparse),
        }
    }
}

fn unreadable(file: &Edge, what: &str) -> impl Fn(io::Error) -> Error {
    let name = file.node().filename().to_owned();
    move |e| Error::from_io(format!("Could not read {what} '{name}'"), &e)
}

/// The header of a sparse extent, from its end where the first one says so.
pub(super) async fn read_header(file: &Edge) -> Result<Header> {
    let failed = unreadable(file, "header from file");
    let mut bytes = [0; HEADER];
    file.read(0, &mut bytes).await.map_err(&failed)?;
    if !is_at_end(&bytes) {
        return Header::decode(&bytes);
    }
    let length = file.node().length().map_err(&failed)?;
    let at = (length - length % 512).checked_sub(1536);
    let at = at.ok_or_else(|| invalid("Invalid footer"))?;
    let mut footer = [0; 3 * HEADER];
    file.read(at, &mut footer)
        .await
        .map_err(|e| Error::from_io("Failed to read footer", &e))?;
    Header::decode(&in_footer(&footer)?)
}

/// Opens the grains of an extent.
pub(super) async fn open_sparse(
    file: &Arc<Edge>,
    header: &Header,
    read_write: bool,
) -> Result<Sparse> {
    if header.version == 3 && read_write && !header.packed {
        return Err(invalid("VMDK version 3 must be read only"));
    }
    let failed = unreadable(file, "header from file");
    let length = file.node().length().map_err(&failed)?;
    if length.div_ceil(512) < header.overhead {
        let least = header.overhead.saturating_mul(512);
        return Err(invalid(format!(
            "File truncated, expecting at least {least} bytes"
        )));
    }
    let directory = read_directory(file, header.directory, header.tables, length).await?;
    let copies = if header.flags & REDUNDANT != 0 && header.copy != 0 {
        read_directory(file, header.copy, header.tables, length).await?
    } else {
        Vec::new()
    };
    let home = Home::Directory {
        offset: header.directory,
        entries: directory.into_iter().map(AtomicU64::new).collect(),
        coding: Coding::Le32,
        table: u64::from(header.per_table) * 4,
        unit: 512,
        copies,
    };
    let entries = header.tables * u64::from(header.per_table);
    let tables = Tables::new(Arc::clone(file), Coding::Le32, home, entries);
    let grain = header.grain * 512;
    // Packed grains stand one behind the other, plain ones in whole grains.
    let next = length.next_multiple_of(if header.packed { 512 } else { grain });
    let numbers = (header.capacity * 512, grain, next);
    Ok(Sparse {
        core: Core::new(Arc::clone(file), tables, numbers, read_write),
        packed: header.packed,
        markers: header.flags & MARKERS != 0,
        zero_grains: header.flags & ZERO_GRAINS != 0,
    })
}

/// Offsets of grain tables in bytes, 0 for none.
async fn read_directory(file: &Edge, at: u64, tables: u64, length: u64) -> Result<Vec<u64>> {
    let end = at.checked_add(tables * 4);
    if end.is_none_or(|end| end > length.next_multiple_of(512)) {
        let name = file.node().filename().to_owned();
        return Err(invalid(format!(
            "Could not read l1 table from extent '{name}'"
        )));
    }
    let mut raw = vec![0; usize::try_from(tables * 4).map_err(|_| invalid("L1 size too big"))?];
    file.read(at, &mut raw)
        .await
        .map_err(unreadable(file, "l1 table from extent"))?;
    let entries = raw
        .chunks_exact(4)
        .map(|entry| u64::from(le32(entry, 0)) * 512);
    Ok(entries.collect())
}
