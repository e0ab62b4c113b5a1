//! What metadata contexts say of a range.

use std::io;

use block_core::Root;
use nbd_proto::Extent;
use nbd_proto::flags::allocation;

use crate::Bitmap;

/// Extents that one answer may have: a mebibyte of them.
const MOST: usize = (1 << 20) / 8;
/// Bit of `qemu:dirty-bitmap`.
const DIRTY: u64 = 1;

/// Status of bytes from the first layer that decides them.
pub(crate) struct Found {
    pub(crate) len: u64,
    pub(crate) data: bool,
    pub(crate) zero: bool,
    /// Layers down to the one that decides, from 1; 0 when none does.
    pub(crate) depth: u32,
}

/// Asks the layers of a disk from the top.
///
/// # Errors
/// What they say.
pub(crate) async fn look(root: &Root, offset: u64, len: u64) -> io::Result<Found> {
    let mut status = root.status(offset, len).await?;
    let mut node = root.node();
    let mut depth = 1;
    while !status.allocated {
        let Some(edge) = node.under_filters().backing() else {
            depth = 0;
            break;
        };
        node = edge.node();
        depth += 1;
        let length = node.length()?;
        if offset >= length {
            // A short layer goes on as zeroes.
            status.zero = true;
            break;
        }
        let asked = status.len.min(length - offset);
        status = edge.status(offset, asked).await?;
    }
    Ok(Found {
        len: status.len.clamp(1, len),
        data: status.data,
        zero: status.zero,
        depth,
    })
}

/// A list of extents that joins equal neighbours.
pub(crate) struct List {
    all: Vec<Extent>,
    most: usize,
}

impl List {
    pub(crate) fn new(one: bool) -> Self {
        Self {
            all: Vec::new(),
            most: if one { 1 } else { MOST },
        }
    }

    /// Puts one in; `false` when there is no room.
    fn add(&mut self, len: u64, flags: u64) -> bool {
        if len == 0 {
            return true;
        }
        if let Some(last) = self.all.last_mut()
            && last.flags == flags
        {
            last.len += len;
            return true;
        }
        if self.all.len() == self.most {
            return false;
        }
        self.all.push(Extent { len, flags });
        true
    }

    pub(crate) fn into_inner(self) -> Vec<Extent> {
        self.all
    }
}

/// `base:allocation` of a range; with `depth`, `qemu:allocation-depth`.
///
/// # Errors
/// What the layers say.
pub(crate) async fn allocation(
    root: &Root,
    mut offset: u64,
    mut len: u64,
    depth: bool,
    mut list: List,
) -> io::Result<Vec<Extent>> {
    while len > 0 {
        let found = look(root, offset, len).await?;
        let flags = if depth {
            u64::from(found.depth)
        } else {
            let hole = if found.data { 0 } else { allocation::HOLE };
            let zero = if found.zero { allocation::ZERO } else { 0 };
            u64::from(hole | zero)
        };
        if !list.add(found.len, flags) {
            break;
        }
        offset += found.len;
        len -= found.len;
    }
    Ok(list.into_inner())
}

/// `qemu:dirty-bitmap` of a range.
///
/// # Errors
/// When the bitmap cannot be read.
pub(crate) async fn dirty(
    bitmap: &Bitmap,
    offset: u64,
    len: u64,
    list: List,
) -> io::Result<Vec<Extent>> {
    bitmap
        .with_ranges(|ranges| marked(ranges, offset, len, list))
        .await
}

/// The part of ascending ranges that lies in a window, as extents.
fn marked(ranges: &[(u64, u64)], offset: u64, len: u64, mut list: List) -> Vec<Extent> {
    let end = offset.saturating_add(len);
    let first = ranges.partition_point(|(at, len)| at.saturating_add(*len) <= offset);
    let mut at = offset;
    for (start, len) in &ranges[first..] {
        let (start, stop) = ((*start).max(at), start.saturating_add(*len).min(end));
        if start >= end {
            break;
        }
        if !list.add(start - at, 0) || !list.add(stop.saturating_sub(start), DIRTY) {
            return list.into_inner();
        }
        at = stop.max(at);
    }
    list.add(end - at, 0);
    list.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(ranges: &[(u64, u64)], offset: u64, len: u64, one: bool) -> Vec<(u64, u64)> {
        let extents = marked(ranges, offset, len, List::new(one));
        extents.iter().map(|e| (e.len, e.flags)).collect()
    }

    #[test]
    fn a_window_cuts_ranges_at_both_ends() {
        let ranges = [(0, 10), (20, 10), (40, 10)];
        assert_eq!(
            pairs(&ranges, 5, 40, false),
            [(5, 1), (10, 0), (10, 1), (10, 0), (5, 1)]
        );
        assert_eq!(pairs(&ranges, 12, 5, false), [(5, 0)]);
        assert_eq!(pairs(&ranges, 22, 5, false), [(5, 1)]);
        assert_eq!(pairs(&[], 0, 7, false), [(7, 0)]);
        assert_eq!(pairs(&ranges, 5, 40, true), [(5, 1)]);
    }
}
