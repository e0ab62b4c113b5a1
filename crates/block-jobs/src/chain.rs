//! Block status through a backing chain: which layer decides a range, and what it says.
//!
//! Two questions are asked of a chain. `map` wants the first layer that says *anything* (data or zeroes, also the
//! zeroes of space that nothing allocates); [`status_above`] wants the first layer that *allocates*, and may
//! stop above a base. Both answers are QEMU's, to the byte.

use std::io;
use std::sync::Arc;

use block_core::{Edge, Node, Root, Status};

/// What a chain says of a range.
#[derive(Clone)]
pub struct ChainStatus {
    /// For how many bytes it holds; at least 1.
    pub len: u64,
    /// How many backing steps down the answer came from.
    pub depth: u32,
    /// Some layer that was asked allocates it.
    pub allocated: bool,
    /// There are bytes to read.
    pub data: bool,
    /// Reads as zeroes.
    pub zero: bool,
    /// Stored packed.
    pub compressed: bool,
    /// Where in which leaf, if it is plain there.
    pub at: Option<(u64, Arc<Node>)>,
}

impl ChainStatus {
    fn new(status: Status, depth: u32) -> Self {
        Self {
            len: status.len,
            depth,
            allocated: status.allocated,
            data: status.data,
            zero: status.zero,
            compressed: status.compressed,
            at: status.at,
        }
    }
}

/// The edge to the next layer of a chain, seen through filters.
fn next_layer(node: &Arc<Node>) -> Option<Arc<Edge>> {
    node.under_filters().backing()
}

/// The layers of a chain from the top, filters left out.
pub fn layers(top: &Arc<Node>) -> Vec<Arc<Node>> {
    let mut all = vec![Arc::clone(top)];
    while let Some(edge) = all.last().and_then(next_layer) {
        all.push(edge.node());
    }
    all
}

/// Status of `[offset, offset + len)` from the first layer above `base` that allocates the first byte (above
/// nothing: the whole chain). Space past the end of a short layer counts as zeroes allocated there.
///
/// # Errors
/// What the layers say.
pub async fn status_above(
    top: &Root,
    base: Option<&Arc<Node>>,
    offset: u64,
    len: u64,
) -> io::Result<ChainStatus> {
    let mut found = ChainStatus::new(top.status(offset, len).await?, 0);
    let mut node = top.node();
    while !found.allocated {
        let Some(edge) = next_layer(&node) else { break };
        node = edge.node();
        if base.is_some_and(|b| Arc::ptr_eq(b, &node)) {
            break;
        }
        let depth = found.depth + 1;
        let length = node.length()?;
        if offset >= length {
            return Ok(ChainStatus {
                depth,
                allocated: true,
                zero: true,
                ..found
            });
        }
        let asked = found.len.min(length - offset);
        found = ChainStatus::new(edge.status(offset, asked).await?, depth);
    }
    Ok(found)
}

/// Status of a range from the first layer that says data or zeroes, as `map` shows it.
async fn first_word(top: &Root, offset: u64, len: u64) -> io::Result<ChainStatus> {
    let mut found = ChainStatus::new(top.status(offset, len).await?, 0);
    let mut node = top.node();
    while !found.data && !found.zero {
        let Some(edge) = next_layer(&node) else { break };
        node = edge.node();
        let depth = found.depth + 1;
        found = ChainStatus::new(edge.status(offset, found.len).await?, depth);
    }
    Ok(found)
}

/// One line of `map`.
#[derive(Clone)]
pub struct MapEntry {
    /// Guest offset in bytes.
    pub start: u64,
    /// The answer; `status.len` is the entry's length.
    pub status: ChainStatus,
}

impl MapEntry {
    /// Whether `next`, which follows directly, can be shown in the same line.
    fn joins(&self, next: &ChainStatus) -> bool {
        let s = &self.status;
        let place = match (&s.at, &next.at) {
            (None, None) => true,
            (Some((a, leaf)), Some((b, other))) => a + s.len == *b && Arc::ptr_eq(leaf, other),
            _ => false,
        };
        place
            && (s.depth, s.allocated, s.data, s.zero, s.compressed)
                == (
                    next.depth,
                    next.allocated,
                    next.data,
                    next.zero,
                    next.compressed,
                )
    }
}

/// Walks a range of a chain in entries that are as long as can be.
pub struct MapWalk<'a> {
    top: &'a Root,
    at: u64,
    end: u64,
    pending: Option<MapEntry>,
}

impl<'a> MapWalk<'a> {
    /// A walk over `[start, end)`, cut to the disk.
    ///
    /// # Errors
    /// When the length is not known.
    pub fn new(top: &'a Root, start: u64, end: u64) -> io::Result<Self> {
        Ok(Self {
            top,
            at: start,
            end: end.min(top.length()?),
            pending: None,
        })
    }

    /// The next entry, joined with all that continue it.
    ///
    /// # Errors
    /// What the layers say.
    pub async fn next(&mut self) -> io::Result<Option<MapEntry>> {
        while self.at < self.end {
            let status = first_word(self.top, self.at, self.end - self.at).await?;
            let start = self.at;
            self.at += status.len;
            match &mut self.pending {
                Some(entry) if entry.joins(&status) => entry.status.len += status.len,
                pending => {
                    if let Some(done) = pending.replace(MapEntry { start, status }) {
                        return Ok(Some(done));
                    }
                }
            }
        }
        Ok(self.pending.take())
    }
}

#[cfg(test)]
mod tests;
