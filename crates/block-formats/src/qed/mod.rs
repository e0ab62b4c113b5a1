//! qed: QEMU Enhanced Disk (its specification is a document of the QEMU project, `qed_spec`).
//!
//! A header cluster, one directory (L1) of tables (L2) of 64-bit offsets, clusters; 0 is not there, 1 reads as zeroes.
//! Mappings are written after the data they point to, so that a crash at worst leaves space that nothing uses: the mark
//! "needs a check" is honoured where others set it, and not needed for what is written here.

mod check;
mod create;
mod header;

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use block_core::{
    BackingLink, BoxFuture, CreateRequest, Edge, Fix, FormatDriver, FormatInfo, OpenRequest,
    Opened, ProbeInput,
};
use qapi::{Error, Result, format_size};

use crate::blocks::{Blocks, Cell, Checker, Core, HeaderChange, Scheme};
use crate::bytes::le64;
use crate::make::{invalid, unsupported};
use crate::tables::{Coding, Home, Tables};
use header::{HEADER, Header};

/// The entry of a cluster of zeroes.
const ZERO: u64 = 1;
/// Directories up to this size in bytes are read whole, so that the disk can grow.
const WHOLE_L1: u64 = 8 << 20;

/// qed
pub static DRIVER: FormatDriver = FormatDriver {
    name: "qed",
    probe: |input: &ProbeInput<'_>| {
        if input.head.starts_with(header::MAGIC) {
            100
        } else {
            0
        }
    },
    open: |request: OpenRequest<'_>| -> BoxFuture<'_, Result<Opened>> { Box::pin(open(request)) },
    create: Some(|request: CreateRequest<'_>| -> BoxFuture<'_, Result<()>> {
        Box::pin(create::create(request))
    }),
    create_options: create::OPTIONS,
    amend_options: &[],
    measure: None,
    supports_backing: true,
};

struct Qed {
    header: Mutex<Header>,
    backing: Mutex<Option<BackingLink>>,
    has_backing: bool,
    cluster: u64,
    /// First byte behind the header's clusters.
    first: u64,
}

async fn open(request: OpenRequest<'_>) -> Result<Opened> {
    let file = request.file;
    let mut bytes = [0; HEADER];
    let failed = |e: io::Error| Error::from_io("Failed to read QED header", &e);
    file.read(0, &mut bytes).await.map_err(failed)?;
    let length = file.node().length();
    let length = length.map_err(|e| Error::from_io("Failed to get file length", &e))?;
    let header = Header::decode(&bytes, length)?;
    let backing = read_backing(&file, &header).await?;
    let entries = read_l1(&file, &header, length).await?;
    let count = entries.len() as u64 * header.table_entries();
    let home = Home::Directory {
        offset: header.l1_offset,
        entries,
        coding: Coding::Le64,
        table: header.table_bytes(),
        unit: 1,
        copies: Vec::new(),
    };
    let tables = Tables::new(file.clone(), Coding::Le64, home, count);
    let cluster = u64::from(header.cluster_size);
    let numbers = (header.image_size, cluster, length.next_multiple_of(cluster));
    let core = Core::new(file.clone(), tables, numbers, request.read_write);
    let damaged = header.features & header::NEED_CHECK != 0;
    let scheme = Qed {
        first: u64::from(header.header_clusters) * cluster,
        header: Mutex::new(header),
        has_backing: backing.is_some(),
        backing: Mutex::new(backing.clone()),
        cluster,
    };
    if damaged && request.read_write && !request.check_only {
        scheme.repair(&core).await?;
    }
    Ok(Opened {
        format: Box::new(Blocks::new(core, scheme)),
        edges: vec![file],
        backing,
    })
}

async fn read_backing(file: &Arc<Edge>, header: &Header) -> Result<Option<BackingLink>> {
    if header.features & header::BACKING == 0 {
        return Ok(None);
    }
    let (at, len) = header.backing;
    let room = u64::from(header.header_clusters) * u64::from(header.cluster_size);
    if u64::from(at) + u64::from(len) > room {
        return Err(invalid("QED backing filename offset is invalid"));
    }
    if len > 1023 {
        return Err(invalid("Failed to read backing filename"));
    }
    let mut name = vec![0; len as usize];
    file.read(at.into(), &mut name)
        .await
        .map_err(|e| Error::from_io("Failed to read backing filename", &e))?;
    let raw = header.features & header::BACKING_IS_RAW != 0;
    Ok(Some(BackingLink {
        file: String::from_utf8_lossy(&name).into_owned(),
        format: raw.then(|| "raw".to_owned()),
    }))
}

/// The directory: whole where that is cheap, else as much as the disk needs.
async fn read_l1(file: &Arc<Edge>, header: &Header, length: u64) -> Result<Vec<AtomicU64>> {
    let per_table = header.table_entries() * u64::from(header.cluster_size);
    let whole = header.table_bytes();
    let bytes = if whole <= WHOLE_L1 {
        whole
    } else {
        header.image_size.div_ceil(per_table) * 8
    };
    if header.l1_offset + bytes > length.next_multiple_of(u64::from(header.cluster_size)) {
        return Err(invalid("QED table offset is invalid"));
    }
    let mut raw =
        vec![0; usize::try_from(bytes).map_err(|_| invalid("QED table size is invalid"))?];
    file.read(header.l1_offset, &mut raw)
        .await
        .map_err(|e| Error::from_io("Failed to read L1 table", &e))?;
    Ok(raw
        .chunks_exact(8)
        .map(|e| AtomicU64::new(le64(e, 0)))
        .collect())
}

impl Qed {
    fn header(&self) -> MutexGuard<'_, Header> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another program left the image in the middle of a change.
    async fn repair(&self, core: &Core) -> Result<()> {
        let fix = Fix {
            leaks: true,
            errors: true,
        };
        let checked = self.walk(core, fix).await;
        checked
            .map_err(|_| invalid("Image corrupted"))
            .map(|_report| ())
    }

    async fn write_header(&self, core: &Core) -> io::Result<()> {
        let bytes = self.header().encode();
        core.write(0, &bytes).await?;
        core.file.flush().await
    }

    /// Whether a cluster may be at `offset` of a file of `length` bytes.
    fn is_cluster(&self, offset: u64, length: u64) -> bool {
        offset.is_multiple_of(self.cluster) && offset >= self.first && offset < length
    }
}

impl Scheme for Qed {
    fn cell(&self, raw: u64) -> Cell {
        match raw {
            0 => Cell::Free,
            ZERO => Cell::Zero,
            host if host.is_multiple_of(self.cluster) && host >= self.first => Cell::Data(host),
            _ => Cell::Bad,
        }
    }

    fn raw(&self, host: u64) -> u64 {
        host
    }

    fn zero_raw(&self) -> Option<u64> {
        Some(ZERO)
    }

    fn backed(&self) -> bool {
        self.has_backing
    }

    fn alignment(&self) -> u64 {
        self.cluster
    }

    fn info(&self, core: &Core) -> FormatInfo {
        let backing = self.backing.lock().unwrap_or_else(PoisonError::into_inner);
        FormatInfo {
            cluster_size: Some(core.block),
            // Whoever opens it for writing repairs it first, and readers are told the same.
            dirty: Some(false),
            backing: backing.clone(),
            uses: vec![format!(
                "QEMU's enhanced disk, an older format, in clusters of {}",
                format_size(self.cluster)
            )],
            ..FormatInfo::default()
        }
    }

    fn checker(&self) -> Option<&dyn Checker> {
        Some(self)
    }

    fn header(&self) -> Option<&dyn HeaderChange> {
        Some(self)
    }
}

impl HeaderChange for Qed {
    fn resize<'a>(&'a self, core: &'a Core, size: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let room = core.tables.room().saturating_mul(self.cluster);
            if !size.is_multiple_of(512) || size > self.header().max_size() || size > room {
                return Err(invalid("Invalid image size specified"));
            }
            let old = core.size();
            if size < old {
                return Err(unsupported("Shrinking images is currently not supported"));
            }
            self.header().image_size = size;
            if let Err(error) = self.write_header(core).await {
                self.header().image_size = old;
                return Err(Error::from_io("Failed to update the image size", &error));
            }
            core.set_size(size);
            Ok(())
        })
    }

    fn set_backing<'a>(
        &'a self,
        core: &'a Core,
        link: Option<&'a BackingLink>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let name = link.map(|l| l.file.clone()).unwrap_or_default();
            let mut bytes = {
                let mut header = self.header();
                header.set_backing(link)?;
                header.encode().to_vec()
            };
            bytes.extend_from_slice(name.as_bytes());
            let written = core.write(0, &bytes).await;
            written.map_err(|e| Error::from_io("Could not write QED header", &e))?;
            let flushed = core.file.flush().await;
            flushed.map_err(|e| Error::from_io("Could not write QED header", &e))?;
            *self.backing.lock().unwrap_or_else(PoisonError::into_inner) = link.cloned();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
