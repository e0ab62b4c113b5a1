//! The mapping of a disk made of extents.

use std::io;
use std::sync::atomic::Ordering;

use block_core::{
    BoxFuture, Check, Compress, Extent as Found, ExtentKind, Format, FormatInfo, Geometry, Node,
    Place, Placement, Slot, ZeroFlags,
};
use qapi::{Dict, Error, Value, format_size};

use super::extent::{Extent, Kind, Sparse};
use super::{Vmdk, grains};
use crate::blocks::{Cell, errno};
use crate::tables::Page;

const EIO: i32 = 5;
const EINVAL: i32 = 22;
const ENOTSUP: i32 = 95;

impl Vmdk {
    /// Size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.extents.last().map_or(0, Extent::end)
    }

    /// The extent that holds a byte of the disk.
    pub(super) fn extent_at(&self, offset: u64) -> io::Result<&Extent> {
        let index = self.extents.partition_point(|e| e.end() <= offset);
        self.extents.get(index).ok_or_else(|| errno(EIO))
    }

    /// What is at `offset`; `page` starts with its grain's entry and is missing for a flat extent.
    fn look(
        &self,
        extent: &Extent,
        page: Option<&Page>,
        offset: u64,
        len: u64,
    ) -> io::Result<Found> {
        let inside = offset - extent.start;
        let len = len.min(extent.len - inside);
        match (&extent.kind, page) {
            (Kind::Flat(start), _) => Ok(Found {
                len,
                kind: ExtentKind::Data {
                    at: Place {
                        slot: extent.slot,
                        offset: start + inside,
                    },
                    recurse: true,
                },
            }),
            (Kind::Sparse(sparse), Some(page)) => {
                self.look_sparse((extent, sparse), page, (offset, inside), len)
            }
            (Kind::Sparse(_), None) => Err(errno(EIO)),
        }
    }

    fn look_sparse(
        &self,
        (extent, sparse): (&Extent, &Sparse),
        page: &Page,
        (offset, inside): (u64, u64),
        len: u64,
    ) -> io::Result<Found> {
        let grain = sparse.core.block;
        let within = inside % grain;
        let wanted = (within + len).div_ceil(grain);
        let cell = sparse.cell(page.entry(0));
        let alike = || page.run(wanted, |_, raw| sparse.cell(raw) == cell);
        let place = |offset| Place {
            slot: extent.slot,
            offset,
        };
        let (run, kind) = match cell {
            Cell::Free => {
                self.ids.check()?;
                (alike(), ExtentKind::Backing { at: None })
            }
            Cell::Zero => (alike(), ExtentKind::Zero { at: None }),
            Cell::Data(host) => {
                let next = |k, raw| sparse.cell(raw) == Cell::Data(host + k * grain);
                let at = place(host + within);
                (
                    page.run(wanted, next),
                    ExtentKind::Data { at, recurse: false },
                )
            }
            Cell::Packed(host, _) => {
                let start = offset - within;
                let kind = ExtentKind::Compressed {
                    at: place(host),
                    packed_len: packed_len(sparse, page, host),
                    cluster_start: start,
                    cluster_len: u32::try_from(grain.min(extent.end() - start))
                        .map_err(|_| errno(EIO))?,
                };
                (1, kind)
            }
            Cell::Bad => return Err(errno(EIO)),
        };
        Ok(Found {
            len: (run.max(1) * grain - within).min(len),
            kind,
        })
    }

    async fn look_slowly(&self, offset: u64, len: u64) -> io::Result<Found> {
        let extent = self.extent_at(offset)?;
        let page = match extent.sparse() {
            Some(sparse) => Some(
                sparse
                    .core
                    .tables
                    .page(index(extent, sparse, offset))
                    .await?,
            ),
            None => None,
        };
        self.look(extent, page.as_ref(), offset, len)
    }

    fn in_place(found: Found, offset: u64) -> Option<Placement> {
        let ExtentKind::Data { at, .. } = found.kind else {
            return None;
        };
        Some(Placement {
            guest: offset,
            len: found.len,
            at,
            cow_head: 0,
            cow_tail: 0,
            fresh: false,
            zeroed: false,
        })
    }

    async fn place(&self, offset: u64, len: u64) -> io::Result<Placement> {
        self.renew().await?;
        let found = self.look_slowly(offset, len).await?;
        if let Some(place) = Self::in_place(found, offset) {
            return Ok(place);
        }
        let extent = self.extent_at(offset)?;
        let Some(sparse) = extent.sparse().filter(|s| !s.packed) else {
            return Err(errno(EINVAL));
        };
        let grain = sparse.core.block;
        let first = index(extent, sparse, offset);
        if sparse.core.tables.missing(first).is_some() {
            // GAP: a grain directory without all of its tables is only read; nobody makes such for writing.
            return Err(errno(EINVAL));
        }
        let within = (offset - extent.start) % grain;
        let run = (within + found.len).div_ceil(grain);
        let host = sparse.core.allocate(run * grain, grain)?;
        if (host + run * grain) / 512 > u64::from(u32::MAX) {
            sparse.core.give_back(host, run * grain);
            return Err(errno(EINVAL));
        }
        let zeroed = extent.file.node().length()? <= host;
        // What a last grain has behind the extent's end belongs to nobody.
        let end = (offset - within + run * grain).min(extent.end());
        Ok(Placement {
            guest: offset,
            len: found.len,
            at: Place {
                slot: extent.slot,
                offset: host + within,
            },
            cow_head: within,
            cow_tail: end - offset - found.len,
            fresh: true,
            zeroed,
        })
    }

    /// The grains of a fresh placement: first entry, host offset of the first, how many.
    fn grains_of(&self, place: &Placement) -> io::Result<(&Sparse, u64, u64, u64)> {
        let extent = self.extent_at(place.guest)?;
        let sparse = extent.sparse().ok_or_else(|| errno(EIO))?;
        let first = index(extent, sparse, place.guest);
        let bytes = place.cow_head + place.len + place.cow_tail;
        let host = place.at.offset - place.cow_head;
        Ok((sparse, first, host, bytes.div_ceil(sparse.core.block)))
    }

    async fn enter(&self, place: &Placement) -> io::Result<()> {
        let (sparse, first, host, count) = self.grains_of(place)?;
        for k in 0..count {
            let sector = (host + k * sparse.core.block) / 512;
            sparse.core.tables.set(first + k, sector).await?;
        }
        Ok(())
    }

    async fn zero_range(&self, mut offset: u64, mut len: u64, may_unmap: bool) -> io::Result<()> {
        self.renew().await?;
        let flags = ZeroFlags {
            may_unmap,
            ..ZeroFlags::default()
        };
        while len > 0 {
            let found = self.look_slowly(offset, len).await?;
            let extent = self.extent_at(offset)?;
            match found.kind {
                ExtentKind::Zero { .. } => {}
                ExtentKind::Backing { .. } if self.backing.is_none() => {}
                ExtentKind::Data { at, .. } if extent.sparse().is_none_or(|s| !s.zero_grains) => {
                    extent
                        .file
                        .write_zeroes(at.offset, found.len, flags)
                        .await?;
                }
                _ => self.zero_grains(extent, offset, found.len).await?,
            }
            offset += found.len;
            len -= found.len;
        }
        Ok(())
    }

    async fn zero_grains(&self, extent: &Extent, offset: u64, len: u64) -> io::Result<()> {
        let sparse = extent.sparse().filter(|s| s.zero_grains);
        let sparse = sparse.ok_or_else(|| errno(ENOTSUP))?;
        let grain = sparse.core.block;
        let (from, to) = (offset - extent.start, offset + len - extent.start);
        let whole = from.is_multiple_of(grain) && (to.is_multiple_of(grain) || to == extent.len);
        if !whole {
            return Err(errno(ENOTSUP));
        }
        for index in from / grain..to.div_ceil(grain) {
            sparse.core.tables.set(index, grains::ZERO).await?;
        }
        Ok(())
    }

    async fn flush_all(&self) -> io::Result<()> {
        for extent in &self.extents {
            if let Some(sparse) = extent.sparse()
                && sparse.core.tables.is_dirty()
            {
                sparse.core.fill_up().await?;
                sparse.core.tables.write_out().await?;
            }
            extent.file.flush().await?;
        }
        self.file.flush().await
    }

    fn uses(&self) -> Vec<String> {
        let mut uses = vec![format!("disk of VMware, of type {}", self.create_type)];
        uses.extend(self.extents.iter().map(|extent| {
            let kind = match extent.sparse() {
                Some(s) if s.packed => {
                    format!("packed grains of {}", format_size(s.core.block))
                }
                Some(s) => format!("grains of {}", format_size(s.core.block)),
                None => "plain data".to_owned(),
            };
            let node = extent.file.node();
            format!(
                "{} in '{}': {kind}",
                format_size(extent.len),
                node.filename()
            )
        }));
        if let Some(parent) = &self.backing {
            uses.push(format!(
                "what it lacks is read from its parent '{}'",
                parent.file
            ));
        }
        uses
    }

    fn describe(&self) -> FormatInfo {
        let mut specific = Dict::new();
        specific.insert("create-type", self.create_type.as_str());
        specific.insert("cid", u64::from(self.ids.own.load(Ordering::Acquire)));
        specific.insert("parent-cid", u64::from(self.ids.parent));
        let extents = self.extents.iter().map(|extent| {
            let mut out = Dict::new();
            out.insert("filename", extent.file.node().filename());
            out.insert("format", extent.word);
            out.insert("virtual-size", extent.len);
            if let Some(sparse) = extent.sparse() {
                out.insert("cluster-size", sparse.core.block);
                if sparse.packed {
                    out.insert("compressed", true);
                }
            }
            Value::Dict(out)
        });
        specific.insert("extents", Value::List(extents.collect()));
        let kind = |e: &Extent| e.sparse().map(|s| (s.core.block, s.packed));
        let first = self.extents.first().and_then(kind);
        let alike = self.extents.iter().all(|e| kind(e) == first);
        FormatInfo {
            cluster_size: first.filter(|_| alike).map(|(grain, _)| grain),
            dirty: alike.then_some(false),
            backing: self.backing.clone(),
            specific: Some(specific),
            uses: self.uses(),
            ..FormatInfo::default()
        }
    }
}

/// The entry of the grain that holds a byte of the disk.
fn index(extent: &Extent, sparse: &Sparse, offset: u64) -> u64 {
    (offset - extent.start) / sparse.core.block
}

/// How much to read of a packed grain: up to the next one, if that follows, else what a grain can take at most.
fn packed_len(sparse: &Sparse, page: &Page, host: u64) -> u32 {
    let most = 2 * sparse.core.block;
    let next = if page.left() > 1 {
        page.entry(1) * 512
    } else {
        0
    };
    let len = if next > host {
        most.min(next - host)
    } else {
        most
    };
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Format for Vmdk {
    fn geometry(&self) -> Geometry {
        Geometry {
            size: self.size(),
            cluster_size: self.unit,
            zero_granularity: if self
                .extents
                .iter()
                .any(|e| e.sparse().is_some_and(|s| s.zero_grains))
            {
                self.unit
            } else {
                512
            },
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Found>> {
        Box::pin(self.look_slowly(offset, len))
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Found> {
        let extent = self.extent_at(offset).ok()?;
        let page = match extent.sparse() {
            Some(sparse) => Some(
                sparse
                    .core
                    .tables
                    .page_cached(index(extent, sparse, offset))?,
            ),
            None => None,
        };
        self.look(extent, page.as_ref(), offset, len).ok()
    }

    fn prepare(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Placement>> {
        Box::pin(self.place(offset, len))
    }

    fn prepare_cached(&self, offset: u64, len: u64) -> Option<Placement> {
        // The first write has to change the content id.
        if !self.ids.is_changed() {
            return None;
        }
        Self::in_place(self.map_cached(offset, len)?, offset)
    }

    fn commit<'a>(&'a self, placement: &'a Placement) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.enter(placement))
    }

    fn cancel<'a>(&'a self, placement: &'a Placement) -> BoxFuture<'a, ()> {
        if let Ok((sparse, _, host, count)) = self.grains_of(placement) {
            sparse.core.give_back(host, count * sparse.core.block);
        }
        Box::pin(std::future::ready(()))
    }

    fn zero(&self, offset: u64, len: u64, may_unmap: bool) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.zero_range(offset, len, may_unmap))
    }

    fn decompress(&self, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        let sparse = self.extents.iter().filter_map(Extent::sparse);
        let sparse = sparse.into_iter().find(|s| s.packed);
        let sparse = sparse.ok_or_else(|| errno(EIO))?;
        let whole = usize::try_from(sparse.core.block).map_err(|_| errno(EIO))?;
        grains::unpack(packed, sparse.markers, whole, cluster)
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.flush_all())
    }

    fn info(&self) -> BoxFuture<'_, qapi::Result<FormatInfo>> {
        Box::pin(std::future::ready(Ok(self.describe())))
    }

    fn backing_opened<'a>(&'a self, backing: &'a Node) -> BoxFuture<'a, ()> {
        Box::pin(self.meet(backing))
    }

    fn set_read_only(&self, read_only: bool) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move {
            let flushed = self.flush_all().await;
            flushed.map_err(|e| Error::from_io("Could not write the image", &e))?;
            self.read_only.store(read_only, Ordering::Release);
            Ok(())
        })
    }

    fn compress(&self) -> Option<&dyn Compress> {
        self.packs_all().then_some(self)
    }

    /// Grains of a stream are never plain.
    fn packs_all(&self) -> bool {
        let sparse = self.extents.iter().filter_map(Extent::sparse);
        sparse.into_iter().any(|s| s.packed)
    }

    fn check(&self) -> Option<&dyn Check> {
        Some(self)
    }
}

impl Compress for Vmdk {
    fn pack(&self, cluster: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        grains::pack(cluster, out)?;
        Ok(true)
    }

    fn seal(&self, guest: u64, packed: &mut [u8]) {
        grains::mark(packed, guest / 512);
    }

    fn place(&self, guest: u64, packed_len: u32) -> BoxFuture<'_, io::Result<Place>> {
        Box::pin(async move {
            self.renew().await?;
            let extent = self.extent_at(guest)?;
            let sparse = extent.sparse().filter(|s| s.packed && s.markers);
            let sparse = sparse.ok_or_else(|| errno(EINVAL))?;
            let entry = index(extent, sparse, guest);
            let page = sparse.core.tables.page(entry).await?;
            if sparse.core.tables.missing(entry).is_some() {
                return Err(errno(EINVAL));
            }
            if page.entry(0) > grains::ZERO {
                eprintln!("Could not write to allocated cluster for streamOptimized");
                return Err(errno(EIO));
            }
            let len = u64::from(packed_len).next_multiple_of(512);
            Ok(Place {
                slot: extent.slot,
                offset: sparse.core.allocate(len, 512)?,
            })
        })
    }

    fn commit_packed(
        &self,
        guest: u64,
        at: Place,
        _packed_len: u32,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let extent = self.extent_at(guest)?;
            let sparse = extent.sparse().ok_or_else(|| errno(EIO))?;
            let entry = index(extent, sparse, guest);
            sparse.core.tables.set(entry, at.offset / 512).await
        })
    }
}

const _: () = assert!(Slot::FILE.0 == 0, "extents of their own start at slot 1");
