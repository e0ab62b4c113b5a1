//! The head of a redolog.

use qapi::{Error, Result};

use crate::bytes::{le32, le64};
use crate::make::invalid;

/// Bytes of the head.
pub(super) const HEADER: usize = 512;
/// Unit of the disk, in bytes.
pub(super) const SECTOR: u64 = 512;
const VERSION_1: u32 = 0x1_0000;
const VERSION_2: u32 = 0x2_0000;
/// Most extents: those of the largest disk that Bochs makes, 8 TiB.
const MAX_CATALOG: u32 = 0x10_0000;
/// Longest extent in bytes.
const MAX_EXTENT: u32 = 0x80_0000;

/// The numbers of a redolog, checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Length of the disk in sectors.
    pub(super) sectors: u64,
    /// Where the catalog is.
    pub(super) catalog_at: u32,
    /// Entries of it; enough for the disk.
    pub(super) catalog: u32,
    /// Sectors that a bitmap takes.
    pub(super) bitmap_sectors: u32,
    /// Bytes of an extent: a power of two from 512 on.
    pub(super) extent: u32,
}

/// A text that ends with a NUL, in a field of its own.
fn text_is(bytes: &[u8], at: usize, words: &[u8]) -> bool {
    let field = bytes.get(at..at + words.len() + 1);
    field.is_some_and(|f| f.starts_with(words) && f.ends_with(&[0]))
}

/// Whether magic number, kind and version are those of a growing redolog.
pub(super) fn is_bochs(bytes: &[u8; HEADER]) -> bool {
    text_is(bytes, 0, b"Bochs Virtual HD Image")
        && text_is(bytes, 32, b"Redolog")
        && text_is(bytes, 48, b"Growing")
        && matches!(le32(bytes, 64), VERSION_1 | VERSION_2)
}

impl Header {
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self> {
        if !is_bochs(bytes) {
            return Err(invalid("Image not in Bochs format"));
        }
        let size = match le32(bytes, 64) {
            VERSION_1 => le64(bytes, 84),
            _ => le64(bytes, 88),
        };
        let header = Self {
            sectors: size / SECTOR,
            catalog_at: le32(bytes, 68),
            catalog: le32(bytes, 72),
            // An empty bitmap wraps in 32 bits, as it does in other readers of the format.
            bitmap_sectors: 1 + le32(bytes, 76).wrapping_sub(1) / 512,
            extent: le32(bytes, 80),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<()> {
        if self.catalog > MAX_CATALOG {
            return Err(Error::new("Catalog size is too large").errno(27));
        }
        let extent = self.extent;
        if extent < 512 {
            return Err(invalid("Extent size must be at least 512"));
        }
        if !extent.is_power_of_two() {
            let words = format!("Extent size {extent} is not a power of two");
            return Err(invalid(words));
        }
        if extent > MAX_EXTENT {
            return Err(invalid(format!("Extent size {extent} is too large")));
        }
        if u64::from(self.catalog) < self.sectors.div_ceil(self.sectors_of_extent()) {
            return Err(invalid("Catalog size is too small for this disk size"));
        }
        Ok(())
    }

    /// Sectors of an extent; never 0.
    pub(super) fn sectors_of_extent(&self) -> u64 {
        u64::from(self.extent / 512).max(1)
    }

    /// Where the first extent's bitmap is.
    pub(super) fn data_at(&self) -> u64 {
        u64::from(self.catalog_at) + u64::from(self.catalog) * 4
    }
}
