//! Refcounts in memory: the table of blocks, the blocks read so far, and which of them the file does not have yet
//! (qcow2 interoperability document, "Host cluster management").

use std::collections::{BTreeMap, HashMap};
use std::io;

use block_core::{Edge, Event, WriteFlags};

const EIO: i32 = 5;
const EFBIG: i32 = 27;

/// Clean blocks are dropped when more bytes than this are kept, if nobody says otherwise.
pub(crate) const BLOCK_BUDGET: u64 = 16 << 20;
/// Blocks that are kept at least.
const MIN_BLOCKS: u64 = 4;

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// One refcount block.
struct Block {
    bytes: Vec<u8>,
    dirty: bool,
    /// Somebody has looked since unused ones were dropped last.
    used: bool,
}

/// The refcount structure of an image.
pub(crate) struct Refcounts {
    pub(crate) cluster_bits: u32,
    pub(crate) order: u32,
    /// Offsets of blocks, 0 where there is none.
    table: Vec<u64>,
    /// Table entries that the file does not have yet, by index.
    dirty_table: BTreeMap<usize, ()>,
    pub(crate) table_offset: u64,
    blocks: HashMap<u64, Block>,
    /// Blocks that may be kept, when they are clean.
    most_blocks: u64,
    /// Where the search for free clusters begins: behind the last allocation, or at what was freed since.
    pub(crate) first_free: u64,
}

/// Reads one refcount; widths below a byte start at its low end.
pub(crate) fn get(block: &[u8], index: usize, order: u32) -> u64 {
    match order {
        0..3 => {
            let per_byte = 8 >> order;
            let shift = (index % per_byte) << order;
            u64::from(block[index / per_byte] >> shift) & max(order)
        }
        _ => {
            let width = 1 << (order - 3);
            let bytes = &block[index * width..][..width];
            bytes
                .iter()
                .fold(0, |value, byte| value << 8 | u64::from(*byte))
        }
    }
}

/// Writes one refcount, which fits the width.
pub(crate) fn set(block: &mut [u8], index: usize, order: u32, value: u64) {
    let bytes = value.to_be_bytes();
    match order {
        0..3 => {
            let per_byte = 8 >> order;
            let shift = (index % per_byte) << order;
            let mask = max(order).to_be_bytes()[7] << shift;
            let slot = &mut block[index / per_byte];
            *slot = *slot & !mask | bytes[7] << shift;
        }
        _ => {
            let width = 1 << (order - 3);
            block[index * width..][..width].copy_from_slice(&bytes[8 - width..]);
        }
    }
}

/// Largest refcount of a width.
pub(crate) fn max(order: u32) -> u64 {
    u64::MAX >> (64 - (1 << order))
}

impl Refcounts {
    /// From the table as read.
    pub(crate) fn new(cluster_bits: u32, order: u32, table_offset: u64, table: Vec<u64>) -> Self {
        Self {
            cluster_bits,
            order,
            table,
            dirty_table: BTreeMap::new(),
            table_offset,
            blocks: HashMap::new(),
            most_blocks: (BLOCK_BUDGET >> cluster_bits).max(MIN_BLOCKS),
            first_free: 0,
        }
    }

    /// Keeps blocks of so many bytes in memory (`refcount-cache-size`).
    pub(crate) fn set_budget(&mut self, bytes: u64) {
        self.most_blocks = (bytes >> self.cluster_bits).max(MIN_BLOCKS);
    }

    /// Forgets what the file has.
    pub(crate) fn forget_clean(&mut self) {
        self.blocks.retain(|_, b| b.dirty);
    }

    /// Forgets clean blocks that nobody has looked at since the last call; gives their number.
    pub(crate) fn drop_unused(&mut self) -> usize {
        let before = self.blocks.len();
        self.blocks
            .retain(|_, block| std::mem::take(&mut block.used) || block.dirty);
        before - self.blocks.len()
    }

    fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Refcounts in one block.
    pub(crate) fn per_block(&self) -> u64 {
        (self.cluster_size() * 8) >> self.order
    }

    /// Offsets of blocks, 0 where there is none.
    pub(crate) fn table(&self) -> &[u64] {
        &self.table
    }

    /// Offset of the block that counts a cluster.
    fn block_offset(&self, block: u64) -> Option<u64> {
        let at = usize::try_from(block).ok()?;
        self.table.get(at).copied().filter(|offset| *offset != 0)
    }

    /// Whether a cluster's block is there.
    pub(crate) fn has_block(&self, cluster: u64) -> bool {
        self.block_offset(cluster / self.per_block()).is_some()
    }

    /// Whether the table has an entry for a cluster's block.
    pub(crate) fn has_entry(&self, cluster: u64) -> bool {
        cluster / self.per_block() < self.table.len() as u64
    }

    async fn load(&mut self, file: &Edge, block: u64) -> io::Result<()> {
        if let Some(held) = self.blocks.get_mut(&block) {
            held.used = true;
            return Ok(());
        }
        let offset = self.block_offset(block).ok_or_else(|| errno(EIO))?;
        if !offset.is_multiple_of(self.cluster_size()) {
            return Err(errno(EIO));
        }
        if self.blocks.len() as u64 >= self.most_blocks {
            self.forget_clean();
        }
        let mut bytes = vec![0; 1 << self.cluster_bits];
        file.read(offset, &mut bytes).await?;
        self.blocks.insert(
            block,
            Block {
                bytes,
                dirty: false,
                used: true,
            },
        );
        Ok(())
    }

    fn index(&self, cluster: u64) -> usize {
        usize::try_from(cluster % self.per_block()).unwrap_or(0)
    }

    /// Refcount of a cluster; 0 where no block is.
    pub(crate) async fn get(&mut self, file: &Edge, cluster: u64) -> io::Result<u64> {
        if !self.has_block(cluster) {
            return Ok(0);
        }
        let block = cluster / self.per_block();
        self.load(file, block).await?;
        Ok(get(
            &self.blocks[&block].bytes,
            self.index(cluster),
            self.order,
        ))
    }

    /// How many clusters from `cluster` on are free, up to `most`; blocks that are not there count as free.
    pub(crate) async fn free_run(
        &mut self,
        file: &Edge,
        cluster: u64,
        most: u64,
    ) -> io::Result<u64> {
        let mut run = 0;
        while run < most {
            let at = cluster + run;
            let left = (self.per_block() - at % self.per_block()).min(most - run);
            if !self.has_block(at) {
                run += left;
                continue;
            }
            let block = at / self.per_block();
            self.load(file, block).await?;
            let (bytes, first) = (&self.blocks[&block].bytes, self.index(at));
            let free = (0..usize::try_from(left).unwrap_or(0))
                .take_while(|n| get(bytes, first + n, self.order) == 0)
                .count() as u64;
            run += free;
            if free < left {
                break;
            }
        }
        Ok(run)
    }

    /// The first run of `count` free clusters from `from` on; blocks that are not there count as free.
    pub(crate) async fn room(&mut self, file: &Edge, from: u64, count: u64) -> io::Result<u64> {
        let mut at = from;
        loop {
            let first = self.next_free(file, at).await?;
            let run = self.free_run(file, first, count).await?;
            if run == count {
                return Ok(first);
            }
            at = first + run + 1;
        }
    }

    /// The first cluster of a run whose block is not there.
    pub(crate) fn lacking(&self, first: u64, end: u64) -> Option<u64> {
        let mut at = first;
        while at < end {
            if !self.has_block(at) {
                return Some(at);
            }
            at = (at / self.per_block() + 1) * self.per_block();
        }
        None
    }

    /// Whether one block counts both.
    pub(crate) fn same_block(&self, one: u64, other: u64) -> bool {
        one / self.per_block() == other / self.per_block()
    }

    /// The first free cluster from `cluster` on.
    pub(crate) async fn next_free(&mut self, file: &Edge, mut cluster: u64) -> io::Result<u64> {
        loop {
            if !self.has_block(cluster) {
                return Ok(cluster);
            }
            let block = cluster / self.per_block();
            self.load(file, block).await?;
            let (bytes, first) = (&self.blocks[&block].bytes, self.index(cluster));
            let left = usize::try_from(self.per_block()).unwrap_or(0) - first;
            match (0..left).find(|n| get(bytes, first + n, self.order) == 0) {
                Some(n) => return Ok(cluster + n as u64),
                None => cluster += left as u64,
            }
        }
    }

    /// The cluster behind the last one in use.
    pub(crate) async fn end(&mut self, file: &Edge) -> io::Result<u64> {
        for block in (0..self.table.len() as u64).rev() {
            if self.block_offset(block).is_none() {
                continue;
            }
            self.load(file, block).await?;
            let bytes = &self.blocks[&block].bytes;
            let entries = usize::try_from(self.per_block()).unwrap_or(0);
            if let Some(last) = (0..entries).rev().find(|n| get(bytes, *n, self.order) != 0) {
                return Ok(block * self.per_block() + last as u64 + 1);
            }
        }
        Ok(0)
    }

    /// Adds to the refcounts of a run of clusters, whose blocks are there. Nothing changes on failure.
    pub(crate) async fn add(&mut self, file: &Edge, first: u64, count: u64) -> io::Result<()> {
        self.change(file, first, count, |old, most| {
            if old < most {
                Ok(old + 1)
            } else {
                Err(errno(EFBIG))
            }
        })
        .await
    }

    /// Takes one from the refcounts of a run of clusters. `EIO` when one is 0 already; those before it are changed.
    pub(crate) async fn subtract(&mut self, file: &Edge, first: u64, count: u64) -> io::Result<()> {
        self.change(file, first, count, |old, _| {
            old.checked_sub(1).ok_or_else(|| errno(EIO))
        })
        .await?;
        self.first_free = self.first_free.min(first);
        Ok(())
    }

    async fn change(
        &mut self,
        file: &Edge,
        first: u64,
        count: u64,
        how: impl Fn(u64, u64) -> io::Result<u64>,
    ) -> io::Result<()> {
        let (order, most) = (self.order, max(self.order));
        let mut at = first;
        while at < first + count {
            let block = at / self.per_block();
            let end = ((block + 1) * self.per_block()).min(first + count);
            file.event(Event::RefblockAlloc).await;
            file.event(Event::RefblockLoad).await;
            self.load(file, block).await?;
            let (from, to) = (
                self.index(at),
                self.index(at) + usize::try_from(end - at).unwrap_or(0),
            );
            let Some(held) = self.blocks.get_mut(&block) else {
                return Err(errno(EIO));
            };
            held.dirty = true;
            for index in from..to {
                let new = how(get(&held.bytes, index, order), most)?;
                set(&mut held.bytes, index, order, new);
            }
            at = end;
        }
        Ok(())
    }

    /// Puts a new, empty block at `offset` for the clusters around `cluster`; the table has an entry for it.
    pub(crate) fn new_block(&mut self, cluster: u64, offset: u64) {
        let block = cluster / self.per_block();
        let at = usize::try_from(block).unwrap_or(usize::MAX);
        if let Some(entry) = self.table.get_mut(at) {
            *entry = offset;
            self.dirty_table.insert(at, ());
            let bytes = vec![0; 1 << self.cluster_bits];
            let new = Block {
                bytes,
                dirty: true,
                used: true,
            };
            self.blocks.insert(block, new);
        }
    }

    /// Makes the table longer, in memory.
    pub(crate) fn extend_table(&mut self, entries: usize) {
        self.table.resize(entries.max(self.table.len()), 0);
    }

    /// The table is at a new place, and whole there.
    pub(crate) fn moved_table(&mut self, offset: u64) {
        self.table_offset = offset;
        self.dirty_table.clear();
    }

    /// Whether the file lacks something.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty_table.is_empty() || self.blocks.values().any(|b| b.dirty)
    }

    /// Writes all blocks that the file does not have, adjacent ones at once, and then the table entries that point
    /// to new ones.
    pub(crate) async fn write_out(&mut self, file: &Edge) -> io::Result<()> {
        self.write_blocks(file).await?;
        if self.dirty_table.is_empty() {
            return Ok(());
        }
        file.flush().await?;
        // Neighbouring entries share sectors: whole runs of 64 entries are written.
        let mut runs: Vec<usize> = self.dirty_table.keys().map(|at| at / 64).collect();
        runs.dedup();
        for run in runs {
            let entries = &self.table[run * 64..self.table.len().min(run * 64 + 64)];
            let bytes: Vec<u8> = entries.iter().flat_map(|e| e.to_be_bytes()).collect();
            let offset = self.table_offset + run as u64 * 512;
            file.event(Event::RefblockAllocHookup).await;
            file.write(offset, &bytes, WriteFlags::default()).await?;
        }
        self.dirty_table.clear();
        Ok(())
    }

    async fn write_blocks(&mut self, file: &Edge) -> io::Result<()> {
        let mut dirty: Vec<(u64, u64)> = Vec::new();
        for (block, held) in &self.blocks {
            if held.dirty {
                dirty.push((self.block_offset(*block).ok_or_else(|| errno(EIO))?, *block));
            }
        }
        dirty.sort_unstable();
        let mut at = 0;
        while at < dirty.len() {
            let run = contiguous(&dirty[at..], self.cluster_size());
            let mut bytes = Vec::new();
            for (_, block) in &dirty[at..at + run] {
                bytes.extend_from_slice(&self.blocks[block].bytes);
            }
            let event = if self.dirty_table.is_empty() {
                Event::RefblockUpdatePart
            } else {
                Event::RefblockAllocWrite
            };
            file.event(event).await;
            file.write(dirty[at].0, &bytes, WriteFlags::default())
                .await?;
            at += run;
        }
        for (_, block) in dirty {
            if let Some(held) = self.blocks.get_mut(&block) {
                held.dirty = false;
            }
        }
        Ok(())
    }

    /// The table as stored.
    pub(crate) fn table_bytes(&self) -> Vec<u8> {
        self.table
            .iter()
            .flat_map(|entry| entry.to_be_bytes())
            .collect()
    }
}

/// How many of the pieces at the start, sorted by offset, lie one behind the other (at most 1 MiB).
pub(crate) fn contiguous(pieces: &[(u64, u64)], size: u64) -> usize {
    let most = usize::try_from((1 << 20) / size).unwrap_or(1).max(1);
    let mut run = 1;
    while run < pieces.len().min(most) && pieces[run].0 == pieces[run - 1].0 + size {
        run += 1;
    }
    run
}
