//! A format that is a map from blocks of one size to places in one file: vdi, vpc, parallels, qcow and qed are this,
//! each with a [`Scheme`] that says what its entries mean.
//!
//! New blocks go to the end of the file. Entries stay in memory until a flush, which writes data first, then tables,
//! then what the scheme keeps beside them (counts, a footer): a crash leaves blocks that nothing points to, never an
//! entry without its data.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use block_core::{
    BoxFuture, ChangeBacking, Check, CheckReport, CheckRequest, Compress, Edge, Empty, Extent,
    ExtentKind, Format, FormatInfo, Geometry, Place, Placement, Preallocation, Resize,
    ResizeRequest, Slot, WriteFlags, ZeroFlags,
};
use qapi::Error;

use crate::tables::{Page, Tables};

/// What an entry says of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Not in this image.
    Free,
    /// Reads as zeroes.
    Zero,
    /// Plain, its first byte here.
    Data(u64),
    /// Packed: offset and length in bytes.
    Packed(u64, u32),
    /// Cannot be.
    Bad,
}

/// What makes one format of this kind differ from the others.
pub(crate) trait Scheme: Send + Sync + 'static {
    /// What an entry means.
    fn cell(&self, raw: u64) -> Cell;

    /// The entry of a plain block whose first byte is at `host`.
    fn raw(&self, host: u64) -> u64;

    /// The entry of a block of zeroes, where there is such.
    fn zero_raw(&self) -> Option<u64> {
        None
    }

    /// Bytes that lie before each block and belong to it, and what they are filled with.
    fn lead(&self) -> (u64, u8) {
        (0, 0)
    }

    /// The file below may know of holes in the blocks of this image.
    fn holes(&self) -> bool {
        false
    }

    /// Where the image ends when it holds nothing, if it can be emptied.
    fn empty_end(&self) -> Option<u64> {
        None
    }

    /// Unallocated blocks show the backing file.
    fn backed(&self) -> bool {
        false
    }

    /// Alignment of new blocks in the file, in bytes; 0 leaves them where they come.
    fn alignment(&self) -> u64 {
        0
    }

    /// Before the first change: marks that the image is in use.
    fn begin<'a>(&'a self, _core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Tables are in the file: what lies beside them follows.
    fn settle<'a>(&'a self, _core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Last change before the image is closed or becomes read-only; only after [`Scheme::begin`].
    fn end<'a>(&'a self, _core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What `info` shows.
    fn info(&self, core: &Core) -> FormatInfo;

    /// Consistency check and repair, where the format has one.
    fn checker(&self) -> Option<&dyn Checker> {
        None
    }

    /// Packed blocks, where the format has them.
    fn packer(&self) -> Option<&dyn Packer> {
        None
    }

    /// What can be changed in the header, where something can.
    fn header(&self) -> Option<&dyn HeaderChange> {
        None
    }
}

/// Consistency check of one format.
pub(crate) trait Checker: Send + Sync {
    /// As [`Check::check`].
    fn check<'a>(
        &'a self,
        core: &'a Core,
        request: CheckRequest<'a>,
    ) -> BoxFuture<'a, qapi::Result<CheckReport>>;
}

/// Packed blocks of one format.
pub(crate) trait Packer: Send + Sync {
    /// As [`Compress::pack`].
    fn pack(&self, block: &[u8], out: &mut Vec<u8>) -> io::Result<bool>;
    /// As [`Format::decompress`].
    fn unpack(&self, packed: &[u8], block: &mut [u8]) -> io::Result<()>;
    /// The entry of a packed block.
    fn packed_raw(&self, host: u64, len: u32) -> u64;
}

/// Changes of a header.
pub(crate) trait HeaderChange: Send + Sync {
    /// As [`Resize::resize`]; the tables are large enough for `size`.
    fn resize<'a>(&'a self, core: &'a Core, size: u64) -> BoxFuture<'a, qapi::Result<()>>;
    /// As [`ChangeBacking::set_backing`].
    fn set_backing<'a>(
        &'a self,
        core: &'a Core,
        link: Option<&'a block_core::BackingLink>,
    ) -> BoxFuture<'a, qapi::Result<()>>;
}

/// What all formats of this kind keep.
pub(crate) struct Core {
    pub(crate) file: Arc<Edge>,
    pub(crate) size: AtomicU64,
    /// Bytes of a block.
    pub(crate) block: u64,
    pub(crate) tables: Tables,
    /// Where the next new block goes.
    next: Mutex<u64>,
    /// Blocks start before this: the file's end, or what was handed out.
    limit: AtomicU64,
    read_only: AtomicBool,
    /// Marks for writers are set.
    begun: AtomicBool,
    beginning: tokio::sync::Mutex<()>,
    /// Held while a table is given its place.
    growing: tokio::sync::Mutex<()>,
}

impl Core {
    /// An open image; `next` is the first byte of the file that nothing uses.
    pub(crate) fn new(
        file: Arc<Edge>,
        tables: Tables,
        (size, block, next): (u64, u64, u64),
        read_write: bool,
    ) -> Self {
        let length = file.node().length().unwrap_or(next);
        Self {
            limit: AtomicU64::new(length.max(next)),
            file,
            size: AtomicU64::new(size),
            block,
            tables,
            next: Mutex::new(next),
            read_only: AtomicBool::new(!read_write),
            begun: AtomicBool::new(false),
            beginning: tokio::sync::Mutex::default(),
            growing: tokio::sync::Mutex::default(),
        }
    }

    /// Virtual size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Changes it, after a resize.
    pub(crate) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// First byte of the file that nothing uses.
    pub(crate) fn next(&self) -> u64 {
        *self.lock_next()
    }

    /// Sets it, after a repair.
    pub(crate) fn set_next(&self, next: u64) {
        *self.lock_next() = next;
    }

    fn lock_next(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for `bytes` at the end of the file.
    pub(crate) fn allocate(&self, bytes: u64, align: u64) -> io::Result<u64> {
        let mut next = self.lock_next();
        let at = if align > 1 {
            next.checked_next_multiple_of(align)
        } else {
            Some(*next)
        };
        let at = at.ok_or_else(|| errno(EFBIG))?;
        *next = at.checked_add(bytes).ok_or_else(|| errno(EFBIG))?;
        self.limit.fetch_max(*next, Ordering::AcqRel);
        Ok(at)
    }

    /// Gives room back if it is the last.
    fn give_back(&self, at: u64, bytes: u64) {
        let mut next = self.lock_next();
        if *next == at + bytes {
            *next = at;
        }
    }

    /// Writes bytes of metadata.
    pub(crate) async fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(at, bytes, WriteFlags::default()).await
    }

    /// The file is at least as long as what is handed out of it.
    async fn fill_up(&self) -> io::Result<()> {
        let next = self.next();
        if self.file.node().length()? >= next {
            return Ok(());
        }
        let grown = self.file.truncate(next, Preallocation::Off).await;
        grown.map_err(|e| errno(e.errno_value().unwrap_or(EIO)))
    }
}

/// An open image.
pub(crate) struct Blocks<S> {
    core: Core,
    scheme: S,
}

const EIO: i32 = 5;
const EFBIG: i32 = 27;
const ENOTSUP: i32 = 95;

pub(crate) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn file_place(offset: u64) -> Place {
    Place {
        slot: Slot::FILE,
        offset,
    }
}

impl<S: Scheme> Blocks<S> {
    /// A format of this scheme.
    pub(crate) fn new(core: Core, scheme: S) -> Self {
        Self { core, scheme }
    }

    /// What is at `offset`, from a page that starts with its block.
    fn extent(&self, page: &Page, offset: u64, len: u64) -> io::Result<Extent> {
        let (block, inside) = (self.core.block, offset % self.core.block);
        let wanted = (inside + len).div_ceil(block);
        let first = page.entry(0);
        let cell = if page.left() == 0 {
            Cell::Free
        } else {
            self.scheme.cell(first)
        };
        let alike = |page: &Page, max| page.run(max, |_, raw| self.scheme.cell(raw) == cell);
        let (run, kind) = match cell {
            Cell::Free => (alike(page, wanted), ExtentKind::Backing { at: None }),
            Cell::Zero => (alike(page, wanted), ExtentKind::Zero { at: None }),
            // An entry that points behind the end would make the file grow to wherever it says.
            Cell::Data(host) if host >= self.core.limit.load(Ordering::Acquire) => {
                return Err(errno(EIO));
            }
            Cell::Data(host) => {
                let next = |k, raw| self.scheme.cell(raw) == Cell::Data(host + k * block);
                let run = if self.scheme.lead().0 == 0 {
                    page.run(wanted, next)
                } else {
                    1
                };
                let at = file_place(host + inside);
                let recurse = self.scheme.holes();
                (run, ExtentKind::Data { at, recurse })
            }
            Cell::Packed(host, packed_len) => {
                let kind = ExtentKind::Compressed {
                    at: file_place(host),
                    packed_len,
                    cluster_start: offset - inside,
                    cluster_len: u32::try_from(block).map_err(|_| errno(EIO))?,
                };
                (1, kind)
            }
            Cell::Bad => return Err(errno(EIO)),
        };
        Ok(Extent {
            len: (run.max(1) * block - inside).min(len),
            kind,
        })
    }

    /// A place in blocks that are there already.
    fn in_place(&self, page: &Page, offset: u64, len: u64) -> Option<Placement> {
        let Ok(Extent {
            len,
            kind: ExtentKind::Data { at, .. },
        }) = self.extent(page, offset, len)
        else {
            return None;
        };
        Some(Placement {
            guest: offset,
            len,
            at,
            cow_head: 0,
            cow_tail: 0,
            fresh: false,
            zeroed: false,
        })
    }

    async fn place(&self, offset: u64, len: u64) -> io::Result<Placement> {
        self.begin().await?;
        let core = &self.core;
        let (index, inside) = (offset / core.block, offset % core.block);
        let page = core.tables.page(index).await?;
        if page.left() == 0 || self.scheme.cell(page.entry(0)) == Cell::Bad {
            return Err(errno(EIO));
        }
        if let Some(place) = self.in_place(&page, offset, len) {
            return Ok(place);
        }
        let (lead, _) = self.scheme.lead();
        let wanted = (inside + len).div_ceil(core.block);
        let fresh = |raw| !matches!(self.scheme.cell(raw), Cell::Data(_) | Cell::Bad);
        let run = if lead == 0 {
            page.run(wanted, |_, raw| fresh(raw)).max(1)
        } else {
            1
        };
        let align = self.scheme.alignment();
        let host = core.allocate(run * core.block + lead, align)? + lead;
        let zeroed = core.file.node().length()? <= host;
        let len = len.min(run * core.block - inside);
        Ok(Placement {
            guest: offset,
            len,
            at: file_place(host + inside),
            cow_head: inside,
            cow_tail: run * core.block - inside - len,
            fresh: true,
            zeroed,
        })
    }

    /// First block and host offset of a fresh placement, and its number of blocks.
    fn blocks_of(&self, place: &Placement) -> (u64, u64, u64) {
        let first = (place.guest - place.cow_head) / self.core.block;
        let bytes = place.cow_head + place.len + place.cow_tail;
        (
            first,
            place.at.offset - place.cow_head,
            bytes / self.core.block,
        )
    }

    async fn enter(&self, place: &Placement) -> io::Result<()> {
        let (first, host, blocks) = self.blocks_of(place);
        let (lead, fill) = self.scheme.lead();
        if lead > 0 {
            let bytes = vec![fill; usize::try_from(lead).map_err(|_| errno(EIO))?];
            self.core.write(host - lead, &bytes).await?;
        }
        for k in 0..blocks {
            let raw = self.scheme.raw(host + k * self.core.block);
            self.set(first + k, raw).await?;
        }
        Ok(())
    }

    /// Changes an entry, giving its table a place first if it has none.
    async fn set(&self, index: u64, raw: u64) -> io::Result<()> {
        let tables = &self.core.tables;
        if tables.missing(index).is_some() {
            let _growing = self.core.growing.lock().await;
            if let Some(bytes) = tables.missing(index) {
                let align = self.scheme.alignment();
                tables.add(index, self.core.allocate(bytes, align)?).await?;
            }
        }
        tables.set(index, raw).await
    }

    async fn begin(&self) -> io::Result<()> {
        let core = &self.core;
        if core.begun.load(Ordering::Acquire) {
            return Ok(());
        }
        let _beginning = core.beginning.lock().await;
        if !core.begun.load(Ordering::Acquire) {
            if core.read_only.load(Ordering::Acquire) {
                return Err(errno(1));
            }
            self.scheme.begin(core).await?;
            core.begun.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn flush_all(&self) -> io::Result<()> {
        let core = &self.core;
        if core.tables.is_dirty() {
            core.fill_up().await?;
            core.tables.write_out().await?;
            self.scheme.settle(core).await?;
        }
        core.file.flush().await
    }

    async fn finish(&self) -> io::Result<()> {
        self.flush_all().await?;
        let _beginning = self.core.beginning.lock().await;
        if self.core.begun.swap(false, Ordering::AcqRel) {
            self.scheme.end(&self.core).await?;
            self.core.file.flush().await?;
        }
        Ok(())
    }

    /// Zeroes whole blocks by their entries where there is an entry for that, in place else.
    async fn zero_range(&self, mut offset: u64, mut len: u64, may_unmap: bool) -> io::Result<()> {
        self.begin().await?;
        let flags = ZeroFlags {
            may_unmap,
            ..ZeroFlags::default()
        };
        while len > 0 {
            let extent = self.look(offset, len).await?;
            match extent.kind {
                ExtentKind::Zero { .. } => {}
                ExtentKind::Backing { .. } if !self.scheme.backed() => {}
                ExtentKind::Data { at, .. } => {
                    self.core
                        .file
                        .write_zeroes(at.offset, extent.len, flags)
                        .await?;
                }
                _ => self.zero_cells(offset, extent.len).await?,
            }
            offset += extent.len;
            len -= extent.len;
        }
        Ok(())
    }

    async fn zero_cells(&self, offset: u64, len: u64) -> io::Result<()> {
        let zero = self.scheme.zero_raw().ok_or_else(|| errno(ENOTSUP))?;
        let block = self.core.block;
        for index in offset / block..(offset + len).div_ceil(block) {
            self.set(index, zero).await?;
        }
        Ok(())
    }

    async fn look(&self, offset: u64, len: u64) -> io::Result<Extent> {
        let page = self.core.tables.page(offset / self.core.block).await?;
        self.extent(&page, offset, len)
    }
}

impl<S: Scheme> Format for Blocks<S> {
    fn geometry(&self) -> Geometry {
        let block = u32::try_from(self.core.block).unwrap_or(u32::MAX);
        Geometry {
            size: self.core.size(),
            cluster_size: block,
            zero_granularity: if self.scheme.zero_raw().is_some() {
                block
            } else {
                512
            },
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        Box::pin(self.look(offset, len))
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent> {
        let page = self.core.tables.page_cached(offset / self.core.block)?;
        self.extent(&page, offset, len).ok()
    }

    fn prepare(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Placement>> {
        Box::pin(self.place(offset, len))
    }

    fn prepare_cached(&self, offset: u64, len: u64) -> Option<Placement> {
        // What the first write has to do cannot be done here.
        if !self.core.begun.load(Ordering::Acquire) {
            return None;
        }
        let page = self.core.tables.page_cached(offset / self.core.block)?;
        self.in_place(&page, offset, len)
    }

    fn commit<'a>(&'a self, placement: &'a Placement) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.enter(placement))
    }

    fn cancel<'a>(&'a self, placement: &'a Placement) -> BoxFuture<'a, ()> {
        let (_, host, blocks) = self.blocks_of(placement);
        let (lead, _) = self.scheme.lead();
        self.core
            .give_back(host - lead, blocks * self.core.block + lead);
        Box::pin(std::future::ready(()))
    }

    fn zero(&self, offset: u64, len: u64, may_unmap: bool) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.zero_range(offset, len, may_unmap))
    }

    fn decompress(&self, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        match self.scheme.packer() {
            Some(packer) => packer.unpack(packed, cluster),
            None => Err(errno(ENOTSUP)),
        }
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.flush_all())
    }

    fn close(&self) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async {
            let finished = self.finish().await;
            finished.map_err(|e| Error::from_io("Could not close the image", &e))
        })
    }

    fn info(&self) -> BoxFuture<'_, qapi::Result<FormatInfo>> {
        Box::pin(std::future::ready(Ok(self.scheme.info(&self.core))))
    }

    fn set_read_only(&self, read_only: bool) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move {
            if read_only {
                let finished = self.finish().await;
                finished.map_err(|e| Error::from_io("Could not write the image", &e))?;
            }
            self.core.read_only.store(read_only, Ordering::Release);
            Ok(())
        })
    }

    fn compress(&self) -> Option<&dyn Compress> {
        self.scheme.packer().map(|_| self as &dyn Compress)
    }

    fn check(&self) -> Option<&dyn Check> {
        self.scheme.checker().map(|_| self as &dyn Check)
    }

    fn resize(&self) -> Option<&dyn Resize> {
        self.scheme.header().map(|_| self as &dyn Resize)
    }

    fn empty(&self) -> Option<&dyn Empty> {
        self.scheme.empty_end().map(|_| self as &dyn Empty)
    }

    fn change_backing(&self) -> Option<&dyn ChangeBacking> {
        self.scheme.header().map(|_| self as &dyn ChangeBacking)
    }
}

impl<S: Scheme> Empty for Blocks<S> {
    fn make_empty(&self) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move {
            let failed = |e: io::Error| Error::from_io("Could not empty the image", &e);
            let end = self.scheme.empty_end();
            let end =
                end.ok_or_else(|| Error::new("This image cannot be emptied").errno(ENOTSUP))?;
            self.begin().await.map_err(failed)?;
            self.core.tables.clear();
            self.core.tables.write_out().await.map_err(failed)?;
            self.core.file.flush().await.map_err(failed)?;
            self.core.file.truncate(end, Preallocation::Off).await?;
            self.core.set_next(end);
            Ok(())
        })
    }
}

impl<S: Scheme> Compress for Blocks<S> {
    fn pack(&self, cluster: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        match self.scheme.packer() {
            Some(packer) => packer.pack(cluster, out),
            None => Err(errno(ENOTSUP)),
        }
    }

    fn place(&self, guest: u64, packed_len: u32) -> BoxFuture<'_, io::Result<Place>> {
        Box::pin(async move {
            self.begin().await?;
            let page = self.core.tables.page(guest / self.core.block).await?;
            if page.left() == 0 {
                return Err(errno(EIO));
            }
            Ok(file_place(self.core.allocate(packed_len.into(), 0)?))
        })
    }

    fn commit_packed(
        &self,
        guest: u64,
        at: Place,
        packed_len: u32,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let packer = self.scheme.packer().ok_or_else(|| errno(ENOTSUP))?;
            let raw = packer.packed_raw(at.offset, packed_len);
            self.set(guest / self.core.block, raw).await
        })
    }
}

impl<S: Scheme> Check for Blocks<S> {
    fn check<'a>(&'a self, request: CheckRequest<'a>) -> BoxFuture<'a, qapi::Result<CheckReport>> {
        Box::pin(async move {
            let checker = self.scheme.checker();
            let checker = checker.ok_or_else(|| Error::new("No check for this format"))?;
            let flushed = self.flush_all().await;
            flushed.map_err(|e| Error::from_io("Could not write the image", &e))?;
            checker.check(&self.core, request).await
        })
    }
}

impl<S: Scheme> Resize for Blocks<S> {
    fn resize(&self, request: ResizeRequest) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move {
            if request.preallocation != Preallocation::Off {
                let name = request.preallocation.name();
                return Err(
                    Error::new(format!("Unsupported preallocation mode '{name}'")).errno(ENOTSUP),
                );
            }
            let header = self.scheme.header();
            let header = header.ok_or_else(|| Error::new("No resize for this format"))?;
            header.resize(&self.core, request.size).await
        })
    }
}

impl<S: Scheme> ChangeBacking for Blocks<S> {
    fn set_backing<'a>(
        &'a self,
        link: Option<&'a block_core::BackingLink>,
    ) -> BoxFuture<'a, qapi::Result<()>> {
        Box::pin(async move {
            let header = self.scheme.header();
            let header = header.ok_or_else(|| Error::new("No backing file for this format"))?;
            header.set_backing(&self.core, link).await
        })
    }
}
