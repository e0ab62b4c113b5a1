//! Reads tables ahead of whoever looks at them, many at a time and beside it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use block_core::Edge;
use reactor::JoinHandle;

/// Bytes that are read together; a larger table is read alone.
const BATCH: u64 = 256 << 10;
/// Batches under way.
const AHEAD: usize = 2;

/// Tables of one size, in the order of a list.
pub(super) struct TableReader {
    file: Arc<Edge>,
    size: u64,
    /// Entries of the list, and the part of each that is an offset in bytes.
    list: Arc<Vec<u64>>,
    mask: u64,
    started: usize,
    /// Nothing is read before it is asked for: tables change on the way.
    lazy: bool,
    running: VecDeque<JoinHandle<Batch>>,
    /// Memory of a batch that was looked at, for the next one.
    spare: Vec<u8>,
    batch: Batch,
    at: usize,
}

/// Tables one behind the other, and what the file says of those that cannot be read, by their place among them.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    errors: BTreeMap<usize, io::Error>,
}

impl TableReader {
    pub(super) fn new(
        file: &Arc<Edge>,
        size: u64,
        (list, mask): (Arc<Vec<u64>>, u64),
        lazy: bool,
    ) -> Self {
        Self {
            file: Arc::clone(file),
            size,
            list,
            mask,
            started: 0,
            lazy,
            running: VecDeque::new(),
            spare: Vec::new(),
            batch: Batch::default(),
            at: 0,
        }
    }

    /// The next table.
    ///
    /// # Errors
    /// What the file says of it.
    pub(super) async fn next(&mut self) -> io::Result<&[u8]> {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        if self.at.saturating_mul(size) >= self.batch.bytes.len() {
            self.spare = std::mem::take(&mut self.batch.bytes);
            self.batch = self.next_batch().await;
            self.at = 0;
        }
        let at = self.at;
        self.at += 1;
        if let Some(error) = self.batch.errors.remove(&at) {
            return Err(error);
        }
        let start = at.saturating_mul(size);
        let table = self.batch.bytes.get(start..start.saturating_add(size));
        table.ok_or_else(|| io::Error::from_raw_os_error(EIO))
    }

    async fn next_batch(&mut self) -> Batch {
        if self.lazy {
            let end = (self.started + 1).min(self.list.len());
            let range = self.started..end;
            self.started = end;
            let memory = std::mem::take(&mut self.spare);
            return read(
                Arc::clone(&self.file),
                self.offsets(range),
                self.size,
                memory,
            )
            .await;
        }
        while self.running.len() <= AHEAD && self.started < self.list.len() {
            let most = usize::try_from(BATCH / self.size).unwrap_or(1).max(1);
            let end = (self.started + most).min(self.list.len());
            let offsets = self.offsets(self.started..end);
            self.started = end;
            let memory = std::mem::take(&mut self.spare);
            let batch = read(Arc::clone(&self.file), offsets, self.size, memory);
            self.running.push_back(reactor::spawn(batch));
        }
        match self.running.pop_front() {
            Some(batch) => batch.await.unwrap_or_default(),
            None => Batch::default(),
        }
    }

    fn offsets(&self, range: std::ops::Range<usize>) -> Vec<u64> {
        let entries = self.list.get(range).unwrap_or_default();
        entries.iter().map(|entry| entry & self.mask).collect()
    }
}

/// Reads tables into `memory`, neighbours at once.
async fn read(file: Arc<Edge>, offsets: Vec<u64>, size: u64, mut memory: Vec<u8>) -> Batch {
    let len = usize::try_from(size).unwrap_or(0);
    memory.resize(len * offsets.len(), 0);
    let mut batch = Batch {
        bytes: memory,
        errors: BTreeMap::new(),
    };
    let mut at = 0;
    while at < offsets.len() {
        let mut end = at + 1;
        while end < offsets.len() && offsets[end].checked_sub(offsets[end - 1]) == Some(size) {
            end += 1;
        }
        let mut result = file
            .read(offsets[at], &mut batch.bytes[at * len..end * len])
            .await;
        if result.is_err() && end > at + 1 {
            // Which of them is it?
            end = at + 1;
            result = file
                .read(offsets[at], &mut batch.bytes[at * len..end * len])
                .await;
        }
        if let Err(error) = result {
            batch.errors.insert(at, error);
        }
        at = end;
    }
    batch
}

const EIO: i32 = 5;
