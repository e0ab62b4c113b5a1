//! Disks that hold what changed since a parent: blocks of which some sectors are here and the others the parent's, as bitmaps
//! say. VHD and VHDX have such. They are read only.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use block_core::{BackingLink, BoxFuture, Edge, Extent, ExtentKind, FormatInfo, Node, Place, Slot};
use qapi::Dict;

use crate::blocks::errno;
use crate::read_only::Lookup;
use crate::tables::{Page, Tables};

/// Bytes of a bitmap that are read together.
const PIECE: u64 = 4096;

const EIO: i32 = 5;
const EINVAL: i32 = 22;

/// What an entry says of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it is the parent's.
    Parent,
    /// It reads as zeroes.
    Zero,
    /// All of it is here.
    Whole(u64),
    /// Its sectors are here, if the bitmap says so.
    Mixed(u64),
    /// It cannot be.
    Bad,
}

/// Order of the bits of a bitmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bits {
    LowestFirst,
    HighestFirst,
}

/// What makes one format of this kind differ from the other.
pub(crate) trait Parts: Send + Sync + 'static {
    /// Where the entry of a block is, and how many blocks from it on have theirs right behind.
    fn entry(&self, block: u64) -> (u64, u64);

    /// What an entry means.
    fn part(&self, raw: u64) -> Part;

    /// Where the bitmap of a mixed block begins in the file.
    fn bitmap<'a>(
        &'a self,
        tables: &'a Tables,
        block: u64,
        raw: u64,
    ) -> BoxFuture<'a, io::Result<u64>>;

    /// Order of its bits.
    fn bits(&self) -> Bits;
}

/// An open image.
pub(crate) struct Differencing<P> {
    pub(crate) file: Arc<Edge>,
    pub(crate) tables: Tables,
    pub(crate) parts: P,
    /// Bytes of the disk.
    pub(crate) size: u64,
    /// Bytes of a block.
    pub(crate) block: u64,
    /// Bytes that a bit stands for.
    pub(crate) sector: u64,
    /// The parent as the image names it.
    pub(crate) parent: BackingLink,
    /// Ids that the parent's content may have.
    pub(crate) parent_ids: Vec<String>,
    /// That of this image's own.
    pub(crate) id: String,
    /// The parent is not what it was.
    pub(crate) stale: AtomicBool,
    pub(crate) last: Mutex<Option<(u64, Arc<Vec<u8>>)>>,
}

impl<P: Parts> Differencing<P> {
    fn parent_extent(&self, len: u64) -> io::Result<Extent> {
        if self.stale.load(Ordering::Acquire) {
            return Err(errno(EINVAL));
        }
        let kind = ExtentKind::Backing { at: None };
        Ok(Extent { len, kind })
    }

    /// What is at `offset`, if no bitmap is needed to say so.
    fn look(&self, page: &Page, offset: u64, len: u64) -> Option<io::Result<Extent>> {
        let within = offset % self.block;
        let part = if page.left() == 0 {
            Part::Bad
        } else {
            self.parts.part(page.entry(0))
        };
        let wanted = (within + len).div_ceil(self.block);
        let run = match part {
            Part::Whole(_) | Part::Mixed(_) | Part::Bad => 1,
            Part::Parent | Part::Zero => page.run(wanted, |_, raw| self.parts.part(raw) == part),
        };
        let len = (run.max(1) * self.block - within).min(len);
        Some(match part {
            Part::Parent => self.parent_extent(len),
            Part::Zero => Ok(Extent {
                len,
                kind: ExtentKind::Zero { at: None },
            }),
            Part::Whole(host) => Ok(data(host + within, len)),
            Part::Bad => Err(errno(EIO)),
            Part::Mixed(_) => return None,
        })
    }

    async fn find(&self, offset: u64, len: u64) -> io::Result<Extent> {
        let number = offset / self.block;
        let (index, alike) = self.parts.entry(number);
        let page = self.tables.page(index).await?.limit(alike);
        if let Some(found) = self.look(&page, offset, len) {
            return found;
        }
        let raw = page.entry(0);
        let Part::Mixed(host) = self.parts.part(raw) else {
            return Err(errno(EIO));
        };
        let within = offset % self.block;
        let len = len.min(self.block - within);
        let bitmap = self.parts.bitmap(&self.tables, number, raw).await?;
        let (here, len) = self.run(bitmap, within, len).await?;
        if here {
            Ok(data(host + within, len))
        } else {
            self.parent_extent(len)
        }
    }

    /// Whether the sector at `within` is here, and for how many bytes the answer holds.
    async fn run(&self, bitmap: u64, within: u64, len: u64) -> io::Result<(bool, u64)> {
        let first = within / self.sector;
        let last = (within + len - 1) / self.sector;
        let piece = first / 8 / PIECE;
        let bytes = self.piece(bitmap + piece * PIECE).await?;
        let is_here = |bit: u64| {
            let byte = usize::try_from(bit / 8 - piece * PIECE).unwrap_or(usize::MAX);
            let shift = match self.parts.bits() {
                Bits::LowestFirst => bit % 8,
                Bits::HighestFirst => 7 - bit % 8,
            };
            bytes.get(byte).map(|byte| byte >> shift & 1 != 0)
        };
        let here = is_here(first);
        let end = (first + 1..=last).find(|bit| is_here(*bit) != here);
        let end = end.map_or(within + len, |bit| bit * self.sector);
        Ok((here.ok_or_else(|| errno(EIO))?, end - within))
    }

    /// A piece of a bitmap; the last one stays in memory.
    async fn piece(&self, at: u64) -> io::Result<Arc<Vec<u8>>> {
        if let Some((place, bytes)) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
            && *place == at
        {
            return Ok(Arc::clone(bytes));
        }
        let mut bytes = vec![0; usize::try_from(PIECE).unwrap_or_default()];
        self.file.read(at, &mut bytes).await?;
        let bytes = Arc::new(bytes);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((at, Arc::clone(&bytes)));
        Ok(bytes)
    }

    async fn meet(&self, parent: &Node) {
        let info = match parent.format() {
            Some(format) => format.info().await.ok(),
            None => None,
        };
        let id = info.and_then(|info| info.content_id);
        let same = id.is_some_and(|id| self.parent_ids.contains(&id));
        if !same {
            let name = parent.filename();
            eprintln!(
                "'{name}' is not what this disk was made over: what is only in it cannot be read"
            );
        }
        self.stale.store(!same, Ordering::Release);
    }
}

fn data(offset: u64, len: u64) -> Extent {
    let at = Place {
        slot: Slot::FILE,
        offset,
    };
    let kind = ExtentKind::Data { at, recurse: false };
    Extent { len, kind }
}

impl<P: Parts> Lookup for Differencing<P> {
    fn size(&self) -> u64 {
        self.size
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        Box::pin(self.find(offset, len))
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent> {
        let (index, alike) = self.parts.entry(offset / self.block);
        let page = self.tables.page_cached(index)?.limit(alike);
        self.look(&page, offset, len)?.ok()
    }

    fn opaque(&self) -> bool {
        false
    }

    fn info(&self) -> FormatInfo {
        let mut specific = Dict::new();
        specific.insert("type", "differencing");
        specific.insert("sector-size", self.sector);
        specific.insert("id", self.id.as_str());
        if let Some(id) = self.parent_ids.first() {
            specific.insert("parent-id", id.as_str());
        }
        FormatInfo {
            dirty: Some(false),
            cluster_size: Some(self.block),
            backing: Some(self.parent.clone()),
            specific: Some(specific),
            content_id: Some(self.id.clone()),
            uses: vec![format!(
                "differencing disk, in blocks of {}: what it lacks is read from its parent '{}'",
                qapi::format_size(self.block),
                self.parent.file
            )],
            ..FormatInfo::default()
        }
    }

    fn backing_opened<'a>(&'a self, backing: &'a Node) -> BoxFuture<'a, ()> {
        Box::pin(self.meet(backing))
    }
}
