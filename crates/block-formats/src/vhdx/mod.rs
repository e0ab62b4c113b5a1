//! vhdx: Hyper-V's disk images ([MS-VHDX]: Virtual Hard Disk v2 (VHDX) File Format).
//!
//! ```text
//! 0       "vhdxfile", creator        1 MiB   log, table of blocks (BAT), metadata: where the region table says
//! 64 KiB  headers, 128 KiB the other ...     blocks of 1 to 256 MiB
//! 192 KiB region table, 256 KiB its copy
//! ```
//!
//! Everything is little endian. Changes of the table of blocks go through the log, which is played back when an image is
//! opened for writing. Differencing images are read only.

mod bat;
mod check;
mod create;
mod header;
mod locator;
mod log;
mod metadata;
mod regions;
mod session;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use block_core::{
    BackingLink, BoxFuture, CreateRequest, Edge, FormatDriver, FormatInfo, OpenRequest, Opened,
    ProbeInput,
};
use qapi::{Error, Result, format_size};

use crate::blocks::{Blocks, Cell, Checker, Core, Scheme, errno};
use crate::differencing::{Bits, Differencing, Part, Parts};
use crate::make::unsupported;
use crate::read_only::{ReadOnly, could_not_open, could_not_read};
use crate::tables::Tables;
use bat::{Block, Layout};
use header::{Headers, MIB};
use locator::Locator;
use log::Replay;
use metadata::Metadata;
use regions::Regions;
use session::Session;

const SIGNATURE: &[u8] = b"vhdxfile";
const EIO: i32 = 5;
const EINVAL: i32 = 22;

/// vhdx
pub static DRIVER: FormatDriver = FormatDriver {
    name: "vhdx",
    probe: |input: &ProbeInput<'_>| {
        if input.head.starts_with(SIGNATURE) {
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
    supports_backing: false,
};

async fn open(request: OpenRequest<'_>) -> Result<Opened> {
    let file = request.file;
    let name = file.node().filename().to_owned();
    let failed = |e: io::Error| could_not_read(&name, &e);
    let mut mark = [0; 8];
    file.read(0, &mut mark).await.map_err(failed)?;
    if mark != SIGNATURE {
        return Err(could_not_open(&name, EINVAL));
    }
    let mut headers = Headers::read(&file).await?;
    let replayed = replay(&file, &mut headers, request.read_write).await?;
    let regions = Regions::read(&file, &headers.now).await?;
    let metadata = Metadata::read(&file, regions.metadata.clone()).await?;
    let layout = Layout::new(metadata.size, metadata.block, metadata.sector);
    let entries = layout.entries(metadata.parent.is_some());
    let length = file.node().length().map_err(failed)?;
    let tables = bat::tables(&file, &regions.bat, entries);
    let tables = tables.filter(|tables| regions.bat.start + tables.room() * bat::ENTRY <= length);
    let tables = tables.ok_or_else(|| could_not_open(&name, EINVAL))?;
    if !request.check_only {
        let mut first = None;
        bat::faults(&tables, &layout, length, &regions.all, |fault| {
            first.get_or_insert(fault);
        })
        .await
        .map_err(failed)?;
        if let Some(fault) = first {
            return Err(could_not_open(&name, EINVAL).prefix(format!("{fault} ")));
        }
    }
    let id = locator::id_text(&headers.now.data_write);
    if let Some(parent) = metadata.parent {
        if request.read_write {
            // GAP: writes to a differencing image would have to keep its bitmaps.
            return Err(unsupported("Differencing VHDX images can only be read"));
        }
        let sector = metadata.sector.into();
        return Ok(differencing(file, tables, layout, parent, (id, sector)));
    }
    let session = Session::new(&file, headers);
    let used = regions.all.iter().map(|region| region.end).max();
    let next = used.unwrap_or(MIB).max(length).next_multiple_of(MIB);
    let journal: Arc<Session> = Arc::clone(&session);
    let core = Core::new(
        file.clone(),
        tables.with_journal(journal),
        (layout.size, layout.block, next),
        request.read_write,
    );
    let scheme = Vhdx {
        layout,
        regions: regions.all,
        session,
        fixed: metadata.fixed,
        sector: metadata.sector,
        id,
        replayed: AtomicBool::new(replayed),
    };
    Ok(Opened {
        format: Box::new(Blocks::new(core, scheme)),
        edges: vec![file],
        backing: None,
    })
}

/// Makes the changes that the log holds; whether there were any.
async fn replay(file: &Arc<Edge>, headers: &mut Headers, read_write: bool) -> Result<bool> {
    let Some(replay) = Replay::find(file, &headers.now).await? else {
        return Ok(false);
    };
    if !read_write {
        let name = file.node().filename().to_owned();
        return Err(Error::new(format!(
            "VHDX image file '{name}' opened read-only, but contains a log that needs to be replayed"
        ))
        .hint(format!("To replay the log, run:\nqemu-img check -r all '{name}'"))
        .errno(1));
    }
    Session::replay(headers, replay).await?;
    Ok(true)
}

/// An image of its own: dynamic or fixed.
struct Vhdx {
    layout: Layout,
    /// Where no block may be.
    regions: Vec<Range<u64>>,
    session: Arc<Session>,
    fixed: bool,
    sector: u32,
    /// Of its content.
    id: String,
    /// The log held changes when the image was opened, and no check has told so yet.
    replayed: AtomicBool,
}

impl Vhdx {
    fn uses(&self, block: u64) -> Vec<String> {
        let kind = if self.fixed { "fixed" } else { "dynamic" };
        let mut uses = vec![
            format!(
                "{kind} disk of Hyper-V, in blocks of {}",
                format_size(block)
            ),
            format!("logical sectors of {} bytes", self.sector),
        ];
        if self.replayed.load(Ordering::Acquire) {
            uses.push("its log held changes of a writer that was cut off; they count".to_owned());
        }
        uses
    }
}

impl Scheme for Vhdx {
    fn entry(&self, block: u64) -> (u64, u64) {
        self.layout.entry(block)
    }

    fn cell(&self, raw: u64) -> Cell {
        match bat::block(raw) {
            Block::Absent | Block::Zero => Cell::Zero,
            Block::Data(host) => Cell::Data(host),
            Block::Partly(_) | Block::Bad => Cell::Bad,
        }
    }

    fn raw(&self, host: u64) -> u64 {
        host | bat::PRESENT
    }

    fn alignment(&self) -> u64 {
        MIB
    }

    fn opaque(&self) -> bool {
        true
    }

    fn begin<'a>(&'a self, _core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.session.begin())
    }

    fn info(&self, core: &Core) -> FormatInfo {
        let mut info = FormatInfo {
            dirty: Some(false),
            cluster_size: Some(core.block),
            content_id: Some(self.id.clone()),
            uses: self.uses(core.block),
            ..FormatInfo::default()
        };
        if self.sector != 512 {
            let mut specific = qapi::Dict::new();
            specific.insert("type", if self.fixed { "fixed" } else { "dynamic" });
            specific.insert("sector-size", u64::from(self.sector));
            info.specific = Some(specific);
        }
        info
    }

    fn checker(&self) -> Option<&dyn Checker> {
        Some(self)
    }
}

/// How a differencing image finds its blocks and bitmaps.
struct Chunks(Layout);

impl Parts for Chunks {
    fn entry(&self, block: u64) -> (u64, u64) {
        self.0.entry(block)
    }

    fn part(&self, raw: u64) -> Part {
        match bat::block(raw) {
            Block::Absent => Part::Parent,
            Block::Zero => Part::Zero,
            Block::Data(host) => Part::Whole(host),
            Block::Partly(host) => Part::Mixed(host),
            Block::Bad => Part::Bad,
        }
    }

    fn bitmap<'a>(
        &'a self,
        tables: &'a Tables,
        block: u64,
        _raw: u64,
    ) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(async move {
            let page = tables.page(self.0.bitmap_entry(block)).await?;
            if page.left() == 0 {
                return Err(errno(EIO));
            }
            let Block::Data(start) = bat::block(page.entry(0)) else {
                return Err(errno(EIO));
            };
            // A megabyte of bits stands for the chunk.
            let bytes = MIB / self.0.ratio;
            Ok(start + block % self.0.ratio * bytes)
        })
    }

    fn bits(&self) -> Bits {
        Bits::LowestFirst
    }
}

fn differencing(
    file: Arc<Edge>,
    tables: Tables,
    layout: Layout,
    parent: Locator,
    (id, sector): (String, u64),
) -> Opened {
    let link = BackingLink {
        file: parent.path,
        format: Some("vhdx".to_owned()),
    };
    let image = Differencing {
        file: Arc::clone(&file),
        tables,
        size: layout.size,
        block: layout.block,
        sector,
        parts: Chunks(layout),
        parent: link.clone(),
        parent_ids: parent.ids,
        id,
        stale: AtomicBool::new(false),
        last: Mutex::default(),
    };
    Opened {
        format: Box::new(ReadOnly(image)),
        edges: vec![file],
        backing: Some(link),
    }
}

#[cfg(test)]
mod tests;
