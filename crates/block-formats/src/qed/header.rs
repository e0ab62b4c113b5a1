//! The header of a qed image.

use block_core::BackingLink;
use qapi::Result;

use crate::bytes::{le32, le64, put_le32, put_le64};
use crate::make::{invalid, unsupported};

/// Bytes of the fields.
pub(super) const HEADER: usize = 64;
pub(super) const MAGIC: &[u8] = b"QED\0";

/// There is a backing file.
pub(super) const BACKING: u64 = 1;
/// A writer did not close the image.
pub(super) const NEED_CHECK: u64 = 2;
/// The backing file is raw, whatever it looks like.
pub(super) const BACKING_IS_RAW: u64 = 4;

const KNOWN: u64 = BACKING | NEED_CHECK | BACKING_IS_RAW;

/// All of its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) cluster_size: u32,
    /// Clusters of a table.
    pub(super) table_size: u32,
    /// Clusters before the first table.
    pub(super) header_clusters: u32,
    pub(super) features: u64,
    pub(super) compatible: u64,
    pub(super) autoclear: u64,
    pub(super) l1_offset: u64,
    pub(super) image_size: u64,
    /// Offset and length of the backing file's name.
    pub(super) backing: (u32, u32),
}

/// Whether clusters may have this size in bytes.
pub(super) fn is_cluster_size(size: u64) -> bool {
    size.is_power_of_two() && (4096..=64 << 20).contains(&size)
}

/// Whether tables may have so many clusters.
pub(super) fn is_table_size(size: u64) -> bool {
    size.is_power_of_two() && (1..=16).contains(&size)
}

impl Header {
    /// Bytes of a table.
    pub(super) fn table_bytes(&self) -> u64 {
        u64::from(self.cluster_size) * u64::from(self.table_size)
    }

    /// Entries of a table.
    pub(super) fn table_entries(&self) -> u64 {
        self.table_bytes() / 8
    }

    /// The largest disk in bytes.
    pub(super) fn max_size(&self) -> u64 {
        let clusters = u128::from(self.table_entries()).pow(2);
        u64::try_from(clusters * u128::from(self.cluster_size)).unwrap_or(u64::MAX)
    }

    /// Reads and checks it; the file has `length` bytes.
    ///
    /// # Errors
    /// In the reference's words.
    pub(super) fn decode(bytes: &[u8; HEADER], length: u64) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(invalid("Image not in QED format"));
        }
        let header = Self {
            cluster_size: le32(bytes, 4),
            table_size: le32(bytes, 8),
            header_clusters: le32(bytes, 12),
            features: le64(bytes, 16),
            compatible: le64(bytes, 24),
            // Bits that others set and that are not known here do not hold any more.
            autoclear: 0,
            l1_offset: le64(bytes, 40),
            image_size: le64(bytes, 48),
            backing: (le32(bytes, 56), le32(bytes, 60)),
        };
        header.check(length)?;
        Ok(header)
    }

    fn check(&self, length: u64) -> Result<()> {
        let unknown = self.features & !KNOWN;
        if unknown != 0 {
            return Err(unsupported(format!(
                "Unsupported QED features: {unknown:x}"
            )));
        }
        if !is_cluster_size(self.cluster_size.into()) {
            return Err(invalid("QED cluster size is invalid"));
        }
        if !is_table_size(self.table_size.into()) {
            return Err(invalid("QED table size is invalid"));
        }
        if !self.image_size.is_multiple_of(512) || self.image_size > self.max_size() {
            return Err(invalid("QED image size is invalid"));
        }
        let cluster = u64::from(self.cluster_size);
        let first = u64::from(self.header_clusters) * cluster;
        let end = self.l1_offset.checked_add(self.table_bytes());
        let inside = end.is_some_and(|end| end <= length.next_multiple_of(cluster));
        if !self.l1_offset.is_multiple_of(cluster) || self.l1_offset < first || !inside {
            return Err(invalid("QED table offset is invalid"));
        }
        if first > u64::from(u32::MAX) {
            return Err(invalid("QED header size is too large"));
        }
        Ok(())
    }

    /// The header's bytes.
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(MAGIC);
        put_le32(&mut bytes, 4, self.cluster_size);
        put_le32(&mut bytes, 8, self.table_size);
        put_le32(&mut bytes, 12, self.header_clusters);
        put_le64(&mut bytes, 16, self.features);
        put_le64(&mut bytes, 24, self.compatible);
        put_le64(&mut bytes, 32, self.autoclear);
        put_le64(&mut bytes, 40, self.l1_offset);
        put_le64(&mut bytes, 48, self.image_size);
        put_le32(&mut bytes, 56, self.backing.0);
        put_le32(&mut bytes, 60, self.backing.1);
        bytes
    }

    /// Names another backing file, whose name follows the fields.
    ///
    /// # Errors
    /// When the name has no room.
    pub(super) fn set_backing(&mut self, link: Option<&BackingLink>) -> Result<()> {
        self.features &= !(BACKING | BACKING_IS_RAW);
        self.backing = (0, 0);
        let Some(link) = link.filter(|l| !l.file.is_empty()) else {
            return Ok(());
        };
        if link.file.len() > 1023 {
            return Err(qapi::Error::with_errno("Backing file name too long", 28));
        }
        self.features |= BACKING;
        if link.format.as_deref() == Some("raw") {
            self.features |= BACKING_IS_RAW;
        }
        let len = u32::try_from(link.file.len()).unwrap_or(0);
        self.backing = (u32::try_from(HEADER).unwrap_or(0), len);
        Ok(())
    }
}
