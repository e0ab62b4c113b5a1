//! Copies one or several disks, one behind the other, into a target.
//!
//! ```text
//!   plan (one at a time)        worker (side by side)              turnstile (in order)
//!   block status -> pieces -->  read, find zeroes, pack  ------->  write, store, zero
//! ```
//!
//! Pieces are numbered by the plan and pass the turnstile in that order, so the target is the same to the byte
//! whatever the number of workers, unless the caller asks for [`Order::Any`].

mod plan;
mod worker;

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use block_core::{Kind, Root, ZeroFlags};
use qapi::Error;
use tokio::sync::Mutex;

use crate::pool::run_all;
use crate::sparse::Sparse;
use crate::turnstile::Turnstile;
use crate::watch::{Pace, Watch};
use plan::Plan;
use worker::Shared;

/// Sources are sized in units of this many bytes.
pub(crate) const SECTOR: u64 = 512;

/// Bytes a worker holds at a time: stays in a core's own cache between read, zero search and write.
const BUFFER: u64 = 512 << 10;

/// Largest buffer, and the piece that QEMU works in.
pub(crate) const MAX_BUFFER: u64 = 2 << 20;

/// How data gets to the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// Read and written.
    #[default]
    Copy,
    /// Read, packed and stored (`-c`).
    Compress,
    /// Copied by the kernel where it can (`-C`).
    Offload,
}

/// In which order pieces are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// As on the disk.
    #[default]
    Sequential,
    /// As they get ready (`-W`).
    Any,
}

/// What the target holds where nothing was written yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Initial {
    /// Anything: zeroes must be written.
    #[default]
    Unknown,
    /// Zeroes.
    Zero,
    /// A backing file of this many bytes, with the content of the source's own backing file (`-B`): what the
    /// source's top layer does not allocate is left out.
    Backing(u64),
}

/// How to convert.
#[derive(Debug, Clone, Copy)]
pub struct ConvertOptions {
    /// How data gets to the target.
    pub method: Method,
    /// In which order.
    pub order: Order,
    /// What is there before.
    pub initial: Initial,
    /// Workers that run side by side, at least 1.
    pub workers: usize,
    /// Shortest run of zeroes that is left out, in bytes; 0 stores everything (`-S`).
    pub min_sparse: usize,
    /// Unreadable sectors become zeroes, with a warning (`--salvage`).
    pub salvage: bool,
    /// Most bytes written in a second.
    pub rate: Option<NonZeroU64>,
    /// Look at all block status first, so that progress counts only what is copied.
    pub count_first: bool,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self {
            method: Method::default(),
            order: Order::default(),
            initial: Initial::default(),
            workers: 1,
            min_sparse: 4096,
            salvage: false,
            rate: None,
            count_first: false,
        }
    }
}

/// Bytes that `sources` need in a target, each rounded up to a sector.
///
/// # Errors
/// When a length is not known, or the sum is beyond what a disk can have.
pub fn convert_length(sources: &[Arc<Root>]) -> io::Result<u64> {
    sources.iter().try_fold(0_u64, |sum, source| {
        source
            .length()?
            .checked_next_multiple_of(SECTOR)
            .and_then(|len| sum.checked_add(len))
            .filter(|sum| i64::try_from(*sum).is_ok())
            .ok_or_else(|| io::Error::from_raw_os_error(27))
    })
}

/// Makes a target that may hold anything read as zeroes, if that can be done without writing them.
///
/// # Errors
/// What the target says, but for "not supported".
pub async fn make_zero(target: &Root) -> io::Result<bool> {
    let len = target.length()?;
    let flags = ZeroFlags {
        may_unmap: true,
        no_fallback: true,
        fua: false,
    };
    match target.write_zeroes(0, len, flags).await {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::Unsupported || e.raw_os_error() == Some(95) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// Copies `sources` to the front of `target`, which is at least [`convert_length`] long.
///
/// # Errors
/// `error while reading at byte N: …`, `error while writing at byte N: …` or `error while reading block status at
/// offset N: …`, N counted from the first source's start.
pub async fn convert(
    sources: Vec<Arc<Root>>,
    target: Arc<Root>,
    options: ConvertOptions,
    watch: Arc<dyn Watch>,
) -> qapi::Result<()> {
    let setup = Setup::new(&sources, &target, &options);
    let mut plan = Plan::new(sources.clone(), &options, setup)
        .map_err(|e| Error::from_io("unable to get the length of a source", &e))?;
    let total = if options.count_first {
        plan.count().await?
    } else {
        plan.end()
    };
    let shared = Arc::new(Shared {
        plan: Mutex::new(plan),
        sources,
        target,
        options,
        setup,
        watch,
        turns: Turnstile::default(),
        pace: Pace::new(options.rate),
        done: AtomicU64::new(0),
        total,
        offload: AtomicBool::new(options.method == Method::Offload),
    });
    let workers = options.workers.max(1);
    run_all((0..workers).map(|_| worker::run(Arc::clone(&shared)))).await
}

/// What follows from options and geometry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Longest piece of data in bytes.
    pub(crate) buffer: u64,
    /// Pieces end at multiples of `buffer`; else they are counted from where their status began.
    pub(crate) fixed_grid: bool,
    /// Cluster size of the target, when whole ones are written.
    pub(crate) cluster: Option<u64>,
    /// Search for zeroes.
    pub(crate) sparse: Option<Sparse>,
}

impl Setup {
    fn new(sources: &[Arc<Root>], target: &Root, options: &ConvertOptions) -> Self {
        let target_cluster = cluster_size(target);
        let cluster = (options.method == Method::Compress).then_some(target_cluster);
        let packed = sources.iter().map(|s| cluster_size(s)).max().unwrap_or(1);
        let wanted = BUFFER.max(packed).max(cluster.unwrap_or(1));
        let buffer = wanted.next_multiple_of(cluster.unwrap_or(1));
        let align = request_alignment(target);
        let sparse = (options.min_sparse > 0).then(|| Sparse::new(options.min_sparse, align));
        let fixed_grid = cluster.is_some() || sparse.is_none_or(|s| s.can_cut_at(buffer));
        Self {
            buffer: if fixed_grid { buffer } else { MAX_BUFFER },
            fixed_grid,
            cluster,
            sparse,
        }
    }
}

/// Unit of allocation of a disk; 1 when it has none.
pub(crate) fn cluster_size(root: &Root) -> u64 {
    let mut node = root.node();
    while let Kind::Filter(filter) = node.kind() {
        let child = filter.child().node();
        node = child;
    }
    node.format()
        .map_or(1, |f| u64::from(f.geometry().cluster_size).max(1))
}

/// What the leaf under a plain target asks of requests.
fn request_alignment(root: &Root) -> u32 {
    let mut node = root.node();
    while let Kind::Filter(filter) = node.kind() {
        let child = filter.child().node();
        node = child;
    }
    node.protocol().map_or(1, |p| p.limits().request_alignment)
}

#[cfg(test)]
mod tests;
