//! parallels: expandable disk images of Parallels (its specification is a document of the QEMU project, `parallels`).
//!
//! A header of 64 bytes, right behind it an array of 32-bit block places, blocks. Places are counted in sectors
//! (`WithoutFreeSpace`) or in blocks (`WithouFreSpacExt`). A mark in the header says that somebody writes.

mod check;
mod create;
mod header;

use std::io;
use std::sync::{Mutex, PoisonError};

use block_core::{
    BoxFuture, CheckRequest, CreateRequest, Fix, FormatDriver, FormatInfo, OpenRequest, Opened,
    ProbeInput,
};
use qapi::{Dict, Error, Result, format_size, opts};

use crate::blocks::{Blocks, Cell, Checker, Core, Scheme};
use crate::bytes::le32;
use crate::make::invalid;
use crate::tables::{Coding, Tables};
use header::{HEADER, Header, IN_USE, IN_USE_AT, MAGIC, MAGIC_EXT};

/// parallels
pub static DRIVER: FormatDriver = FormatDriver {
    name: "parallels",
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
    let magic = input.head.starts_with(MAGIC) || input.head.starts_with(MAGIC_EXT);
    if magic && le32(input.head, 16) == 2 {
        100
    } else {
        0
    }
}

/// What a check may change.
struct State {
    /// Somebody did not close the image.
    unclean: bool,
    /// First byte of the first block.
    data: u64,
}

struct Parallels {
    header: Header,
    cluster: u64,
    /// Bytes that a place is counted in.
    unit: u64,
    state: Mutex<State>,
}

async fn open(request: OpenRequest<'_>) -> Result<Opened> {
    take_options(request.options)?;
    let file = request.file;
    let mut bytes = [0; HEADER];
    let failed = |e: io::Error| Error::from_io("Could not read the Parallels header", &e);
    file.read(0, &mut bytes).await.map_err(failed)?;
    let header = Header::decode(&bytes)?;
    let length = file.node().length().map_err(failed)?;
    let entries = u64::from(header.entries);
    if HEADER as u64 + entries * 4 > length.next_multiple_of(512) {
        return Err(invalid("Catalog ends behind the end of the file"));
    }
    let tables = Tables::array(file.clone(), Coding::Le32, HEADER as u64, entries);
    let cluster = header.cluster();
    let unit = header.unit();
    let (data, data_is_good) = header.data_start(length);
    let mut end = data;
    tables
        .scan(|_, raw| end = end.max(raw * unit + cluster))
        .await
        .map_err(failed)?;
    let damaged = header.in_use || !data_is_good || end > length.next_multiple_of(512);
    let core = Core::new(
        file.clone(),
        tables,
        (header.size, cluster, end),
        request.read_write,
    );
    let scheme = Parallels {
        state: Mutex::new(State {
            unclean: header.in_use,
            data,
        }),
        header,
        cluster,
        unit,
    };
    if damaged && request.read_write && !request.check_only {
        scheme.repair(&core).await?;
    }
    Ok(Opened {
        format: Box::new(Blocks::new(core, scheme)),
        edges: vec![file],
        backing: None,
    })
}

/// How far ahead space is reserved is our own affair: blocks are taken as they come. The options are read for their form.
fn take_options(options: &mut Dict) -> Result<()> {
    opts::take_size(options, "prealloc-size")?;
    match opts::take_str(options, "prealloc-mode")?.as_deref() {
        None | Some("falloc" | "truncate") => Ok(()),
        Some(other) => Err(invalid(format!(
            "Parameter 'prealloc-mode' does not accept value '{other}'"
        ))),
    }
}

impl Parallels {
    async fn repair(&self, core: &Core) -> Result<()> {
        let fix = Fix {
            leaks: true,
            errors: true,
        };
        let request = CheckRequest {
            fix,
            detail: &mut |line| eprintln!("{line}"),
        };
        self.check(core, request)
            .await
            .map_err(|e| e.prefix("Could not repair corrupted image: "))
            .map(|_report| ())
    }

    async fn mark(&self, core: &Core, value: u32) -> io::Result<()> {
        core.write(IN_USE_AT, &value.to_le_bytes()).await?;
        core.file.flush().await
    }
}

impl Scheme for Parallels {
    fn cell(&self, raw: u64) -> Cell {
        match raw {
            0 => Cell::Free,
            place => Cell::Data(place * self.unit),
        }
    }

    fn raw(&self, host: u64) -> u64 {
        host / self.unit
    }

    fn alignment(&self) -> u64 {
        self.unit
    }

    fn begin<'a>(&'a self, core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.mark(core, IN_USE))
    }

    fn end<'a>(&'a self, core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.mark(core, 0))
    }

    fn info(&self, _core: &Core) -> FormatInfo {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut uses = vec![format!(
            "expanding disk of Parallels, in blocks of {}, placed in units of {} bytes",
            format_size(self.cluster),
            self.unit
        )];
        if state.unclean {
            uses.push("its last writer did not close it; `check -r all` mends that".to_owned());
        }
        FormatInfo {
            uses,
            ..FormatInfo::default()
        }
    }

    fn checker(&self) -> Option<&dyn Checker> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
