//! A format that is a map from blocks of one size to places in one file: vdi, vhdx, vpc, parallels, qcow and qed are this,
//! each with a [`Scheme`] that says what its entries mean.
//!
//! New blocks go to the end of the file. Entries stay in memory until a flush, which writes data first, then tables,
//! then what the scheme keeps beside them (counts, a footer): a crash leaves blocks that nothing points to, never an
//! entry without its data.

mod abilities;
mod core;
mod scheme;

use std::io;
use std::sync::atomic::Ordering;

use block_core::{
    BoxFuture, ChangeBacking, Check, Cipher, Compress, Empty, Extent, ExtentKind, Format,
    FormatInfo, Geometry, Place, Placement, Resize, Slot, ZeroFlags,
};
use qapi::Error;

use crate::tables::Page;

pub(crate) use self::core::Core;
pub(crate) use scheme::{Cell, Checker, HeaderChange, Packer, Scheme};

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

    /// Entries from that of a block on.
    async fn page(&self, block: u64) -> io::Result<Page> {
        let (index, alike) = self.scheme.entry(block);
        Ok(self.core.tables.page(index).await?.limit(alike))
    }

    /// The same, when they are in memory.
    fn page_cached(&self, block: u64) -> Option<Page> {
        let (index, alike) = self.scheme.entry(block);
        Some(self.core.tables.page_cached(index)?.limit(alike))
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
            Cell::Data(host) if !self.core.is_inside(host) => return Err(errno(EIO)),
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
        let page = self.page(index).await?;
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
    async fn set(&self, block: u64, raw: u64) -> io::Result<()> {
        let (index, _) = self.scheme.entry(block);
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
                // Zeroes in the file would be noise on the disk.
                ExtentKind::Data { .. } if self.scheme.cipher().is_some() => {
                    return Err(errno(ENOTSUP));
                }
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
        let page = self.page(offset / self.core.block).await?;
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
        let page = self.page_cached(offset / self.core.block)?;
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
        let page = self.page_cached(offset / self.core.block)?;
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

    fn cipher(&self) -> Option<&dyn Cipher> {
        self.scheme.cipher()
    }

    fn opaque(&self) -> bool {
        self.scheme.opaque()
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

#[cfg(test)]
mod tests;
