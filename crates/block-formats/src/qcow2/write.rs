//! Placing new data: in place where a cluster is ours alone, else in newly allocated clusters.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use block_core::{Event, Place, Placement, Slot, WriteFlags};

use super::header::incompatible;
use super::layout::{Bitmap, COPIED, Entry, OFFSET_MASK, SUBCLUSTERS, Subcluster};
use super::overlap::hex;
use super::slices::Slice;
use super::{Meta, Qcow2, errno};

const EIO: i32 = 5;
/// When this much space could be used again if only the mapping without it were in the file, the file does not grow.
const ENOUGH_WAITING: u64 = 8 << 20;

/// What a write finds at a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Overwrite at this offset.
    InPlace(u64),
    /// This cluster is ours, but its content does not count yet: the old content has to be filled in.
    Reuse(u64),
    /// A new cluster; `whole`: all of the old content goes along, not only that of touched subclusters.
    New { whole: bool },
}

/// Subclusters that `[from, to)`, relative to the cluster, touches.
fn touched(bits: u32, from: u64, to: u64) -> (u32, u32) {
    let last = to.div_ceil(1 << bits);
    (
        u32::try_from(from >> bits).unwrap_or(0),
        u32::try_from(last).unwrap_or(SUBCLUSTERS),
    )
}

impl Qcow2 {
    /// [`block_core::Format::prepare_cached`]: no lock, no waiting.
    pub(super) fn in_place_now(&self, offset: u64, len: u64) -> Option<Placement> {
        if !self.writing.load(Ordering::Acquire) || !self.serving() {
            return None;
        }
        let number = self.layout.slice_of(offset);
        let place = self.slices.with(number, |slice| {
            if slice.suspicious {
                None
            } else {
                self.in_place(slice, offset, len)
            }
        })??;
        let disk = offset < self.size();
        (!disk || self.bitmaps.mark_dirty(offset, place.len)).then_some(place)
    }

    /// As much as can be overwritten where it is.
    fn in_place(&self, slice: &Slice, offset: u64, len: u64) -> Option<Placement> {
        let cluster = self.layout.cluster_size();
        let end = (offset + len).min(self.layout.slice_guest(slice.number + 1));
        let mut at = offset;
        let mut host = None;
        while at < end {
            let next = (self.layout.start_of_cluster(at) + cluster).min(end);
            let Target::InPlace(place) = self.target(slice, at, next) else {
                break;
            };
            match host {
                None => host = Some(place),
                Some(first) if first + (at - offset) == place => {}
                Some(_) => break,
            }
            at = next;
        }
        Some(self.placement(offset, at - offset, host?))
    }

    fn placement(&self, guest: u64, len: u64, host: u64) -> Placement {
        Placement {
            guest,
            len,
            at: Place {
                slot: self.data_slot,
                offset: host,
            },
            cow_head: 0,
            cow_tail: 0,
            fresh: false,
            zeroed: false,
        }
    }

    /// What is to be done for `[at, end)`, inside one cluster.
    fn target(&self, slice: &Slice, at: u64, end: u64) -> Target {
        let layout = self.layout;
        let (word, bitmap) = slice.get(layout, layout.entry_in_slice(at));
        let inside = layout.in_cluster(at);
        match layout.decode(word) {
            Entry::Data { host, copied: true } if !layout.extended => {
                Target::InPlace(host + inside)
            }
            Entry::Data { host, copied: true } => {
                let (from, to) = touched(layout.subcluster_bits(), inside, inside + (end - at));
                if (from..to).all(|n| bitmap.get(n) == Subcluster::Allocated) {
                    Target::InPlace(host + inside)
                } else {
                    Target::Reuse(host)
                }
            }
            Entry::Zero { host, copied: true } if host != 0 || layout.data_file => {
                Target::Reuse(host)
            }
            Entry::Packed { .. } => Target::New { whole: true },
            Entry::Data { .. } => Target::New {
                whole: !layout.extended || bitmap.any_allocated(),
            },
            _ => Target::New {
                whole: !layout.extended,
            },
        }
    }

    /// [`block_core::Format::prepare`].
    pub(super) async fn place(&self, offset: u64, len: u64) -> io::Result<Placement> {
        let mut meta = self.meta.lock().await;
        let meta = &mut *meta;
        self.begin_write(meta, offset, len).await?;
        if self.is_full(meta) {
            self.write_out_locked(meta).await?;
        }
        self.reach(meta, offset).await?;
        let slice = self.writable_slice(meta, offset).await?;
        if self.cannot_be(&slice, offset) {
            return Err(self.bad_entry(meta, &slice, offset, "").await);
        }
        if let Some(place) = self.in_place(&slice, offset, len) {
            self.check_overlap(meta, &place).await?;
            return Ok(place);
        }
        let cluster_end = self.layout.start_of_cluster(offset) + self.layout.cluster_size();
        match self.target(&slice, offset, cluster_end.min(offset + len)) {
            Target::InPlace(host) => {
                Ok(self.placement(offset, len.min(cluster_end - offset), host))
            }
            Target::Reuse(host) => {
                let len = len.min(cluster_end - offset);
                let mut place = self.placement(offset, len, host + self.layout.in_cluster(offset));
                self.widen(&slice, &mut place);
                self.check_overlap(meta, &place).await?;
                Ok(place)
            }
            Target::New { .. } => self.place_new(meta, &slice, offset, len).await,
        }
    }

    /// Whether the entry of a guest offset has no meaning.
    fn cannot_be(&self, slice: &Slice, guest: u64) -> bool {
        let (word, bitmap) = slice.get(self.layout, self.layout.entry_in_slice(guest));
        self.layout.is_malformed(word) || self.layout.is_contradictory(word, bitmap)
    }

    /// Allocates for as many clusters as want it, in one run.
    async fn place_new(
        &self,
        meta: &mut Meta,
        slice: &Slice,
        offset: u64,
        len: u64,
    ) -> io::Result<Placement> {
        let cluster = self.layout.cluster_size();
        let start = self.layout.start_of_cluster(offset);
        let limit = (offset + len).min(self.layout.slice_guest(slice.number + 1));
        let mut end = (start + cluster).min(limit);
        while end < limit
            && matches!(
                self.target(slice, end, (end + cluster).min(limit)),
                Target::New { .. }
            )
            && !self.cannot_be(slice, end)
        {
            end = (end + cluster).min(limit);
        }
        let host = if self.layout.data_file {
            start
        } else {
            if meta.waiting * cluster >= ENOUGH_WAITING {
                self.write_out_locked(meta).await?;
            }
            let count = (end - start).div_ceil(cluster);
            self.allocate(meta, count, "data cluster").await? * cluster
        };
        let mut place = self.placement(offset, end - offset, host + (offset - start));
        self.widen(slice, &mut place);
        let child = self.data.node();
        place.zeroed = !self.layout.data_file
            && child.protocol().is_some_and(|p| p.limits().zero_beyond_end)
            && host >= child.length()?;
        Ok(place)
    }

    /// Makes a placement fresh, with the old content that has to go along.
    fn widen(&self, slice: &Slice, place: &mut Placement) {
        let (first, last) = (place.guest, place.guest + place.len);
        let low = self.boundary(slice, first, first, |at, step| at - at % step);
        let high = self.boundary(slice, last - 1, last, |at, step| at.next_multiple_of(step));
        place.cow_head = first - low;
        place.cow_tail = high - last;
        place.fresh = true;
    }

    /// How far the content around one end of a write has to be there: to the cluster's end, or to the subcluster's.
    /// A subcluster that is there already in a cluster that stays needs nothing.
    fn boundary(
        &self,
        slice: &Slice,
        inside: u64,
        at: u64,
        round: impl Fn(u64, u64) -> u64,
    ) -> u64 {
        let layout = self.layout;
        let (_, bitmap) = slice.get(layout, layout.entry_in_slice(inside));
        let subcluster = 1 << layout.subcluster_bits();
        let index = u32::try_from(layout.in_cluster(inside) / subcluster).unwrap_or(0);
        match self.target(slice, inside, inside + 1) {
            Target::New { whole: true } => round(at, layout.cluster_size()),
            Target::InPlace(_) if layout.extended => at,
            Target::Reuse(_) if !layout.extended => round(at, layout.cluster_size()),
            Target::Reuse(_) if bitmap.get(index) == Subcluster::Allocated => at,
            _ => round(at, subcluster),
        }
    }

    /// Data is never written over metadata, whatever the mapping says.
    async fn check_overlap(&self, meta: &mut Meta, place: &Placement) -> io::Result<()> {
        if self.layout.data_file {
            return Ok(());
        }
        let bits = self.layout.cluster_bits;
        let start = place.at.offset - place.cow_head;
        let end = place.at.offset + place.len + place.cow_tail;
        let (first, last) = (start >> bits, end.div_ceil(1 << bits));
        let Some((_, name)) = meta.occupied.first_in(first, last - first) else {
            return Ok(());
        };
        let what = format!("Preventing invalid write on metadata (overlaps with {name})");
        self.corrupt(meta, &what).await;
        Err(errno(EIO))
    }

    /// [`block_core::Format::commit`]: enters the new places and lets the old ones go.
    pub(super) async fn enter(&self, place: &Placement) -> io::Result<()> {
        let mut meta = self.meta.lock().await;
        let meta = &mut *meta;
        let layout = self.layout;
        let slice = self.writable_slice(meta, place.guest).await?;
        let (low, high) = (
            place.guest - place.cow_head,
            place.guest + place.len + place.cow_tail,
        );
        let mut at = low;
        while at < high {
            let next = (layout.start_of_cluster(at) + layout.cluster_size()).min(high);
            let host = place.at.offset - place.cow_head + (at - low) - layout.in_cluster(at);
            let index = layout.entry_in_slice(at);
            let (old, bitmap) = slice.get(layout, index);
            let same = self.let_go(meta, old, Some(host));
            let bitmap = if layout.extended {
                let shared = !same && bitmap.any_allocated();
                let keep = if shared || matches!(layout.decode(old), Entry::Packed { .. }) {
                    Bitmap::FULL
                } else {
                    bitmap
                };
                let inside = layout.in_cluster(at);
                let (from, to) = touched(layout.subcluster_bits(), inside, inside + (next - at));
                keep.with_allocated(from, to)
            } else {
                Bitmap::default()
            };
            slice.set(layout, index, host | COPIED, bitmap);
            at = next;
        }
        Self::changed(meta, slice);
        Ok(())
    }

    /// Lets the clusters of an old entry go, unless they are those at `kept`. Whether they are.
    pub(super) fn let_go(&self, meta: &mut Meta, old: u64, kept: Option<u64>) -> bool {
        let bits = self.layout.cluster_bits;
        match self.layout.decode(old) {
            Entry::Data { host, copied } | Entry::Zero { host, copied }
                if host != 0 || self.layout.data_file =>
            {
                if kept == Some(host) {
                    return true;
                }
                if !self.layout.data_file {
                    Self::free_later(meta, host >> bits, 1);
                    meta.waiting += u64::from(copied);
                }
                false
            }
            Entry::Packed { host, len } => {
                let first = host >> bits;
                let last = (host + u64::from(len) - 1) >> bits;
                Self::free_later(meta, first, last - first + 1);
                false
            }
            _ => false,
        }
    }

    /// A slice has entries that the file does not have.
    pub(super) fn changed(meta: &mut Meta, slice: Arc<Slice>) {
        meta.dirty_slices.insert(slice.number, slice);
    }

    /// [`block_core::Format::cancel`].
    pub(super) async fn give_up(&self, place: &Placement) {
        if self.layout.data_file {
            return;
        }
        let mut meta = self.meta.lock().await;
        let meta = &mut *meta;
        let bits = self.layout.cluster_bits;
        let host = (place.at.offset - place.cow_head) >> bits;
        let count = (place.at.offset + place.len + place.cow_tail).div_ceil(1 << bits) - host;
        let reused = match self.slice(meta, self.layout.slice_of(place.guest)).await {
            Ok(slice) => {
                let (word, _) = slice.get(self.layout, self.layout.entry_in_slice(place.guest));
                (word & OFFSET_MASK) >> bits == host && word & OFFSET_MASK != 0
            }
            Err(_) => true,
        };
        if !reused && let Err(error) = self.free_now(meta, host, count).await {
            tracing::warn!(%error, "clusters of a failed write are leaked");
        }
    }

    /// Room for a packed cluster: behind the last one, if that fits there or goes on into the next cluster.
    pub(super) async fn place_packed(&self, guest: u64, len: u32) -> io::Result<Place> {
        let mut meta = self.meta.lock().await;
        let meta = &mut *meta;
        let (bits, cluster) = (self.layout.cluster_bits, self.layout.cluster_size());
        self.begin_write(meta, guest, cluster).await?;
        if self.is_full(meta) {
            self.write_out_locked(meta).await?;
        }
        // The table first, so that packed clusters lie together behind it.
        self.writable_slice(meta, guest).await?;
        self.file.event(Event::ClusterAllocBytes).await;
        let len = u64::from(len);
        let open = meta.packed_end;
        let room = open.next_multiple_of(cluster) - open;
        let most = super::refcount::max(meta.refcounts.order);
        let shared =
            open != 0 && room > 0 && meta.refcounts.get(&self.file, open >> bits).await? < most;
        let offset = if shared && len <= room {
            meta.refcounts.add(&self.file, open >> bits, 1).await?;
            open
        } else {
            let first = self.allocate(meta, 1, "compressed cluster").await?;
            if shared && first << bits == open + room {
                meta.refcounts.add(&self.file, open >> bits, 1).await?;
                open
            } else {
                first << bits
            }
        };
        if offset + len > self.layout.packed_limit() {
            return Err(errno(27));
        }
        meta.packed_end = offset + len;
        Ok(Place {
            slot: Slot::FILE,
            offset,
        })
    }

    /// Enters a packed cluster.
    pub(super) async fn enter_packed(&self, guest: u64, at: Place, len: u32) -> io::Result<()> {
        let mut meta = self.meta.lock().await;
        let meta = &mut *meta;
        let slice = self.writable_slice(meta, guest).await?;
        let index = self.layout.entry_in_slice(guest);
        let (old, _) = slice.get(self.layout, index);
        self.let_go(meta, old, None);
        self.file.event(Event::L2UpdateCompressed).await;
        let word = self.layout.encode_packed(at.offset, u64::from(len));
        slice.set(self.layout, index, word, Bitmap::default());
        Self::changed(meta, slice);
        Ok(())
    }

    /// The slice that maps something, from memory or from the file. It may be absent.
    pub(super) async fn slice(&self, meta: &mut Meta, number: u64) -> io::Result<Arc<Slice>> {
        if let Some(slice) = self.slices.get(number) {
            return Ok(slice);
        }
        let slice = match meta.dirty_slices.get(&number) {
            Some(slice) => Arc::clone(slice),
            None => Arc::new(self.load(meta, number).await?),
        };
        self.slices.put(Arc::clone(&slice));
        Ok(slice)
    }

    async fn load(&self, meta: &mut Meta, number: u64) -> io::Result<Slice> {
        let layout = self.layout;
        let index = layout.l1_index(layout.slice_guest(number));
        let entry = meta.l1.get(index).copied().unwrap_or(0);
        let table = Self::l2_table(entry);
        if table == 0 {
            return Ok(Slice::absent(number));
        }
        if layout.in_cluster(table) != 0 {
            let what = format!(
                "L2 table offset {table:#x} unaligned (L1 index: {})",
                hex(index as u64)
            );
            self.corrupt(meta, &what).await;
            return Err(errno(EIO));
        }
        let host = table + layout.slice_start(number);
        let mut bytes = vec![0; usize::try_from(layout.slice_bytes).unwrap_or(0)];
        self.file.event(Event::L2Load).await;
        self.file.read(host, &mut bytes).await?;
        Ok(self.decode_slice(meta, (number, host), &bytes))
    }

    /// A slice from its bytes in the file.
    pub(super) fn decode_slice(
        &self,
        meta: &Meta,
        (number, host): (u64, u64),
        bytes: &[u8],
    ) -> Slice {
        let mut slice = Slice::decode(number, host, bytes);
        slice.suspicious = !self.read_only() && self.is_suspicious(meta, &slice);
        slice
    }

    /// Whether an entry points where no data may be.
    fn is_suspicious(&self, meta: &Meta, slice: &Slice) -> bool {
        let entries = usize::try_from(self.layout.slice_entries()).unwrap_or(0);
        (0..entries).any(|index| {
            let (word, bitmap) = slice.get(self.layout, index);
            let host = match self.layout.decode(word) {
                Entry::Data { host, .. } | Entry::Zero { host, .. } => host,
                _ => 0,
            };
            let overlaps = !self.layout.data_file
                && host != 0
                && meta
                    .occupied
                    .name(host >> self.layout.cluster_bits)
                    .is_some();
            let malformed = self.layout.is_malformed(word);
            malformed || overlaps || self.layout.is_contradictory(word, bitmap)
        })
    }

    /// The slice that maps `guest`, in an L2 table that is ours alone.
    pub(super) async fn writable_slice(
        &self,
        meta: &mut Meta,
        guest: u64,
    ) -> io::Result<Arc<Slice>> {
        let layout = self.layout;
        let index = layout.l1_index(guest);
        let entry = meta.l1.get(index).copied().ok_or_else(|| errno(EIO))?;
        if entry & COPIED == 0 || Self::l2_table(entry) == 0 {
            self.own_table(meta, index, layout.slice_of(guest)).await?;
        }
        self.slice(meta, layout.slice_of(guest)).await
    }

    /// Gives an L1 entry a table of its own: a new one, or a copy of one that snapshots share. `wanted`: the slice
    /// that is looked at next.
    async fn own_table(&self, meta: &mut Meta, index: usize, wanted: u64) -> io::Result<()> {
        let (layout, bits) = (self.layout, self.layout.cluster_bits);
        let old = Self::l2_table(meta.l1[index]);
        let slices = layout.cluster_size() / layout.slice_bytes;
        let first = index as u64 * slices;
        if meta
            .dirty_slices
            .range(first..first + slices)
            .next()
            .is_some()
        {
            self.write_out_locked(meta).await?;
        }
        if layout.in_cluster(old) != 0 {
            let what = format!(
                "L2 table offset {old:#x} unaligned (L1 index: {})",
                hex(index as u64)
            );
            self.corrupt(meta, &what).await;
            return Err(errno(EIO));
        }
        let cluster = self.allocate(meta, 1, "L2 table").await?;
        if meta.header.incompatible & incompatible::DIRTY != 0 {
            // Counts of data may be wrong in a dirty image; those of tables are not left so.
            self.write_refcounts(meta).await?;
        }
        let host = cluster << bits;
        let bytes = match self.fill_table(host, old).await {
            Ok(bytes) => bytes,
            Err(error) => {
                self.free_now(meta, cluster, 1).await?;
                return Err(error);
            }
        };
        if old != 0 {
            Self::free_later(meta, old >> bits, 1);
            meta.occupied.remove_l2(old >> bits);
        }
        meta.occupied.add_l2(cluster);
        meta.l1[index] = host | COPIED;
        meta.dirty_l1.insert(index);
        let parts = bytes.chunks_exact(usize::try_from(layout.slice_bytes).unwrap_or(1));
        for (number, part) in (first..first + slices).zip(parts) {
            if number == wanted || self.slices.get(number).is_some() {
                let at = host + layout.slice_start(number);
                let mut slice = Slice::decode(number, at, part);
                slice.suspicious = self.is_suspicious(meta, &slice);
                self.slices.put(Arc::new(slice));
            }
        }
        Ok(())
    }

    /// The whole of a new table: zeroes, or what the old one has.
    async fn fill_table(&self, host: u64, old: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.cluster_size()).unwrap_or(0);
        let mut bytes = vec![0; len];
        if old != 0 {
            self.file.event(Event::L2AllocCowRead).await;
            self.file.read(old, &mut bytes).await?;
        }
        self.file.event(Event::L2AllocWrite).await;
        let flags = WriteFlags::default();
        self.file.write(host, &bytes, flags).await?;
        Ok(bytes)
    }
}
