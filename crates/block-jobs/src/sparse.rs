//! Finds the runs of a buffer that need not be stored, as `qemu-img convert -S` does.
//!
//! The unit is a sector of 512 bytes. A run of data is widened to the alignment and swallows runs of zeroes shorter
//! than the minimum; a run of zeroes is cut back to the alignment.

use block_core::is_zero;

/// Granularity of the search in bytes.
const SECTOR: usize = 512;

/// Which runs of zeroes count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sparse {
    /// Shortest run of zeroes between data that is left out, in bytes.
    min: usize,
    /// Data and zeroes meet at multiples of this offset in bytes (power of two).
    align: u64,
}

/// A part of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) len: usize,
    pub(crate) data: bool,
}

impl Sparse {
    /// For `-S min` (bytes, not 0) and a target that takes requests of `request_alignment` bytes.
    pub(crate) fn new(min: usize, request_alignment: u32) -> Self {
        let floor = 1_u64 << min.max(SECTOR).ilog2();
        Self {
            min,
            align: floor.max(u64::from(request_alignment)),
        }
    }

    /// Whether the answer is the same however a buffer is cut at multiples of `cut`.
    pub(crate) fn can_cut_at(self, cut: u64) -> bool {
        self.align == self.min as u64 && cut.is_multiple_of(self.align)
    }

    /// The run that `buf`, not empty and to be stored at `offset`, begins with.
    pub(crate) fn first_run(self, buf: &[u8], offset: u64) -> Run {
        let first = self.aligned_run(buf, offset);
        if !first.data {
            return first;
        }
        let min = self.min.min(buf.len());
        let (mut used, mut seen) = (first.len, first.len);
        while seen < buf.len() {
            let next = self.aligned_run(&buf[seen..], offset + seen as u64);
            seen += next.len;
            if next.data {
                used = seen;
            } else if next.len >= min {
                break;
            }
        }
        Run {
            len: used,
            data: true,
        }
    }

    fn aligned_run(self, buf: &[u8], offset: u64) -> Run {
        let Run { len, data } = plain_run(buf);
        let over = usize::try_from((offset + len as u64) % self.align).unwrap_or(0);
        if len == buf.len() || over == 0 {
            return Run { len, data };
        }
        if !data && len > over {
            return Run {
                len: len - over,
                data: false,
            };
        }
        let missing = usize::try_from(self.align).unwrap_or(usize::MAX) - over;
        Run {
            len: buf.len().min(len.saturating_add(missing)),
            data: true,
        }
    }
}

/// The sectors at the front that are alike in being zero or not.
fn plain_run(buf: &[u8]) -> Run {
    let mut sectors = buf.chunks(SECTOR);
    let mut len = 0;
    let data = sectors.next().is_some_and(|sector| {
        len = sector.len();
        !is_zero(sector)
    });
    for sector in sectors {
        if is_zero(sector) == data {
            break;
        }
        len += sector.len();
    }
    Run { len, data }
}

#[cfg(test)]
mod tests;
