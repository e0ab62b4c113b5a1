//! Compares the content of two disks; the shorter one counts as padded with zeroes.
//!
//! The plan asks both for block status and hands out pieces in order; workers read and compare. A worker that
//! finds something remembers it if nothing lower is known, and the plan ends there, so the answer is the lowest offset.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use block_core::{Root, is_zero};
use tokio::sync::Mutex;

use crate::chain::status_above;
use crate::convert::SECTOR;
use crate::pool::run_all;
use crate::watch::Watch;

/// Longest piece in bytes.
const PIECE: u64 = 256 << 10;

/// In what two disks differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Their lengths (strict only).
    Size,
    /// Their block status at this offset (strict only).
    Status(u64),
    /// Their bytes in the sector at this offset.
    Content(u64),
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// The common part is equal and the lengths are not.
    pub size_differs: bool,
    /// The first difference.
    pub difference: Option<Difference>,
}

/// Why a comparison could not be made. `image` is 0 for the first and 1 for the second.
#[derive(Debug)]
pub enum CompareError {
    /// A length is not known.
    Length {
        /// Which image.
        image: usize,
        /// Why.
        error: io::Error,
    },
    /// Block status is not known.
    Status {
        /// Which image.
        image: usize,
        /// Why.
        error: io::Error,
    },
    /// Bytes cannot be read.
    Read {
        /// Which image.
        image: usize,
        /// Where, in bytes.
        offset: u64,
        /// Why.
        error: io::Error,
    },
    /// The owner stopped it.
    Cancelled,
}

/// How to compare.
#[derive(Debug, Clone, Copy)]
pub struct CompareOptions {
    /// Lengths and block status must be equal too.
    pub strict: bool,
    /// Workers that run side by side, at least 1.
    pub workers: usize,
}

/// Compares two disks.
///
/// # Errors
/// See [`CompareError`]; a difference below the failing offset wins over it.
pub async fn compare(
    images: [Arc<Root>; 2],
    options: CompareOptions,
    watch: Arc<dyn Watch>,
) -> Result<Comparison, CompareError> {
    let mut lengths = [0; 2];
    for (image, root) in images.iter().enumerate() {
        lengths[image] = root
            .length()
            .map_err(|error| CompareError::Length { image, error })?;
    }
    if options.strict && lengths[0] != lengths[1] {
        return Ok(Comparison {
            size_differs: true,
            difference: Some(Difference::Size),
        });
    }
    let shared = Arc::new(Shared {
        plan: Mutex::new(Plan {
            images,
            lengths,
            strict: options.strict,
            at: 0,
            known: None,
        }),
        found_at: AtomicU64::new(u64::MAX),
        found: StdMutex::new(None),
        watch,
    });
    let workers = (0..options.workers.max(1)).map(|_| run(Arc::clone(&shared)));
    run_all(workers).await?;
    let common = lengths[0].min(lengths[1]);
    let found_at = shared.found_at.load(Ordering::Acquire);
    let found = shared
        .found
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    Ok(Comparison {
        size_differs: lengths[0] != lengths[1] && found_at >= common,
        difference: found.transpose()?,
    })
}

type Found = Result<Difference, CompareError>;

struct Shared {
    plan: Mutex<Plan>,
    /// Lowest offset where something was found.
    found_at: AtomicU64,
    found: StdMutex<Option<Found>>,
    watch: Arc<dyn Watch>,
}

impl Shared {
    /// Keeps what was found unless something lower is known.
    fn report(&self, offset: u64, what: Found) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if offset < self.found_at.load(Ordering::Acquire) {
            self.found_at.store(offset, Ordering::Release);
            *found = Some(what);
        }
    }
}

async fn run(shared: Arc<Shared>) -> Result<(), CompareError> {
    let mut buffers = [Vec::new(), Vec::new()];
    loop {
        if shared.watch.cancelled() {
            return Err(CompareError::Cancelled);
        }
        let (piece, images, total) = {
            let mut plan = shared.plan.lock().await;
            if plan.at >= shared.found_at.load(Ordering::Acquire) {
                return Ok(());
            }
            let piece = match plan.next().await {
                Ok(piece) => piece,
                Err((offset, what)) => {
                    shared.report(offset, what);
                    return Ok(());
                }
            };
            let Some(piece) = piece else { return Ok(()) };
            let total = plan.lengths[0].max(plan.lengths[1]);
            (piece, plan.images.clone(), total)
        };
        if let Some((offset, what)) = piece.look(&images, &mut buffers).await {
            shared.report(offset, what);
        }
        shared.watch.progress(piece.offset + piece.len, total);
    }
}

/// Bytes to be read of the images that have any there.
struct Piece {
    offset: u64,
    len: u64,
    read: [bool; 2],
}

impl Piece {
    /// Reads and compares; the sector of the first difference.
    async fn look(
        &self,
        images: &[Arc<Root>; 2],
        buffers: &mut [Vec<u8>; 2],
    ) -> Option<(u64, Found)> {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        for image in 0..2 {
            if !self.read[image] {
                continue;
            }
            let buf = &mut buffers[image];
            if buf.len() < len {
                buf.resize(len, 0);
            }
            if let Err(error) = images[image].read(self.offset, &mut buf[..len]).await {
                let offset = self.offset;
                let error = CompareError::Read {
                    image,
                    offset,
                    error,
                };
                return Some((offset, Err(error)));
            }
        }
        let differs = match self.read {
            [true, true] => first_difference(&buffers[0][..len], &buffers[1][..len]),
            [true, false] => first_nonzero(&buffers[0][..len]),
            [false, true] => first_nonzero(&buffers[1][..len]),
            [false, false] => None,
        };
        differs.map(|at| {
            let offset = self.offset + at;
            (offset, Ok(Difference::Content(offset)))
        })
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<u64> {
    if a == b {
        return None;
    }
    let sector = usize::try_from(SECTOR).unwrap_or(512);
    let at = a
        .chunks(sector)
        .zip(b.chunks(sector))
        .position(|(a, b)| a != b)?;
    Some(at as u64 * SECTOR)
}

fn first_nonzero(buf: &[u8]) -> Option<u64> {
    if is_zero(buf) {
        return None;
    }
    let sector = usize::try_from(SECTOR).unwrap_or(512);
    let at = buf.chunks(sector).position(|part| !is_zero(part))?;
    Some(at as u64 * SECTOR)
}

/// What both images say of a stretch.
#[derive(Clone, Copy)]
struct Known {
    end: u64,
    read: [bool; 2],
}

struct Plan {
    images: [Arc<Root>; 2],
    lengths: [u64; 2],
    strict: bool,
    at: u64,
    known: Option<Known>,
}

impl Plan {
    /// The next piece that has bytes to read: stretches that are read alike are joined.
    async fn next(&mut self) -> Result<Option<Piece>, (u64, Found)> {
        let end = self.lengths[0].max(self.lengths[1]);
        while self.at < end {
            let start = self.at;
            let read = self.known().await?.read;
            if read == [false, false] {
                self.at = self.known().await?.end;
                continue;
            }
            let limit = (start - start % PIECE + PIECE).min(end);
            while self.at < limit && self.known().await?.read == read {
                self.at = self.known().await?.end.min(limit);
            }
            return Ok(Some(Piece {
                offset: start,
                len: self.at - start,
                read,
            }));
        }
        Ok(None)
    }

    async fn known(&mut self) -> Result<Known, (u64, Found)> {
        if let Some(known) = self.known.filter(|k| k.end > self.at) {
            return Ok(known);
        }
        let at = self.at;
        let common = self.lengths[0].min(self.lengths[1]);
        let end = if at < common { common } else { u64::MAX };
        let mut known = Known {
            end,
            read: [false, false],
        };
        let mut seen = [None, None];
        for (image, seen) in seen.iter_mut().enumerate() {
            let Some(left) = self.lengths[image].checked_sub(at).filter(|l| *l > 0) else {
                continue;
            };
            let left = left.min(end - at);
            let status = status_above(&self.images[image], None, at, left)
                .await
                .map_err(|error| (at, Err(CompareError::Status { image, error })))?;
            known.end = known.end.min(at + status.len);
            known.read[image] = !status.zero;
            *seen = Some((
                status.allocated,
                status.data,
                status.zero,
                status.compressed,
                status.at.is_some(),
                // Whether it reaches the end of the disk counts too.
                at + status.len == self.lengths[image],
            ));
        }
        if self.strict && seen[0] != seen[1] {
            return Err((at, Ok(Difference::Status(at))));
        }
        self.known = Some(known);
        Ok(known)
    }
}

#[cfg(test)]
mod tests;
