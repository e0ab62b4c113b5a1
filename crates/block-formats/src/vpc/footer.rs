//! The footer of a VHD: what the disk is, and how large.

use qapi::Result;

use crate::bytes::{be16, be32, be64, put_be16, put_be32, put_be64};
use crate::make::invalid;

/// Bytes of the footer.
pub(super) const FOOTER: usize = 512;
/// Its first bytes.
pub(super) const MAGIC: &[u8] = b"conectix";
/// Sectors of the largest disk: 2040 GiB.
pub(super) const MAX_SECTORS: u64 = 2040 << 21;

const CHECKSUM_AT: usize = 64;

/// Cylinders, heads and sectors per track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chs {
    pub(super) cylinders: u16,
    pub(super) heads: u8,
    pub(super) sectors: u8,
}

impl Chs {
    /// The largest that the fields can say; the size is then told elsewhere.
    pub(super) const MAX: Self = Self {
        cylinders: 65535,
        heads: 16,
        sectors: 255,
    };

    /// Sectors of a disk of this geometry.
    pub(super) fn total(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors)
    }

    /// The geometry of a disk of so many sectors (specification, appendix "CHS Calculation").
    pub(super) fn of(sectors: u64) -> Self {
        let sectors = sectors.min(Self::MAX.total());
        let (per_track, heads, tracks);
        if sectors >= 65535 * 16 * 63 {
            (per_track, heads, tracks) = (255, 16, sectors / 255);
        } else {
            let few = (sectors / 17, (sectors / 17).div_ceil(1024).max(4));
            if few.0 < few.1 * 1024 && few.1 <= 16 {
                (per_track, heads, tracks) = (17, few.1, few.0);
            } else if sectors / 31 < 16 * 1024 {
                (per_track, heads, tracks) = (31, 16, sectors / 31);
            } else {
                (per_track, heads, tracks) = (63, 16, sectors / 63);
            }
        }
        Self {
            cylinders: u16::try_from(tracks / heads).unwrap_or(u16::MAX),
            heads: u8::try_from(heads).unwrap_or(u8::MAX),
            sectors: per_track,
        }
    }
}

/// Kinds of disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fixed,
    Dynamic,
    Differencing,
}

/// Where the size of the disk is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SizeFrom {
    /// As the program that made the image does it.
    Creator,
    /// The geometry.
    Geometry,
    /// The field for the current size.
    Field,
}

/// Fields that matter.
#[derive(Debug, Clone)]
pub(super) struct Footer {
    pub(super) kind: Kind,
    pub(super) chs: Chs,
    pub(super) size: u64,
    pub(super) creator: [u8; 4],
    /// Where the header of a dynamic disk is.
    pub(super) data_offset: u64,
    /// Names the disk in those that stand on it.
    pub(super) id: String,
}

impl Footer {
    /// Reads and checks it.
    ///
    /// # Errors
    /// In the reference's words.
    pub(super) fn decode(bytes: &[u8; FOOTER]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(invalid("invalid VPC image"));
        }
        if !is_whole(bytes) {
            return Err(invalid("Incorrect header checksum"));
        }
        let kind = match be32(bytes, 60) {
            2 => Kind::Fixed,
            4 => Kind::Differencing,
            // Others do not look at it in a copy at the front.
            _ => Kind::Dynamic,
        };
        let (mut creator, mut id) = ([0; 4], [0; 16]);
        creator.copy_from_slice(&bytes[28..32]);
        id.copy_from_slice(&bytes[68..84]);
        Ok(Self {
            kind,
            chs: Chs {
                cylinders: be16(bytes, 56),
                heads: bytes[58],
                sectors: bytes[59],
            },
            size: be64(bytes, 48),
            creator,
            data_offset: be64(bytes, 16),
            id: id_text(&id),
        })
    }

    /// Size in bytes.
    ///
    /// # Errors
    /// `EFBIG` above what the format allows.
    pub(super) fn disk_size(&self, from: SizeFrom) -> Result<u64> {
        let by_geometry = matches!(&self.creator, b"vpc " | b"qemu") || from == SizeFrom::Geometry;
        let sectors = if !by_geometry || self.chs == Chs::MAX || from == SizeFrom::Field {
            self.size / 512
        } else {
            self.chs.total()
        };
        if sectors > MAX_SECTORS {
            return Err(qapi::Error::with_errno("Could not open the image", 27));
        }
        Ok(sectors * 512)
    }

    /// The footer's bytes.
    pub(super) fn encode(&self, seconds: u32, id: [u8; 16]) -> [u8; FOOTER] {
        let mut bytes = [0; FOOTER];
        bytes[..8].copy_from_slice(MAGIC);
        put_be32(&mut bytes, 8, 2);
        put_be32(&mut bytes, 12, 0x0001_0000);
        put_be64(&mut bytes, 16, self.data_offset);
        put_be32(&mut bytes, 24, seconds);
        bytes[28..32].copy_from_slice(&self.creator);
        put_be16(&mut bytes, 32, 5);
        put_be16(&mut bytes, 34, 3);
        bytes[36..40].copy_from_slice(b"Wi2k");
        put_be64(&mut bytes, 40, self.size);
        put_be64(&mut bytes, 48, self.size);
        put_be16(&mut bytes, 56, self.chs.cylinders);
        bytes[58] = self.chs.heads;
        bytes[59] = self.chs.sectors;
        let kind = if self.kind == Kind::Fixed { 2 } else { 3 };
        put_be32(&mut bytes, 60, kind);
        bytes[68..84].copy_from_slice(&id);
        let sum = checksum(&bytes, CHECKSUM_AT);
        put_be32(&mut bytes, CHECKSUM_AT, sum);
        bytes
    }
}

/// Whether it has its mark and the sum it says.
pub(super) fn is_whole(bytes: &[u8; FOOTER]) -> bool {
    bytes.starts_with(MAGIC) && checksum(bytes, CHECKSUM_AT) == be32(bytes, CHECKSUM_AT)
}

/// An id as text.
pub(super) fn id_text(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The complement of the sum of all bytes but the four of the checksum itself.
pub(super) fn checksum(bytes: &[u8], at: usize) -> u32 {
    let counted = bytes.iter().enumerate();
    let counted = counted.filter(|(i, _)| !(at..at + 4).contains(i));
    !counted.fold(0_u32, |sum, (_, byte)| sum.wrapping_add((*byte).into()))
}
