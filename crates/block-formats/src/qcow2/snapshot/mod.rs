//! Internal snapshots (qcow2 interoperability document, "Snapshots").
//!
//! A snapshot is an L1 table; everything below it is shared and counted. Each change writes new tables and refcounts beside
//! the old ones and takes effect by one header write ([`shadow`]): whatever fails before leaves the old state whole.
//!
//! | | new | refcounts |
//! |---|---|---|
//! | create | L1 for the active state, table | all that L1 reaches +1 |
//! | apply | L1, size | snapshot's tree +1, active tree -1 |
//! | delete | table, L1 (flags) | snapshot's tree -1 |

mod apply;
pub(in crate::qcow2) mod claimed;
mod create;
mod delete;
pub(in crate::qcow2) mod deltas;
pub(in crate::qcow2) mod frozen;
mod image;
mod load;
pub(in crate::qcow2) mod plan;
pub(in crate::qcow2) mod shadow;
pub(in crate::qcow2) mod table;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use block_core::{BoxFuture, Edge, SnapshotInfo, Snapshots};
use qapi::{Error, Result};

use self::shadow::Shadow;
use self::table::{Decoder, Entry, Reading, Step, Table};
use super::Qcow2;

/// Longest L1 table in bytes.
const MAX_L1_BYTES: u64 = 32 << 20;
/// The table is read in pieces of at least this many bytes.
const PIECE: usize = 64 << 10;

const ENOENT: i32 = 2;
const EINVAL: i32 = 22;
const EFBIG: i32 = 27;
const ENOTSUP: i32 = 95;

/// The snapshots of an open image and where their table is.
#[derive(Default)]
pub(in crate::qcow2) struct SnapshotSet(Mutex<Stored>);

/// The table in the image.
#[derive(Debug, Clone, Default)]
pub(in crate::qcow2) struct Stored {
    /// Entries in order.
    pub(in crate::qcow2) entries: Vec<Entry>,
    /// Its place; 0 when there is none.
    pub(in crate::qcow2) offset: u64,
    /// Its length in bytes.
    pub(in crate::qcow2) bytes: u64,
}

impl SnapshotSet {
    /// From the table read at open.
    pub(in crate::qcow2) fn new(offset: u64, table: Table) -> Self {
        Self(Mutex::new(Stored {
            entries: table.entries,
            offset,
            bytes: table.bytes,
        }))
    }

    /// What there is, now.
    pub(in crate::qcow2) fn get(&self) -> Stored {
        self.lock().clone()
    }

    fn set(&self, stored: Stored) {
        *self.lock() = stored;
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the table of `count` snapshots.
///
/// # Errors
/// In the reference's words when it exceeds a limit; when the file cannot be read.
pub(in crate::qcow2) async fn read_table(
    file: &Edge,
    (offset, count): (u64, u32),
    reading: Reading,
) -> Result<Table> {
    let mut decoder = Decoder::new(count, reading);
    let (mut bytes, mut used, mut at) = (Vec::new(), 0, offset);
    loop {
        match decoder.step(&bytes[used..])? {
            Step::Done => return Ok(decoder.finish()),
            Step::Used(len) => used += len,
            Step::Need(len) => {
                bytes.drain(..used);
                used = 0;
                let have = bytes.len();
                bytes.resize(len.max(have + PIECE), 0);
                file.read(at, &mut bytes[have..])
                    .await
                    .map_err(|e| Error::from_io("Failed to read snapshot table", &e))?;
                at += (bytes.len() - have) as u64;
            }
        }
    }
}

/// Finds a snapshot by id, else by name.
fn find(entries: &[Entry], key: &str) -> Option<usize> {
    let by = |f: fn(&Entry) -> &[u8]| entries.iter().position(|e| f(e) == key.as_bytes());
    by(|e| &e.id).or_else(|| by(|e| &e.name))
}

/// Refuses an entry whose L1 table cannot be.
fn check_l1(entry: &Entry, cluster_size: u64) -> Result<()> {
    let bytes = u64::from(entry.l1_size) * 8;
    if bytes > MAX_L1_BYTES {
        return Err(Error::new("Snapshot L1 table too large").errno(EFBIG));
    }
    if !entry.l1_offset.is_multiple_of(cluster_size) || entry.l1_offset > i64::MAX as u64 - bytes {
        return Err(Error::new("Snapshot L1 table offset invalid").errno(EINVAL));
    }
    Ok(())
}

/// An L1 table as stored.
fn l1_bytes(l1: &[u64]) -> Vec<u8> {
    l1.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}

/// The header write that makes a prepared change true, and what follows it.
pub(in crate::qcow2) async fn switch(
    image: &Qcow2,
    shadow: Shadow,
    l1: (u64, usize),
    size: u64,
    new: Stored,
) -> io::Result<()> {
    let refcounts = shadow.finish().await?;
    let (count, offset) = (new.entries.len(), new.offset);
    let invalid = |_| io::Error::from_raw_os_error(EINVAL);
    let (l1_size, count) = (
        u32::try_from(l1.1).map_err(invalid)?,
        u32::try_from(count).map_err(invalid)?,
    );
    // A failed header write may have reached the disk nevertheless: nothing is undone then.
    image
        .change_header(|header| {
            header.size = size;
            header.l1_size = l1_size;
            header.l1_offset = l1.0;
            header.nb_snapshots = count;
            header.snapshots_offset = offset;
            header.refcount_table_offset = refcounts.table_offset;
            header.refcount_table_clusters = refcounts.table_clusters;
        })
        .await?;
    image.snapshots.set(new);
    let cleaned = refcounts.clean_up().await;
    image.reload().await?;
    cleaned
}

/// An I/O error as the reference shows it: by its errno alone.
fn by_errno(error: &io::Error) -> Error {
    let errno = error.raw_os_error().unwrap_or(5);
    Error::new(qapi::strerror(errno)).errno(errno)
}

impl Snapshots for Qcow2 {
    fn list(&self) -> Vec<SnapshotInfo> {
        let size = self.size();
        let stored = self.snapshots.lock();
        stored.entries.iter().map(|e| e.info(size)).collect()
    }

    fn create(&self, info: SnapshotInfo) -> BoxFuture<'_, Result<()>> {
        Box::pin(create::create(self, info))
    }

    fn apply<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(apply::apply(self, key))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(delete::delete(self, key))
    }

    fn load<'a>(&'a self, id: Option<&'a str>, name: Option<&'a str>) -> BoxFuture<'a, Result<()>> {
        Box::pin(load::load(self, id, name))
    }
}

#[cfg(test)]
pub(in crate::qcow2) mod tests;
