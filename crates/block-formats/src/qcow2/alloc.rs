//! Finding room in the file.

use std::io;

use block_core::Event;

use super::{Meta, Qcow2, errno};

const EIO: i32 = 5;
const EFBIG: i32 = 27;
/// Host offsets stay below this, for L2 entries and for `off_t`.
const MAX_HOST: u64 = 1 << 56;

/// A refcount table that goes to another place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moving {
    offset: u64,
    clusters: u32,
    /// Where it was: offset in bytes, length in clusters.
    old: (u64, u64),
}

impl Qcow2 {
    /// Allocates `count` clusters in one run: the first of them. Their refcounts are 1, in memory.
    ///
    /// Places are those of the reference: the first run behind the last allocation (or behind what was freed since,
    /// if that is lower) that has room for all.
    ///
    /// `what` names the use in what is said when the refcounts would have it overlap metadata.
    pub(super) async fn allocate(
        &self,
        meta: &mut Meta,
        count: u64,
        what: &str,
    ) -> io::Result<u64> {
        self.file.event(Event::ClusterAlloc).await;
        let from = meta.refcounts.first_free;
        let first = self.allocate_from(meta, from, count, what).await?;
        meta.refcounts.first_free = first + count;
        Ok(first)
    }

    /// The same at `from` or behind it; the next allocation does not go on from there.
    pub(super) async fn allocate_from(
        &self,
        meta: &mut Meta,
        mut from: u64,
        count: u64,
        what: &str,
    ) -> io::Result<u64> {
        if count > meta.refcounts.per_block() {
            return self.allocate_long(meta, count, what).await;
        }
        loop {
            let first = meta.refcounts.room(&self.file, from, count).await?;
            let end = first.saturating_add(count);
            if end > MAX_HOST >> self.layout.cluster_bits {
                return Err(errno(EFBIG));
            }
            if let Some(lacking) = meta.refcounts.lacking(first, end) {
                // The block goes behind the run, which is tried again: it may have been needed for the block's own.
                self.add_block(meta, lacking, end).await?;
                from = first;
                continue;
            }
            self.check_free(meta, first, count, what).await?;
            meta.refcounts.add(&self.file, first, count).await?;
            return Ok(first);
        }
    }

    /// A run that may be longer than one refcount block counts: behind everything, with the blocks that it lacks in front of it.
    async fn allocate_long(&self, meta: &mut Meta, count: u64, what: &str) -> io::Result<u64> {
        let per_block = meta.refcounts.per_block();
        let bits = self.layout.cluster_bits;
        let start = meta.refcounts.end(&self.file).await?;
        let mut blocks = 0;
        let missing = loop {
            let last = (start + blocks + count - 1) / per_block;
            let missing: Vec<u64> = (start / per_block..=last)
                .filter(|block| !meta.refcounts.has_block(block * per_block))
                .collect();
            if missing.len() as u64 <= blocks {
                break missing;
            }
            blocks = missing.len() as u64;
        };
        let end = start + blocks + count;
        if end > MAX_HOST >> bits {
            return Err(errno(EFBIG));
        }
        if !meta.refcounts.has_entry(end - 1) {
            // The longer table goes behind this run.
            self.grow_table(meta, end.div_ceil(per_block)).await?;
        }
        self.check_free(meta, start, blocks + count, what).await?;
        let mut at = start;
        for block in missing {
            if meta.refcounts.has_block(block * per_block) {
                continue;
            }
            meta.refcounts.new_block(block * per_block, at << bits);
            meta.occupied.add_block(at);
            at += 1;
        }
        meta.refcounts
            .add(&self.file, start, at - start + count)
            .await?;
        Ok(at)
    }

    /// Refcounts that call metadata free are wrong.
    async fn check_free(
        &self,
        meta: &mut Meta,
        first: u64,
        count: u64,
        what: &str,
    ) -> io::Result<()> {
        let Some((cluster, name)) = meta.occupied.first_in(first, count) else {
            return Ok(());
        };
        let problem = if cluster == 0 {
            format!("Preventing invalid allocation of {what} at offset 0")
        } else {
            format!("Preventing invalid write on metadata (overlaps with {name})")
        };
        self.corrupt(meta, &problem).await;
        Err(errno(EIO))
    }

    /// Makes a refcount block for the clusters around `lacking`, in the first free cluster from `from` on. A table that
    /// has to grow for it brings the block along.
    async fn add_block(&self, meta: &mut Meta, mut lacking: u64, from: u64) -> io::Result<()> {
        let mut at = meta.refcounts.room(&self.file, from, 1).await?;
        while !meta.refcounts.same_block(lacking, at) && !meta.refcounts.has_block(at) {
            // What counts the block comes first; the next try is for the block.
            lacking = at;
            at = meta.refcounts.room(&self.file, at + 1, 1).await?;
        }
        if !meta.refcounts.has_entry(lacking) {
            let block = lacking / meta.refcounts.per_block();
            return self.grow_table(meta, block).await;
        }
        self.check_free(meta, at, 1, "refcount block").await?;
        meta.refcounts
            .new_block(lacking, at << self.layout.cluster_bits);
        meta.occupied.add_block(at);
        meta.refcounts.add(&self.file, at, 1).await
    }

    /// Moves the refcount table to a longer place, which begins where the clusters of `block` do, with the blocks that
    /// count it in front of it.
    async fn grow_table(&self, meta: &mut Meta, block: u64) -> io::Result<()> {
        let bits = self.layout.cluster_bits;
        let cluster = self.layout.cluster_size();
        let per_block = meta.refcounts.per_block();
        self.file.event(Event::ReftableGrow).await;
        let start = block * per_block;
        let old_len = meta.refcounts.table().len() as u64;
        let (mut blocks, mut table) = (1, 1);
        loop {
            // Half as long again, so that a growing image does not move its table often.
            let entries = (block + blocks).max(old_len + old_len / 2);
            let needed_table = (entries * 8).div_ceil(cluster);
            let needed_blocks = (blocks + needed_table).div_ceil(per_block);
            if needed_table == table && needed_blocks == blocks {
                break;
            }
            (table, blocks) = (needed_table, needed_blocks.max(blocks));
        }
        if table * cluster > super::header::MAX_REFCOUNT_TABLE_BYTES {
            return Err(errno(EFBIG));
        }
        let entries = usize::try_from(table * cluster / 8).map_err(|_| errno(EFBIG))?;
        meta.refcounts.extend_table(entries);
        for n in 0..blocks {
            meta.refcounts
                .new_block((block + n) * per_block, (start + n) << bits);
            meta.occupied.add_block(start + n);
        }
        meta.refcounts
            .add(&self.file, start, blocks + table)
            .await?;
        let offset = (start + blocks) << bits;
        let moving = Moving {
            offset,
            clusters: u32::try_from(table).map_err(|_| errno(EFBIG))?,
            old: (
                meta.header.refcount_table_offset,
                u64::from(meta.header.refcount_table_clusters),
            ),
        };
        self.move_table(meta, moving).await
    }

    /// Writes the refcounts, at a new place if their table is on its way there.
    pub(super) async fn write_refcounts(&self, meta: &mut Meta) -> io::Result<()> {
        match meta.moving {
            Some(moving) => self.move_table(meta, moving).await,
            None => meta.refcounts.write_out(&self.file).await,
        }
    }

    /// Writes blocks and table, then switches the header over. When that fails it has to be done again before
    /// anything else is written: see [`Meta::moving`].
    async fn move_table(&self, meta: &mut Meta, moving: Moving) -> io::Result<()> {
        meta.moving = Some(moving);
        let offset = moving.offset;
        let bytes = meta.refcounts.table_bytes();
        meta.refcounts.moved_table(offset);
        self.file.event(Event::RefblockAllocWriteBlocks).await;
        meta.refcounts.write_out(&self.file).await?;
        self.file.event(Event::RefblockAllocWriteTable).await;
        self.file
            .write(offset, &bytes, block_core::WriteFlags::default())
            .await?;
        self.file.flush().await?;
        let mut new = meta.header.clone();
        new.refcount_table_offset = offset;
        new.refcount_table_clusters = moving.clusters;
        self.file.event(Event::RefblockAllocSwitchTable).await;
        self.store_header(meta, new).await?;
        self.file.flush().await?;
        meta.moving = None;
        Self::survey(meta);
        let (old, count) = moving.old;
        Self::free_later(meta, old >> self.layout.cluster_bits, count);
        Ok(())
    }

    /// Gives clusters back that nothing in the file points to.
    pub(super) async fn free_now(&self, meta: &mut Meta, first: u64, count: u64) -> io::Result<()> {
        let open = meta.packed_end >> self.layout.cluster_bits;
        if (first..first + count).contains(&open) {
            // Whoever gets this cluster next does not share it with packed ones.
            meta.packed_end = 0;
        }
        self.file.event(Event::ClusterFree).await;
        meta.refcounts.subtract(&self.file, first, count).await
    }

    /// Lets clusters go once the mappings in memory are in the file.
    pub(super) fn free_later(meta: &mut Meta, first: u64, count: u64) {
        match meta.pending_free.last_mut() {
            Some((start, len)) if *start + *len == first => *len += count,
            _ => meta.pending_free.push((first, count)),
        }
    }

    /// Room for metadata of `bytes` bytes in one piece; gives its offset.
    pub(crate) async fn allocate_bytes(&self, bytes: u64) -> io::Result<u64> {
        let mut meta = self.meta.lock().await;
        let count = bytes.div_ceil(self.cluster_size());
        let first = self.allocate(&mut meta, count.max(1), "metadata").await?;
        Ok(first << self.layout.cluster_bits)
    }

    /// Lets room go that [`Qcow2::allocate_bytes`] gave, or a table that the image had, with the next write-out.
    pub(crate) async fn free_bytes(&self, offset: u64, bytes: u64) -> io::Result<()> {
        if bytes > 0 {
            let mut meta = self.meta.lock().await;
            let count = bytes.div_ceil(self.cluster_size());
            Self::free_later(&mut meta, offset >> self.layout.cluster_bits, count);
        }
        Ok(())
    }
}
