//! Tables of entries inside an image: read when they are needed, kept within a memory budget, written back in an order
//! that a crash survives.
//!
//! Most formats say where a block is by a number in an array, whole (vdi, vpc, parallels) or cut into tables that a
//! directory points to (qcow, qed). Both are the same here: an entry is found by table and slot.
//!
//! Order of [`Tables::write_out`]: what was written before (data) is flushed, then tables, flush, then the directory.
//! The last flush is the caller's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use block_core::{BoxFuture, Edge, WriteFlags, ZeroFlags};

/// Memory for tables that need not be written, in bytes.
const BUDGET: usize = 32 << 20;

/// Bytes of an array that are read and written together.
const ARRAY_PIECE: u64 = 4096;

/// The same of a table that a directory points to, at most.
const TABLE_PIECE: u64 = 64 << 10;

/// Bytes that a scan reads at a time.
const SCAN: u64 = 1 << 20;

/// How an entry lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// 32 bits, little endian.
    Le32,
    /// 32 bits, big endian.
    Be32,
    /// 64 bits, little endian.
    Le64,
    /// 64 bits, big endian.
    Be64,
}

impl Coding {
    /// Bytes of an entry.
    pub(crate) fn width(self) -> u64 {
        match self {
            Self::Le32 | Self::Be32 => 4,
            Self::Le64 | Self::Be64 => 8,
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<u64> {
        fn four(b: &[u8]) -> [u8; 4] {
            [b[0], b[1], b[2], b[3]]
        }
        fn eight(b: &[u8]) -> [u8; 8] {
            [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]
        }
        match self {
            Self::Le32 => {
                let entries = bytes.chunks_exact(4);
                entries
                    .map(|b| u32::from_le_bytes(four(b)).into())
                    .collect()
            }
            Self::Be32 => {
                let entries = bytes.chunks_exact(4);
                entries
                    .map(|b| u32::from_be_bytes(four(b)).into())
                    .collect()
            }
            Self::Le64 => {
                let entries = bytes.chunks_exact(8);
                entries.map(|b| u64::from_le_bytes(eight(b))).collect()
            }
            Self::Be64 => {
                let entries = bytes.chunks_exact(8);
                entries.map(|b| u64::from_be_bytes(eight(b))).collect()
            }
        }
    }

    /// Entries of 32 bits keep their low half: what is stored was made for that width.
    fn encode(self, value: u64, out: &mut Vec<u8>) {
        match self {
            Self::Le32 => out.extend_from_slice(&value.to_le_bytes()[..4]),
            Self::Be32 => out.extend_from_slice(&value.to_be_bytes()[4..]),
            Self::Le64 => out.extend_from_slice(&value.to_le_bytes()),
            Self::Be64 => out.extend_from_slice(&value.to_be_bytes()),
        }
    }
}

/// Where tables are.
pub(crate) enum Home {
    /// One array that starts here.
    Array {
        /// In bytes.
        offset: u64,
    },
    /// A directory of tables' offsets in bytes, 0 for none.
    Directory {
        /// Where it is itself.
        offset: u64,
        /// Its entries.
        entries: Vec<AtomicU64>,
        /// How they lie in the file.
        coding: Coding,
        /// Bytes of a table; a power of two.
        table: u64,
        /// Bytes that its entries count in.
        unit: u64,
        /// Where a second copy of each table is, in bytes; 0 where there is none.
        copies: Vec<u64>,
    },
}

/// Brings pieces of tables to their places for a format that has its own way to survive a crash.
pub(crate) trait Journal: Send + Sync {
    /// Writes the pieces (offset in the file, bytes), all or none, behind what was written before.
    fn write<'a>(&'a self, pieces: &'a [(u64, Vec<u8>)]) -> BoxFuture<'a, io::Result<()>>;
}

struct Table(Box<[AtomicU64]>);

/// What the file does not have yet.
#[derive(Default)]
struct Dirty {
    tables: BTreeSet<u64>,
    directory: BTreeSet<usize>,
    /// On its way to the file now; stays in memory until it is there.
    leaving: BTreeSet<u64>,
}

/// Where things go at the next write-out, in bytes of the file.
#[derive(Default)]
struct Pieces {
    tables: Vec<(u64, Vec<u8>)>,
    directory: Vec<(u64, Vec<u8>)>,
}

/// All entries of one map.
pub(crate) struct Tables {
    file: Arc<Edge>,
    coding: Coding,
    home: Home,
    journal: Option<Arc<dyn Journal>>,
    /// Entries of what is read and written together.
    per_piece: u64,
    /// Such pieces of a table of the directory.
    pieces: u64,
    entries: u64,
    loaded: RwLock<HashMap<u64, Arc<Table>>>,
    dirty: Mutex<Dirty>,
    writing: tokio::sync::Mutex<()>,
}

/// Entries from one on, to the end of its table.
pub(crate) struct Page {
    table: Option<Arc<Table>>,
    slot: usize,
    left: u64,
}

impl Page {
    /// How many entries there are from the asked one on.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The same, as if the table ended after `max` entries.
    pub(crate) fn limit(mut self, max: u64) -> Self {
        self.left = self.left.min(max);
        self
    }

    /// The entry `k` places behind the asked one; `k` is below [`Page::left`].
    pub(crate) fn entry(&self, k: u64) -> u64 {
        let slot = usize::try_from(k)
            .unwrap_or(usize::MAX)
            .saturating_add(self.slot);
        match &self.table {
            Some(table) => table.0.get(slot).map_or(0, |e| e.load(Ordering::Acquire)),
            None => 0,
        }
    }

    /// How many entries from the asked one on, at most `max`, go on as `next` says of their distance and value.
    pub(crate) fn run(&self, max: u64, next: impl Fn(u64, u64) -> bool) -> u64 {
        let max = max.min(self.left);
        (0..max).find(|k| !next(*k, self.entry(*k))).unwrap_or(max)
    }
}

impl Tables {
    /// One array of `entries` entries at `offset`.
    pub(crate) fn array(file: Arc<Edge>, coding: Coding, offset: u64, entries: u64) -> Self {
        let home = Home::Array { offset };
        Self::new(file, coding, home, entries)
    }

    /// `entries` entries in tables where `home` says. Entries of tables that are not there are 0.
    pub(crate) fn new(file: Arc<Edge>, coding: Coding, home: Home, entries: u64) -> Self {
        let (piece, pieces) = match home {
            Home::Array { .. } => (ARRAY_PIECE, 1),
            Home::Directory { table, .. } => (table.min(TABLE_PIECE), (table / TABLE_PIECE).max(1)),
        };
        Self {
            file,
            coding,
            home,
            journal: None,
            per_piece: piece / coding.width(),
            pieces,
            entries,
            loaded: RwLock::default(),
            dirty: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// The same, written by way of `journal`.
    pub(crate) fn with_journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Entries there can be.
    pub(crate) fn room(&self) -> u64 {
        self.entries
    }

    /// Offset of each table of the directory, 0 for none.
    pub(crate) fn directory(&self) -> &[AtomicU64] {
        match &self.home {
            Home::Array { .. } => &[],
            Home::Directory { entries, .. } => entries,
        }
    }

    /// Bytes of a piece.
    fn piece_bytes(&self) -> u64 {
        self.per_piece * self.coding.width()
    }

    /// Pieces there can be.
    fn count(&self) -> u64 {
        self.entries.div_ceil(self.per_piece)
    }

    /// The piece an entry is in.
    fn piece_of(&self, index: u64) -> u64 {
        index / self.per_piece
    }

    /// Where a piece is in the file, if it is there.
    fn location(&self, piece: u64) -> Option<u64> {
        match &self.home {
            Home::Array { offset } => Some(offset + piece * self.piece_bytes()),
            Home::Directory { entries, .. } => {
                let entry = entries.get(usize::try_from(piece / self.pieces).ok()?)?;
                let at = Some(entry.load(Ordering::Acquire)).filter(|at| *at != 0)?;
                Some(at + piece % self.pieces * self.piece_bytes())
            }
        }
    }

    /// Where the second copy of a piece is, if there is one.
    fn copy_of(&self, piece: u64) -> Option<u64> {
        let Home::Directory { copies, .. } = &self.home else {
            return None;
        };
        let slot = usize::try_from(piece / self.pieces).ok()?;
        let at = copies.get(slot).copied().filter(|at| *at != 0)?;
        Some(at + piece % self.pieces * self.piece_bytes())
    }

    /// Bytes of the table that an entry needs and that has no place yet.
    pub(crate) fn missing(&self, index: u64) -> Option<u64> {
        match self.home {
            Home::Directory { table, .. } if self.location(self.piece_of(index)).is_none() => {
                Some(table)
            }
            _ => None,
        }
    }

    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, table: u64) -> Option<Arc<Table>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.get(&table).cloned()
    }

    fn page_of(&self, index: u64, table: Option<Arc<Table>>) -> Page {
        let slot = index % self.per_piece;
        Page {
            table,
            slot: usize::try_from(slot).unwrap_or(usize::MAX),
            left: (self.per_piece - slot).min(self.entries.saturating_sub(index)),
        }
    }

    /// Entries from `index` on, when they are in memory.
    pub(crate) fn page_cached(&self, index: u64) -> Option<Page> {
        let number = self.piece_of(index);
        let table = self.get(number);
        if table.is_none() && self.location(number).is_some() {
            return None;
        }
        Some(self.page_of(index, table))
    }

    /// Entries from `index` on.
    pub(crate) async fn page(&self, index: u64) -> io::Result<Page> {
        let table = self.load(self.piece_of(index)).await?;
        Ok(self.page_of(index, table))
    }

    fn entries_of(&self, table: u64) -> u64 {
        match self.home {
            // The array may end in the middle of a piece, with something else behind it.
            Home::Array { .. } => self
                .per_piece
                .min(self.entries.saturating_sub(table * self.per_piece)),
            Home::Directory { .. } => self.per_piece,
        }
    }

    async fn load(&self, number: u64) -> io::Result<Option<Arc<Table>>> {
        if let Some(table) = self.get(number) {
            return Ok(Some(table));
        }
        let Some(at) = self.location(number) else {
            return Ok(None);
        };
        let bytes = self.entries_of(number) * self.coding.width();
        let mut bytes = vec![0; usize::try_from(bytes).map_err(|_| invalid())?];
        self.file.read(at, &mut bytes).await?;
        let entries = self.coding.decode(&bytes);
        let table = Arc::new(Table(entries.into_iter().map(AtomicU64::new).collect()));
        Ok(Some(self.keep(number, table)))
    }

    /// Enters a table, unless another task was faster; makes room before.
    fn keep(&self, number: u64, table: Arc<Table>) -> Arc<Table> {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let each = usize::try_from(self.per_piece * 8).unwrap_or(BUDGET);
        if loaded.len() >= (BUDGET / each.max(1)).max(4) {
            let dirty = self.dirty();
            loaded.retain(|n, _| dirty.tables.contains(n) || dirty.leaving.contains(n));
        }
        Arc::clone(loaded.entry(number).or_insert(table))
    }

    /// Changes an entry; its table must be in the file or have been added.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) async fn set(&self, index: u64, value: u64) -> io::Result<()> {
        let number = self.piece_of(index);
        let slot = usize::try_from(index % self.per_piece).map_err(|_| invalid())?;
        loop {
            if self.load(number).await?.is_none() {
                return Err(invalid());
            }
            // Under the lock, so that the table is not dropped between its loading and its becoming dirty.
            let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
            let Some(table) = loaded.get(&number) else {
                continue;
            };
            let entry = table.0.get(slot).ok_or_else(invalid)?;
            entry.store(value, Ordering::Release);
            self.dirty().tables.insert(number);
            return Ok(());
        }
    }

    /// Gives the table of an entry, which is not there yet, its place in the file. Two tasks must not do so for one table.
    ///
    /// # Errors
    /// What the file says when the place has to be cleared.
    pub(crate) async fn add(&self, index: u64, at: u64) -> io::Result<()> {
        let Home::Directory { entries, table, .. } = &self.home else {
            return Err(invalid());
        };
        let slot = usize::try_from(self.piece_of(index) / self.pieces).map_err(|_| invalid())?;
        let entry = entries.get(slot).ok_or_else(invalid)?;
        if at < self.file.node().length()? {
            self.file
                .write_zeroes(at, *table, ZeroFlags::default())
                .await?;
        }
        self.dirty().directory.insert(slot);
        entry.store(at, Ordering::Release);
        Ok(())
    }

    /// Forgets the table that an entry is in: its entries become 0. Its place is not given to anybody else.
    pub(crate) fn clear_table(&self, index: u64) {
        let piece = self.piece_of(index);
        let first = piece - piece % self.pieces;
        let slot = usize::try_from(piece / self.pieces).unwrap_or(usize::MAX);
        if let Some(entry) = self.directory().get(slot) {
            entry.store(0, Ordering::Release);
            let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
            let mut dirty = self.dirty();
            dirty.directory.insert(slot);
            for piece in first..first + self.pieces {
                loaded.remove(&piece);
                dirty.tables.remove(&piece);
            }
        }
    }

    /// Forgets all tables of the directory.
    pub(crate) fn clear(&self) {
        for slot in 0..self.directory().len() as u64 {
            if self.location(slot * self.pieces).is_some() {
                self.clear_table(slot * self.pieces * self.per_piece);
            }
        }
    }

    /// Whether the file lacks anything.
    pub(crate) fn is_dirty(&self) -> bool {
        let dirty = self.dirty();
        !dirty.tables.is_empty() || !dirty.directory.is_empty()
    }

    /// Brings everything that changed to the file; see the top of this file for the order.
    ///
    /// # Errors
    /// What the file says; what was not written stays dirty.
    pub(crate) async fn write_out(&self) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        let (numbers, slots) = {
            let mut dirty = self.dirty();
            let numbers = std::mem::take(&mut dirty.tables);
            dirty.leaving.clone_from(&numbers);
            (numbers, std::mem::take(&mut dirty.directory))
        };
        if numbers.is_empty() && slots.is_empty() {
            return Ok(());
        }
        let result = self.write_pieces(self.pieces(&numbers, &slots)).await;
        let mut dirty = self.dirty();
        dirty.leaving.clear();
        if result.is_err() {
            dirty.tables.extend(numbers);
            dirty.directory.extend(slots);
        }
        result
    }

    fn pieces(&self, numbers: &BTreeSet<u64>, slots: &BTreeSet<usize>) -> Pieces {
        let mut pieces = Pieces::default();
        let mut tables = BTreeMap::new();
        for number in numbers {
            let (Some(table), Some(at)) = (self.get(*number), self.location(*number)) else {
                continue;
            };
            let mut bytes = Vec::with_capacity(table.0.len() * 8);
            for entry in &table.0 {
                self.coding
                    .encode(entry.load(Ordering::Acquire), &mut bytes);
            }
            if let Some(copy) = self.copy_of(*number) {
                tables.insert(copy, bytes.clone());
            }
            tables.insert(at, bytes);
        }
        for (at, bytes) in tables {
            join(&mut pieces.tables, at, bytes);
        }
        if let Home::Directory {
            offset,
            entries,
            coding,
            unit,
            ..
        } = &self.home
        {
            for slot in slots {
                let mut bytes = Vec::with_capacity(8);
                let at = entries[*slot].load(Ordering::Acquire);
                coding.encode(at / unit, &mut bytes);
                join(
                    &mut pieces.directory,
                    offset + *slot as u64 * coding.width(),
                    bytes,
                );
            }
        }
        pieces
    }

    async fn write_pieces(&self, pieces: Pieces) -> io::Result<()> {
        match &self.journal {
            Some(journal) => journal.write(&pieces.tables).await?,
            None => {
                self.file.flush().await?;
                for (at, bytes) in &pieces.tables {
                    self.file.write(*at, bytes, WriteFlags::default()).await?;
                }
            }
        }
        if pieces.directory.is_empty() {
            return Ok(());
        }
        self.file.flush().await?;
        for (at, bytes) in &pieces.directory {
            self.file.write(*at, bytes, WriteFlags::default()).await?;
        }
        Ok(())
    }

    /// Shows every entry that the file has to `see`, as (index, value), without keeping it in memory.
    ///
    /// # Errors
    /// What the file says.
    pub(crate) async fn scan(&self, mut see: impl FnMut(u64, u64)) -> io::Result<()> {
        let mut piece = 0;
        while piece < self.count() {
            let Some(at) = self.location(piece) else {
                piece += 1;
                continue;
            };
            let pieces = match self.home {
                Home::Array { .. } => (SCAN / self.piece_bytes()).clamp(1, self.count() - piece),
                Home::Directory { .. } => 1,
            };
            let first = piece * self.per_piece;
            let entries = (pieces * self.per_piece).min(self.entries - first);
            let bytes = entries * self.coding.width();
            let mut bytes = vec![0; usize::try_from(bytes).map_err(|_| invalid())?];
            self.file.read(at, &mut bytes).await?;
            for (index, value) in (first..).zip(self.coding.decode(&bytes)) {
                see(index, value);
            }
            piece += pieces;
        }
        Ok(())
    }
}

/// Adds bytes to a list of writes, behind the last one when they follow it.
fn join(list: &mut Vec<(u64, Vec<u8>)>, at: u64, bytes: Vec<u8>) {
    match list.last_mut() {
        Some((start, last)) if *start + last.len() as u64 == at => last.extend_from_slice(&bytes),
        _ => list.push((at, bytes)),
    }
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(5)
}
