//! Moves an overlay to another backing file without changing what is read through it.
//!
//! Clusters that the overlay does not hold and that read differently through the old and the new chain are
//! copied into the overlay. The link in its header is changed by the caller, after this and a flush.

use std::io;
use std::sync::Arc;

use block_core::{Node, Root, WriteFlags, ZeroFlags, is_zero};
use qapi::Error;
use tokio::sync::Mutex;

use crate::chain::status_above;
use crate::convert::cluster_size;
use crate::pool::run_all;
use crate::turnstile::Turnstile;
use crate::watch::Watch;

/// Longest piece in bytes, when clusters are not longer.
const PIECE: u64 = 512 << 10;
/// Zeroes of this length are marked, not written; shorter ones are written like what is around them.
const LONG: u64 = 256 << 10;

/// What to rebase.
pub struct RebaseRequest {
    /// The overlay, writable.
    pub overlay: Arc<Root>,
    /// The chain it is read through now; none reads as zeroes.
    pub old: Option<Arc<Root>>,
    /// The chain it will be read through; none reads as zeroes.
    pub new: Option<Arc<Root>>,
    /// The layer of the old chain that the new chain is: all below it stays as it was.
    pub common: Option<Arc<Node>>,
    /// Store copied clusters packed (`-c`).
    pub compress: bool,
    /// Workers that run side by side, at least 1.
    pub workers: usize,
}

/// Copies what differs.
///
/// # Errors
/// In QEMU's words.
pub async fn rebase(request: RebaseRequest, watch: Arc<dyn Watch>) -> qapi::Result<()> {
    let sized = |root: Option<Arc<Root>>| match root {
        Some(root) => root.length().map(|len| Some(Layer { root, len })),
        None => Ok(None),
    };
    let lengths = || -> io::Result<_> {
        Ok((
            request.overlay.length()?,
            sized(request.old)?,
            sized(request.new)?,
        ))
    };
    let (len, old, new) =
        lengths().map_err(|e| Error::from_io("Could not get the size of an image", &e))?;
    let unit = request.overlay.node().format().map_or(512, |format| {
        let geometry = format.geometry();
        u64::from(geometry.cluster_size.min(geometry.zero_granularity)).max(512)
    });
    let cluster = cluster_size(&request.overlay);
    // Only whole clusters are packed.
    let unit = if request.compress { cluster } else { unit };
    let shared = Arc::new(Shared {
        plan: Mutex::new(Plan { at: 0, number: 0 }),
        overlay: request.overlay,
        len,
        old,
        new,
        common: request.common,
        unit,
        cluster,
        piece: PIECE.max(cluster),
        compress: request.compress,
        turns: Turnstile::default(),
        watch,
    });
    let workers = (0..request.workers.max(1)).map(|_| run(Arc::clone(&shared)));
    run_all(workers).await
}

/// A chain that reads as zeroes past its end.
struct Layer {
    root: Arc<Root>,
    len: u64,
}

struct Plan {
    at: u64,
    number: u64,
}

struct Shared {
    plan: Mutex<Plan>,
    overlay: Arc<Root>,
    len: u64,
    old: Option<Layer>,
    new: Option<Layer>,
    common: Option<Arc<Node>>,
    /// What the overlay holds or lacks as a whole: cluster, or subcluster where there are any.
    unit: u64,
    cluster: u64,
    piece: u64,
    compress: bool,
    turns: Turnstile,
    watch: Arc<dyn Watch>,
}

/// Bytes to be compared.
struct Piece {
    number: u64,
    offset: u64,
    len: u64,
}

async fn run(shared: Arc<Shared>) -> qapi::Result<()> {
    let mut buffers = [Vec::new(), Vec::new()];
    let result = shared.work(&mut buffers).await;
    if result.is_err() {
        shared.turns.close();
    }
    result
}

impl Shared {
    async fn work(&self, buffers: &mut [Vec<u8>; 2]) -> qapi::Result<()> {
        loop {
            if self.watch.cancelled() {
                return Err(Error::with_errno("Interrupted", 4));
            }
            if self.turns.is_closed() {
                return Ok(());
            }
            let Some(piece) = self.next().await? else {
                self.watch.progress(self.len, self.len);
                return Ok(());
            };
            let [old, new] = &mut *buffers;
            load(self.old.as_ref(), &piece, old)
                .await
                .map_err(|e| Error::from_io("error while reading from old backing file", &e))?;
            load(self.new.as_ref(), &piece, new)
                .await
                .map_err(|e| Error::from_io("error while reading from new backing file", &e))?;
            if !self.turns.wait(piece.number).await {
                return Ok(());
            }
            self.write(&piece, old, new)
                .await
                .map_err(|e| Error::from_io("Error while writing to COW image", &e))?;
            self.turns.pass();
            self.watch.progress(piece.offset + piece.len, self.len);
        }
    }

    /// The next stretch of whole clusters that the overlay lacks and where the chains may differ.
    async fn next(&self) -> qapi::Result<Option<Piece>> {
        let mut plan = self.plan.lock().await;
        while plan.at < self.len {
            let offset = plan.at;
            let limit = (offset - offset % self.piece + self.piece).min(self.len);
            let stretch = self.stretch(offset, limit).await;
            let (len, compare) =
                stretch.map_err(|e| Error::from_io("error while reading image metadata", &e))?;
            plan.at += len;
            if compare {
                let number = plan.number;
                plan.number += 1;
                return Ok(Some(Piece {
                    number,
                    offset,
                    len,
                }));
            }
        }
        Ok(None)
    }

    /// How long from `offset` all is alike, and whether it must be compared.
    async fn stretch(&self, offset: u64, limit: u64) -> io::Result<(u64, bool)> {
        let status = self.overlay.status(offset, self.len - offset).await?;
        let len = self.whole(offset, status.len);
        if status.allocated {
            return Ok((len, false));
        }
        let len = len.min(limit - offset);
        let below = match (&self.common, &self.old) {
            (Some(common), Some(old)) if offset < old.len => {
                let left = len.min(old.len - offset);
                let above = status_above(&old.root, Some(common), offset, left).await?;
                (!above.allocated, above.len)
            }
            _ => {
                let (old, old_len) = zero(self.old.as_ref(), offset, len).await?;
                let (new, new_len) = zero(self.new.as_ref(), offset, len).await?;
                (old && new, old_len.min(new_len))
            }
        };
        // A unit that is the same only at its front is compared.
        let (same, same_len) = below;
        let whole = self.whole(offset, same_len).min(len);
        if same {
            return Ok((whole, same_len < whole));
        }
        Ok((if self.common.is_some() { whole } else { len }, true))
    }

    /// `len` cut to whole units, but at least one, and to the end of the disk.
    fn whole(&self, offset: u64, len: u64) -> u64 {
        let left = self.len - offset;
        if len >= left {
            return left;
        }
        (len - len % self.unit).max(self.unit).min(left)
    }

    /// Writes each run of units that differ.
    async fn write(&self, piece: &Piece, old: &[u8], new: &[u8]) -> io::Result<()> {
        let unit = usize::try_from(self.unit).unwrap_or(usize::MAX);
        let differ = |at: usize| {
            let end = (at + unit).min(old.len());
            old[at..end] != new[at..end]
        };
        let mut at = 0;
        while at < old.len() {
            let first = differ(at);
            let mut end = (at + unit).min(old.len());
            while end < old.len() && differ(end) == first {
                end = (end + unit).min(old.len());
            }
            if first {
                self.write_run(piece.offset + at as u64, &old[at..end])
                    .await?;
            }
            at = end;
        }
        Ok(())
    }

    /// Writes a run in as few requests as there can be: only zeroes for which no data is to be stored part them.
    async fn write_run(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let unit = usize::try_from(self.unit).unwrap_or(usize::MAX);
        let old_len = self.old.as_ref().map_or(0, |old| old.len);
        let (mut from, mut at) = (0, 0);
        while at < bytes.len() {
            let mut end = at;
            while end < bytes.len() && is_zero(&bytes[end..(end + unit).min(bytes.len())]) {
                end = (end + unit).min(bytes.len());
            }
            let len = (end - at) as u64;
            if len >= LONG || (len > 0 && offset + at as u64 >= old_len) {
                self.store(offset + from as u64, &bytes[from..at]).await?;
                let flags = ZeroFlags::default();
                self.overlay
                    .write_zeroes(offset + at as u64, len, flags)
                    .await?;
                from = end;
            }
            at = end.max((at + unit).min(bytes.len()));
        }
        self.store(offset + from as u64, &bytes[from..]).await
    }

    /// Whole clusters are packed if that is wanted, the rest is stored plain.
    async fn store(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = self.cluster - offset % self.cluster;
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let last = offset + now as u64 == self.len;
            let whole = left == self.cluster && (now as u64 == left || last);
            let (part, rest) = if self.compress {
                bytes.split_at(now)
            } else {
                (bytes, &[][..])
            };
            if self.compress && whole {
                self.overlay.write_compressed(offset, part).await?;
            } else {
                self.overlay
                    .write(offset, part, WriteFlags::default())
                    .await?;
            }
            offset += part.len() as u64;
            bytes = rest;
        }
        Ok(())
    }
}

/// Whether a chain's block status says zeroes at `offset`, and for how long it is so.
async fn zero(layer: Option<&Layer>, offset: u64, len: u64) -> io::Result<(bool, u64)> {
    let Some(layer) = layer.filter(|l| offset < l.len) else {
        return Ok((true, len));
    };
    let status = status_above(&layer.root, None, offset, len.min(layer.len - offset)).await?;
    Ok((status.zero, status.len))
}

/// Reads a piece of a chain, zeroes past its end.
async fn load(layer: Option<&Layer>, piece: &Piece, buf: &mut Vec<u8>) -> io::Result<()> {
    let len = usize::try_from(piece.len).unwrap_or(usize::MAX);
    buf.resize(len, 0);
    let Some(layer) = layer else {
        buf.fill(0);
        return Ok(());
    };
    let inside = usize::try_from(layer.len.saturating_sub(piece.offset))
        .unwrap_or(usize::MAX)
        .min(len);
    let (kept, beyond) = buf.split_at_mut(inside);
    beyond.fill(0);
    if kept.is_empty() {
        return Ok(());
    }
    layer.root.read(piece.offset, kept).await
}

#[cfg(test)]
mod tests;
