//! Where guest bytes are: the answer to every read.

use std::io;
use std::sync::Arc;

use block_core::{Event, Extent, ExtentKind, Place, Slot};

use super::layout::{Bitmap, Entry, OFFSET_MASK, Subcluster};
use super::overlap::hex;
use super::slices::Slice;
use super::{Meta, Qcow2, errno};

const EIO: i32 = 5;

/// Slices smaller than this are read several at a time, up to so many bytes.
const SMALL_SLICE: u64 = 32 << 10;

/// What one cluster or subcluster holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Backing(Option<u64>),
    Zero(Option<u64>),
    Data(u64),
    Packed { host: u64, len: u32 },
}

impl Piece {
    /// Whether `next`, `distance` bytes on, continues this piece.
    fn goes_on(self, next: Self, distance: u64) -> bool {
        match (self, next) {
            (Self::Backing(None), Self::Backing(None)) | (Self::Zero(None), Self::Zero(None)) => {
                true
            }
            (Self::Data(a), Self::Data(b))
            | (Self::Zero(Some(a)), Self::Zero(Some(b)))
            | (Self::Backing(Some(a)), Self::Backing(Some(b))) => a + distance == b,
            _ => false,
        }
    }
}

impl Qcow2 {
    /// The extent at `offset` as far as a slice maps it. `None`: an entry is not as it should be.
    pub(super) fn extent_in(&self, slice: &Slice, offset: u64, len: u64) -> Option<Extent> {
        let layout = self.layout;
        let slice_end = layout.slice_guest(slice.number + 1);
        let end = (offset + len).min(slice_end);
        if slice.host == 0 {
            return Some(Extent {
                len: end - offset,
                kind: ExtentKind::Backing { at: None },
            });
        }
        let first = self.piece(slice, offset)?;
        if let Piece::Packed { host, len } = first {
            return Some(self.packed_extent(offset, end, host, len));
        }
        let step = 1 << layout.subcluster_bits();
        let mut at = offset - offset % step + step;
        if let Piece::Data(host) = first {
            at += self.data_run(slice, (offset, host), end) * step;
        }
        while at < end
            && self
                .piece(slice, at)
                .is_some_and(|next| first.goes_on(next, at - offset))
        {
            at += step;
        }
        Some(Extent {
            len: at.min(end) - offset,
            kind: self.kind(first),
        })
    }

    /// How many clusters behind the one at `offset`, whose data is at `host`, go on as it does; of most of them that is seen by
    /// their words alone.
    fn data_run(&self, slice: &Slice, (offset, host): (u64, u64), end: u64) -> u64 {
        let layout = self.layout;
        let cluster = layout.cluster_size();
        let behind = end.saturating_sub(layout.start_of_cluster(offset)) / cluster;
        // The flags of a word stay as they are only as long as its offset does not run into them.
        let inside = host.saturating_add(end - offset) <= OFFSET_MASK;
        if layout.extended || !inside {
            return 0;
        }
        let most = usize::try_from(behind).unwrap_or(usize::MAX);
        slice.run_behind(layout.entry_in_slice(offset), cluster, most) as u64
    }

    fn kind(&self, piece: Piece) -> ExtentKind {
        let place = |offset| Place {
            slot: self.data_slot,
            offset,
        };
        match piece {
            Piece::Zero(host) => ExtentKind::Zero {
                at: host.map(place),
            },
            Piece::Data(host) => ExtentKind::Data {
                at: place(host),
                recurse: self.recurse(),
            },
            Piece::Backing(host) => ExtentKind::Backing {
                at: host.map(place),
            },
            Piece::Packed { .. } => ExtentKind::Backing { at: None },
        }
    }

    fn packed_extent(&self, offset: u64, end: u64, host: u64, len: u32) -> Extent {
        let cluster_start = self.layout.start_of_cluster(offset);
        let cluster = self.layout.cluster_size();
        Extent {
            len: end.min(cluster_start + cluster) - offset,
            kind: ExtentKind::Compressed {
                at: Place {
                    slot: Slot::FILE,
                    offset: host,
                },
                packed_len: len,
                cluster_start,
                cluster_len: 1 << self.layout.cluster_bits,
            },
        }
    }

    /// The piece that `offset` lies in, its host offset that of `offset` itself.
    fn piece(&self, slice: &Slice, offset: u64) -> Option<Piece> {
        let layout = self.layout;
        let (word, bitmap) = slice.get(layout, layout.entry_in_slice(offset));
        if layout.is_malformed(word) {
            return None;
        }
        let inside = layout.in_cluster(offset);
        let entry = layout.decode(word);
        if let Entry::Packed { host, len } = entry {
            return Some(Piece::Packed { host, len });
        }
        if layout.extended {
            return self.subcluster(entry, bitmap, inside);
        }
        Some(match entry {
            Entry::Data { host, .. } => Piece::Data(host + inside),
            Entry::Zero { host, copied } => {
                let kept = host != 0 || (layout.data_file && copied);
                Piece::Zero(kept.then_some(host + inside))
            }
            _ => Piece::Backing(None),
        })
    }

    fn subcluster(&self, entry: Entry, bitmap: Bitmap, inside: u64) -> Option<Piece> {
        let host = match entry {
            Entry::Data { host, .. } => Some(host + inside),
            _ => None,
        };
        let index = u32::try_from(inside >> self.layout.subcluster_bits()).ok()?;
        match bitmap.get(index) {
            Subcluster::Unallocated => Some(Piece::Backing(host)),
            Subcluster::Zero => Some(Piece::Zero(host)),
            Subcluster::Allocated => host.map(Piece::Data),
            Subcluster::Invalid => None,
        }
    }

    /// The mapping when it is not at hand: reads the slice it needs.
    pub(super) async fn map_slow(&self, offset: u64, len: u64) -> io::Result<Extent> {
        let mut meta = self.meta.lock().await;
        self.find_holes(&mut meta).await?;
        let unmapped = self.unmapped_run(&meta, offset, len);
        if unmapped > 0 {
            return Ok(Extent {
                len: unmapped,
                kind: ExtentKind::Backing { at: None },
            });
        }
        let number = self.layout.slice_of(offset);
        self.read_ahead(&mut meta, number).await?;
        let slice = self.slice(&mut meta, number).await?;
        if let Some(extent) = self.extent_in(&slice, offset, len) {
            return Ok(extent);
        }
        Err(self.bad_entry(&mut meta, &slice, offset, " ").await)
    }

    /// Slices of small clusters map little. Whoever reads one behind the other gets more of them at a time, those that lie
    /// together in the file by one read.
    async fn read_ahead(&self, meta: &mut Meta, number: u64) -> io::Result<()> {
        let expected = std::mem::replace(&mut meta.next_miss, number + 1) == number;
        if self.layout.slice_bytes >= SMALL_SLICE || !meta.dirty_slices.is_empty() {
            return Ok(());
        }
        let most = (SMALL_SLICE / self.layout.slice_bytes).min(self.slices.room() / 2);
        meta.ahead = if expected {
            (meta.ahead * 2).max(2).min(most)
        } else {
            1
        };
        if meta.ahead > 1 {
            meta.next_miss = number + meta.ahead;
            self.load_run(meta, number..number + meta.ahead).await?;
        }
        Ok(())
    }

    /// Brings slices into memory, as far as their tables are there and can be read. The first one is wanted: that it cannot
    /// be read is an error.
    async fn load_run(&self, meta: &mut Meta, numbers: std::ops::Range<u64>) -> io::Result<()> {
        let layout = self.layout;
        let size = layout.slice_bytes;
        let host_of = |meta: &Meta, number: u64| {
            let entry = meta.l1.get(layout.l1_index(layout.slice_guest(number)))?;
            let table = Self::l2_table(*entry);
            (table != 0 && layout.in_cluster(table) == 0)
                .then(|| table + layout.slice_start(number))
        };
        let mut bytes = Vec::new();
        let mut at = numbers.start;
        while at < numbers.end {
            let Some(host) = host_of(meta, at) else {
                return Ok(());
            };
            let mut end = at + 1;
            while end < numbers.end && host_of(meta, end) == Some(host + (end - at) * size) {
                end += 1;
            }
            bytes.resize(usize::try_from((end - at) * size).unwrap_or(0), 0);
            self.file.event(Event::L2Load).await;
            match self.file.read(host, &mut bytes).await {
                Err(error) if at == numbers.start => return Err(error),
                // Whoever needs one of them hears of it.
                Err(_) => return Ok(()),
                Ok(()) => {}
            }
            let parts = bytes.chunks_exact(usize::try_from(size).unwrap_or(1));
            for ((number, host), part) in (at..end)
                .zip((host..).step_by(usize::try_from(size).unwrap_or(1)))
                .zip(parts)
            {
                if self.slices.get(number).is_none() {
                    let slice = self.decode_slice(meta, (number, host), part);
                    self.slices.put(Arc::new(slice));
                }
            }
            at = end;
        }
        Ok(())
    }

    /// How many bytes from `offset` on have no L2 table at all.
    fn unmapped_run(&self, meta: &Meta, offset: u64, len: u64) -> u64 {
        let coverage = self.layout.l2_coverage();
        let mut at = offset;
        while at < offset + len {
            match meta.l1.get(self.layout.l1_index(at)) {
                Some(entry) if entry & OFFSET_MASK != 0 => break,
                Some(_) => at = (at / coverage + 1) * coverage,
                None => at = offset + len,
            }
        }
        at.min(offset + len) - offset
    }

    /// An entry that cannot be: the image is corrupt. The reference's words have a `gap` where it reads.
    pub(super) async fn bad_entry(
        &self,
        meta: &mut Meta,
        slice: &Arc<Slice>,
        offset: u64,
        gap: &str,
    ) -> io::Error {
        let index = self.layout.entry_in_slice(offset);
        let (word, _) = slice.get(self.layout, index);
        let l2 = slice.host - self.layout.slice_start(slice.number);
        let at = index as u64
            + self.layout.slice_start(slice.number) / 8 / self.layout.entry_words() as u64;
        let host = word & OFFSET_MASK;
        let place = format!("(L2 offset: {}, L2 index: {})", hex(l2), hex(at));
        let what = if self.layout.in_cluster(host) == 0 {
            format!("Invalid cluster entry found {gap}{place}")
        } else if matches!(self.layout.decode(word), Entry::Zero { .. }) {
            let guest = self.layout.start_of_cluster(offset);
            format!(
                "Preallocated zero cluster offset {} unaligned (guest offset: {})",
                hex(host),
                hex(guest)
            )
        } else {
            format!("Cluster allocation offset {} unaligned {place}", hex(host))
        };
        self.corrupt(meta, &what).await;
        errno(EIO)
    }
}
