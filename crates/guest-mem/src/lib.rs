//! Guest RAM: one block of host memory that the guest, the devices and the firmware loader share.
//!
//! The guest may change any byte at any time, so nothing here hands out a slice: bytes are copied in and out, and
//! whoever checks a value must use the copy it checked.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use vm_memory::mmap::MmapRegionError;
use vm_memory::{Bytes, MmapRegion, VolatileMemory};

#[cfg(test)]
mod tests;

/// Size of the pages that memory is mapped by.
pub const PAGE: u64 = 4096;

/// An access that leaves the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

/// A block of guest RAM (or ROM), zero at first. Copies name the same bytes.
#[derive(Debug, Clone)]
pub struct Ram {
    region: Arc<MmapRegion<()>>,
    code: CodeMarks,
}

/// Which pages hold code that somebody keeps in another form. A page's mark is a counter of invalidations; its lowest bit
/// is on while such code exists. Whoever writes to a marked page calls [`CodeMarks::written`]; [`Ram::write`] does.
#[derive(Debug, Clone)]
pub struct CodeMarks(Arc<[AtomicU32]>);

impl CodeMarks {
    /// A page's mark; zero beyond the block.
    #[inline]
    pub fn get(&self, page: usize) -> u32 {
        self.0
            .get(page)
            .map_or(0, |mark| mark.load(Ordering::Acquire))
    }

    /// Notes that a page holds kept code. Gives the mark to compare with later, and whether the page had none before.
    pub fn set(&self, page: usize) -> (u32, bool) {
        self.0.get(page).map_or((0, false), |mark| {
            let before = mark.fetch_or(1, Ordering::AcqRel);
            (before | 1, before & 1 == 0)
        })
    }

    /// Notes that a page is being written: kept code of it is stale.
    #[inline]
    pub fn written(&self, page: usize) {
        if let Some(mark) = self.0.get(page)
            && mark.load(Ordering::Acquire) & 1 != 0
        {
            // The lowest bit is on, so adding one clears it and counts.
            let _ = mark.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now & 1 != 0).then(|| now.wrapping_add(1))
            });
        }
    }
}

impl Ram {
    /// Takes `bytes` of memory from the host, rounded up to whole pages; the host fills pages when they are touched.
    ///
    /// # Errors
    /// The host refuses, or the size is zero or beyond what the host can address.
    pub fn new(bytes: u64) -> io::Result<Self> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
        let rounded = bytes.checked_next_multiple_of(PAGE).ok_or_else(wrong)?;
        let size = usize::try_from(rounded).map_err(|_| wrong())?;
        if size == 0 || isize::try_from(size).is_err() {
            return Err(wrong());
        }
        let region = MmapRegion::new(size).map_err(|error| match error {
            MmapRegionError::Mmap(error) => error,
            other => io::Error::other(other),
        })?;
        let pages = usize::try_from(rounded / PAGE).map_err(|_| wrong())?;
        Ok(Self {
            region: Arc::new(region),
            code: CodeMarks(
                std::iter::repeat_with(AtomicU32::default)
                    .take(pages)
                    .collect(),
            ),
        })
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.region.size() as u64
    }

    /// Where the block lies in this process, for an accelerator that maps it into a guest.
    pub fn host_address(&self) -> u64 {
        self.region.as_ptr().addr() as u64
    }

    /// Marks of pages that hold kept code.
    pub fn code(&self) -> &CodeMarks {
        &self.code
    }

    /// Whether both name the same bytes.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.region, &other.region)
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// The range leaves the block; nothing was copied.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), OutOfRange> {
        let at = self.check(offset, into.len())?;
        let all = self.region.as_volatile_slice();
        all.read_slice(into, at).map_err(|_| OutOfRange)
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// The range leaves the block; nothing was copied.
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<(), OutOfRange> {
        let at = self.check(offset, from.len())?;
        let all = self.region.as_volatile_slice();
        let done = all.write_slice(from, at).map_err(|_| OutOfRange);
        if !from.is_empty() {
            let page = |byte: usize| byte >> PAGE.trailing_zeros();
            for page in page(at)..=page(at + from.len() - 1) {
                self.code.written(page);
            }
        }
        done
    }

    /// Reads a little-endian number of one to eight bytes.
    ///
    /// # Errors
    /// The range leaves the block, or more than eight bytes are asked for.
    pub fn read_uint(&self, offset: u64, bytes: usize) -> Result<u64, OutOfRange> {
        let mut raw = [0; 8];
        self.read(offset, raw.get_mut(..bytes).ok_or(OutOfRange)?)?;
        Ok(u64::from_le_bytes(raw))
    }

    /// Writes the low `bytes` of a number, little-endian.
    ///
    /// # Errors
    /// The range leaves the block, or more than eight bytes are asked for.
    pub fn write_uint(&self, offset: u64, bytes: usize, value: u64) -> Result<(), OutOfRange> {
        self.write(offset, value.to_le_bytes().get(..bytes).ok_or(OutOfRange)?)
    }

    fn check(&self, offset: u64, bytes: usize) -> Result<usize, OutOfRange> {
        let start = usize::try_from(offset).map_err(|_| OutOfRange)?;
        let end = start.checked_add(bytes).ok_or(OutOfRange)?;
        if end > self.region.size() {
            return Err(OutOfRange);
        }
        Ok(start)
    }
}
