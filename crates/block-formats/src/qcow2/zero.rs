//! Zeroes and discards, by the mapping alone.

use std::io;
use std::sync::Arc;

use block_core::ZeroFlags;

use super::layout::{Bitmap, COPIED, Entry, OFFSET_MASK, SUBCLUSTERS, ZERO};
use super::slices::Slice;
use super::{Meta, Qcow2, errno};

const ENOTSUP: i32 = 95;

/// What a range is to become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// Zero; space stays where it is there.
    Zero,
    /// Zero; space goes.
    ZeroAndFree,
    /// As discarded: zero if something was there.
    Discard,
    /// Not mapped any more.
    Drop,
}

impl Qcow2 {
    /// [`block_core::Format::zero`].
    pub(super) async fn zero_clusters(
        &self,
        offset: u64,
        len: u64,
        may_unmap: bool,
    ) -> io::Result<()> {
        let mut meta = self.meta.lock().await;
        let meta = &mut *meta;
        self.begin_write(meta, offset, len).await?;
        if self.layout.version < 3 && meta.header.backing.is_some() {
            return Err(errno(ENOTSUP));
        }
        let unmap = may_unmap && !self.is_raw_data(meta);
        let goal = if unmap || self.layout.version < 3 {
            Goal::ZeroAndFree
        } else {
            Goal::Zero
        };
        self.change_range(meta, offset, len, goal).await?;
        if self.is_raw_data(meta) {
            let flags = ZeroFlags {
                may_unmap,
                ..ZeroFlags::default()
            };
            self.data.write_zeroes(offset, len, flags).await?;
        }
        Ok(())
    }

    /// [`block_core::Format::discard`].
    pub(super) async fn discard_clusters(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut meta = self.meta.lock().await;
        let meta = &mut *meta;
        self.begin_write(meta, offset, len).await?;
        if self.is_raw_data(meta) || (self.layout.version < 3 && meta.header.backing.is_some()) {
            return Err(errno(ENOTSUP));
        }
        self.change_range(meta, offset, len, Goal::Discard).await
    }

    /// Lets all clusters of a range go, whatever shows in their place after.
    pub(super) async fn drop_range(&self, meta: &mut Meta, from: u64, to: u64) -> io::Result<()> {
        self.change_range(meta, from, to - from, Goal::Drop).await
    }

    fn is_raw_data(&self, meta: &Meta) -> bool {
        self.layout.data_file
            && meta.header.autoclear & super::header::autoclear::RAW_DATA_FILE != 0
    }

    async fn change_range(
        &self,
        meta: &mut Meta,
        offset: u64,
        len: u64,
        goal: Goal,
    ) -> io::Result<()> {
        let layout = self.layout;
        let mut at = offset;
        let end = offset + len;
        while at < end {
            if self.is_full(meta) {
                self.write_out_locked(meta).await?;
            }
            if let Some(next) = self.skip_absent(meta, at, goal) {
                at = next;
                continue;
            }
            let slice = self.writable_slice(meta, at).await?;
            let slice_end = layout.slice_guest(slice.number + 1).min(end);
            let mut changed = false;
            while at < slice_end {
                let next = (layout.start_of_cluster(at) + layout.cluster_size()).min(slice_end);
                // The last cluster counts as whole when the disk ends in it.
                let keeps_rest = layout.extended && matches!(goal, Goal::Zero | Goal::ZeroAndFree);
                let to = if next == self.size() && keeps_rest {
                    next.next_multiple_of(1 << layout.subcluster_bits())
                } else if next == self.size() {
                    next.next_multiple_of(layout.cluster_size())
                } else {
                    next
                };
                let index = layout.entry_in_slice(at);
                let before = slice.get(layout, index);
                let done = self.change_one(meta, &slice, at, to, goal).await;
                changed |= slice.get(layout, index) != before;
                if done.is_err() && changed {
                    Self::changed(meta, Arc::clone(&slice));
                }
                done?;
                at = next;
            }
            if changed {
                Self::changed(meta, slice);
            }
        }
        Ok(())
    }

    /// Where nothing is mapped and that is as good, the whole table is passed by.
    fn skip_absent(&self, meta: &Meta, at: u64, goal: Goal) -> Option<u64> {
        let index = self.layout.l1_index(at);
        let absent = meta
            .l1
            .get(index)
            .is_none_or(|entry| entry & OFFSET_MASK == 0);
        let harmless =
            goal == Goal::Drop || (goal == Goal::Discard && meta.header.backing.is_none());
        (absent && (harmless || self.layout.version < 3))
            .then(|| (index as u64 + 1) * self.layout.l2_coverage())
    }

    /// `[at, to)` lies in one cluster.
    async fn change_one(
        &self,
        meta: &mut Meta,
        slice: &Arc<Slice>,
        at: u64,
        to: u64,
        goal: Goal,
    ) -> io::Result<()> {
        let layout = self.layout;
        let index = layout.entry_in_slice(at);
        let (word, bitmap) = slice.get(layout, index);
        if layout.is_malformed(word) {
            return Err(self.bad_entry(meta, slice, at, "").await);
        }
        let inside = layout.in_cluster(at);
        let whole = inside == 0 && to - at == layout.cluster_size();
        let entry = layout.decode(word);
        if !whole {
            return self.change_part(slice, index, (inside, inside + (to - at)), entry);
        }
        let nothing = entry == Entry::Unallocated && bitmap == Bitmap::default();
        if nothing && goal == Goal::Discard && meta.header.backing.is_none() {
            return Ok(());
        }
        let kept = match entry {
            Entry::Data { host, copied: true } | Entry::Zero { host, copied: true }
                if goal == Goal::Zero =>
            {
                Some(host)
            }
            _ => None,
        };
        self.let_go(meta, word, kept);
        let place = kept.map_or(0, |host| host | COPIED);
        match (goal, layout.extended, layout.version) {
            (Goal::Drop, ..) | (_, false, ..3) => slice.set(layout, index, 0, Bitmap::default()),
            (_, true, _) => {
                slice.set(
                    layout,
                    index,
                    place,
                    Bitmap::default().with_zero(0, SUBCLUSTERS),
                );
            }
            _ => slice.set(layout, index, place | ZERO, Bitmap::default()),
        }
        Ok(())
    }

    /// Some subclusters of a cluster.
    fn change_part(
        &self,
        slice: &Slice,
        index: usize,
        part: (u64, u64),
        entry: Entry,
    ) -> io::Result<()> {
        if !self.layout.extended || matches!(entry, Entry::Packed { .. }) {
            return Err(errno(ENOTSUP));
        }
        let bits = self.layout.subcluster_bits();
        let from = u32::try_from(part.0 >> bits).unwrap_or(0);
        let to = u32::try_from(part.1.div_ceil(1 << bits)).unwrap_or(SUBCLUSTERS);
        let (word, bitmap) = slice.get(self.layout, index);
        slice.set(self.layout, index, word, bitmap.with_zero(from, to));
        Ok(())
    }
}
