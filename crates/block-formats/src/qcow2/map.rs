//! Where guest bytes are: the answer to every read.

use std::io;
use std::sync::Arc;

use block_core::{Extent, ExtentKind, Place, Slot};

use super::layout::{Bitmap, Entry, OFFSET_MASK, Subcluster};
use super::overlap::hex;
use super::slices::Slice;
use super::{Meta, Qcow2, errno};

const EIO: i32 = 5;

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
        let slice = self.slice(&mut meta, self.layout.slice_of(offset)).await?;
        if let Some(extent) = self.extent_in(&slice, offset, len) {
            return Ok(extent);
        }
        Err(self.bad_entry(&mut meta, &slice, offset).await)
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

    /// An entry that cannot be: the image is corrupt.
    pub(super) async fn bad_entry(
        &self,
        meta: &mut Meta,
        slice: &Arc<Slice>,
        offset: u64,
    ) -> io::Error {
        let index = self.layout.entry_in_slice(offset);
        let (word, _) = slice.get(self.layout, index);
        let l2 = slice.host - self.layout.slice_start(slice.number);
        let at = index as u64
            + self.layout.slice_start(slice.number) / 8 / self.layout.entry_words() as u64;
        let host = word & OFFSET_MASK;
        let place = format!("(L2 offset: {}, L2 index: {})", hex(l2), hex(at));
        let what = if self.layout.in_cluster(host) == 0 {
            format!("Invalid cluster entry found {place}")
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
