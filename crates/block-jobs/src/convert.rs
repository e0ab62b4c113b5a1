//! Copies one or several disks, one behind the other, into a target.
//!
//! ```text
//!   plan (one at a time, ahead) worker (side by side)              desk (in order)
//!   block status -> pieces -->  read, find zeroes, pack  ------->  write, store, zero
//! ```
//!
//! Pieces are numbered by the plan and finished in that order, so the target is the same to the byte
//! whatever the number of workers, unless the caller asks for [`Order::Any`].

mod ahead;
mod plan;
mod worker;

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use block_core::{Limits, Node, Root, ZeroFlags};
use qapi::Error;

use crate::desk::{Desk, Trays};
use crate::pool::run_all;
use crate::sparse::Sparse;
use crate::watch::{Pace, Watch};
use ahead::Ahead;
use plan::Plan;
use worker::Shared;

/// Sources are sized in units of this many bytes.
pub(crate) const SECTOR: u64 = 512;

/// Bytes of a piece: small enough for several to be in the processor's cache, so that what was read is written from there.
const BUFFER: u64 = 64 << 10;

/// Bytes of a piece where the target should get its clusters in runs like the reference's.
pub(crate) const RUN: u64 = 1 << 20;

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
    /// A backing file of this many bytes, and zeroes past its end.
    Backing(u64),
}

/// What becomes of zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeroes {
    /// Searched for in data too; the shortest run between data that counts, in bytes (`-S`).
    Find(usize),
    /// Only those that block status tells of; their space is given back.
    AsTold,
    /// Stored as data (`-S 0`).
    Store,
}

/// A part of a disk to be copied.
#[derive(Clone)]
pub struct Source {
    /// The disk.
    pub root: Arc<Root>,
    /// First byte.
    pub from: u64,
    /// Bytes, in bounds.
    pub len: u64,
    /// What this layer of its chain and those below hold is in the target already.
    pub base: Option<Arc<Node>>,
}

impl Source {
    /// All of a disk.
    ///
    /// # Errors
    /// When its length is not known.
    pub fn whole(root: Arc<Root>) -> io::Result<Self> {
        let len = root.length()?;
        Ok(Self {
            root,
            from: 0,
            len,
            base: None,
        })
    }
}

/// Why a conversion failed. Offsets count from the start of the first source.
#[derive(Debug)]
pub enum ConvertError {
    /// Block status is not known.
    Status(u64, io::Error),
    /// Source bytes cannot be read.
    Read(u64, io::Error),
    /// The target cannot be written.
    Write(u64, io::Error),
    /// The owner stopped it.
    Cancelled,
}

impl From<ConvertError> for Error {
    fn from(error: ConvertError) -> Self {
        let (what, offset, error) = match error {
            ConvertError::Status(at, e) => ("reading block status at offset", at, e),
            ConvertError::Read(at, e) => ("reading at byte", at, e),
            ConvertError::Write(at, e) => ("writing at byte", at, e),
            ConvertError::Cancelled => return Self::with_errno("Interrupted", 4),
        };
        Self::from_io(format!("error while {what} {offset}"), &error)
    }
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
    /// What becomes of zeroes.
    pub zeroes: Zeroes,
    /// Unreadable sectors become zeroes, with a warning (`--salvage`).
    pub salvage: bool,
    /// Most bytes written in a second.
    pub rate: Option<NonZeroU64>,
    /// Look at all block status first, so that progress counts only what is copied.
    pub count_first: bool,
    /// Least bytes that are read and written at once, where so many follow each other.
    pub piece: u64,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self {
            method: Method::default(),
            order: Order::default(),
            initial: Initial::default(),
            workers: 1,
            zeroes: Zeroes::Find(4096),
            salvage: false,
            rate: None,
            count_first: false,
            piece: BUFFER,
        }
    }
}

/// Bytes that `sources` need in a target, each rounded up to a sector.
///
/// # Errors
/// When the sum is beyond what a disk can have.
pub fn convert_length(sources: &[Source]) -> io::Result<u64> {
    sources.iter().try_fold(0_u64, |sum, source| {
        source
            .len
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
/// See [`ConvertError`].
pub async fn convert(
    sources: Vec<Source>,
    target: Arc<Root>,
    mut options: ConvertOptions,
    watch: Arc<dyn Watch>,
) -> Result<(), ConvertError> {
    if options.initial == Initial::Unknown && keeps_no_zeroes(&target) {
        options.zeroes = Zeroes::Store;
    }
    let setup = Setup::new(&sources, &target, &options);
    options.workers = useful_workers(&sources, &target, options.workers.max(1));
    let mut plan = Plan::new(sources.clone(), &options, setup);
    let total = if options.count_first {
        plan.count().await?
    } else {
        plan.end()
    };
    let shared = Arc::new(Shared {
        ahead: Ahead::new(plan),
        sources,
        target,
        options,
        setup,
        watch,
        desk: Desk::default(),
        // Enough for some to be ready while others are read or written.
        trays: Trays::new(options.workers + 2),
        pace: Pace::new(options.rate),
        done: std::sync::Mutex::new(0),
        total,
        offload: AtomicBool::new(options.method == Method::Offload),
    });
    run_all((0..options.workers).map(|_| worker::run(Arc::clone(&shared)))).await
}

/// Files in the page cache are read and written by the worker's own thread. More workers than such threads can have at hand only
/// hold memory; elsewhere their requests wait side by side.
fn useful_workers(sources: &[Source], target: &Root, wanted: usize) -> usize {
    let roots = sources.iter().map(|s| &*s.root).chain([target]);
    let waits = |limits: Limits| limits.best_transfer > 0 || limits.request_alignment > 1;
    if roots.map(leaf_limits).any(waits) {
        return wanted;
    }
    wanted.min(2 * reactor::threads())
}

/// Whether zeroes are data like any other to an enciphered target: they are then enciphered as all else, side by side.
fn keeps_no_zeroes(target: &Root) -> bool {
    let node = target.node();
    target.enciphers_ahead() && node.format().is_some_and(block_core::Format::opaque)
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
    /// Data is enciphered before its turn comes.
    pub(crate) encipher: bool,
}

impl Setup {
    fn new(sources: &[Source], target: &Root, options: &ConvertOptions) -> Self {
        let target_cluster = cluster_size(target);
        let cluster = (options.method == Method::Compress).then_some(target_cluster);
        let packed = sources
            .iter()
            .map(|s| cluster_size(&s.root))
            .max()
            .unwrap_or(1)
            // Formats with larger ones do not pack them: more at once would only leave the caches.
            .min(MAX_BUFFER);
        let served = sources
            .iter()
            .map(|s| &*s.root)
            .chain([target])
            .map(|root| u64::from(leaf_limits(root).best_transfer))
            .max()
            .unwrap_or(0)
            .min(MAX_BUFFER);
        let piece = match options.method {
            Method::Compress => BUFFER,
            Method::Copy => options.piece.max(served),
            // Nothing is read as long as the kernel copies.
            Method::Offload => MAX_BUFFER,
        };
        let wanted = piece.max(packed).max(cluster.unwrap_or(1));
        let buffer = wanted.next_multiple_of(cluster.unwrap_or(1));
        let align = request_alignment(target);
        let sparse = match options.zeroes {
            Zeroes::Find(min) => Some(Sparse::new(min, align)),
            Zeroes::AsTold | Zeroes::Store => None,
        };
        let fixed_grid = cluster.is_some() || sparse.is_none_or(|s| s.can_cut_at(buffer));
        Self {
            buffer: if fixed_grid { buffer } else { MAX_BUFFER },
            fixed_grid,
            cluster,
            sparse,
            encipher: cluster.is_none() && target.enciphers_ahead(),
        }
    }
}

/// Unit of allocation of a disk; 1 when it has none.
pub(crate) fn cluster_size(root: &Root) -> u64 {
    let node = root.node().under_filters();
    node.format()
        .map_or(1, |f| u64::from(f.geometry().cluster_size).max(1))
}

/// What the leaf asks of requests, under a plain disk or a format on it.
fn leaf_limits(root: &Root) -> Limits {
    let mut node = root.node().under_filters();
    loop {
        let Some(below) = node.children().first().map(|edge| edge.node()) else {
            return node
                .protocol()
                .map_or_else(Limits::default, |leaf| leaf.limits());
        };
        node = below.under_filters();
    }
}

/// What the leaf under a plain target asks of requests.
fn request_alignment(root: &Root) -> u32 {
    let node = root.node().under_filters();
    node.protocol().map_or(1, |p| p.limits().request_alignment)
}

#[cfg(test)]
pub(crate) mod tests;
