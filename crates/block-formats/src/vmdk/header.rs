//! Headers of sparse extents: `KDMV` (hosted), `COWD` (old ESX).

use qapi::{Error, Result};

use crate::bytes::{le32, le64, put_le32, put_le64};
use crate::make::{invalid, unsupported};

/// Bytes of a header.
pub(super) const HEADER: usize = 512;

const HOSTED: &[u8] = b"KDMV";
const OLD: &[u8] = b"COWD";

/// The first bytes of VMFS 6's own kind of sparse extent.
const SE_SPARSE: u64 = 0xcafe_babe;

/// Refuses one.
pub(super) fn se_sparse() -> Error {
    // GAP: its header, journal and tables are of another make than those of all other extents.
    unsupported("seSparse extents, which VMFS 6 keeps snapshots in, are not supported")
        .hint("Clone the disk on its host (vmkfstools -i) to get one that is.")
}

/// A copy of the grain directory is kept.
pub(super) const REDUNDANT: u32 = 2;
/// Entries may say that a grain is zeroes.
pub(super) const ZERO_GRAINS: u32 = 4;
const NEWLINES: u32 = 1;
const PACKED: u32 = 1 << 16;
/// Packed grains stand behind markers.
pub(super) const MARKERS: u32 = 1 << 17;

/// The grain directory is at the end, with another header.
const AT_END: u64 = u64::MAX;

/// What is known of a sparse extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) flags: u32,
    /// Sectors of the extent.
    pub(super) capacity: u64,
    /// Sectors of a grain.
    pub(super) grain: u64,
    /// Where an embedded descriptor is, in sectors; 0 for none.
    pub(super) descriptor: u64,
    /// Entries of a grain table.
    pub(super) per_table: u32,
    /// In bytes.
    pub(super) directory: u64,
    /// Where its copy is, in bytes; 0 for none.
    pub(super) copy: u64,
    /// Entries of the directory.
    pub(super) tables: u64,
    /// Sectors before the first grain.
    pub(super) overhead: u64,
    pub(super) packed: bool,
}

/// Whether bytes start a sparse extent.
pub(super) fn is_sparse(bytes: &[u8]) -> bool {
    bytes.starts_with(HOSTED) || bytes.starts_with(OLD)
}

/// Whether the header must be read again from the footer.
pub(super) fn is_at_end(bytes: &[u8; HEADER]) -> bool {
    bytes.starts_with(HOSTED) && le64(bytes, 56) == AT_END
}

/// The header inside a footer of three sectors: marker, header, end of stream.
///
/// # Errors
/// In the reference's words.
pub(super) fn in_footer(bytes: &[u8; 3 * HEADER]) -> Result<[u8; HEADER]> {
    let marker = |at: usize| (le64(bytes, at), le32(bytes, at + 8), le32(bytes, at + 12));
    let (_, size, kind) = marker(0);
    let mut header = [0; HEADER];
    header.copy_from_slice(&bytes[HEADER..2 * HEADER]);
    if !header.starts_with(HOSTED) || (size, kind) != (0, 3) || marker(2 * HEADER) != (0, 0, 0) {
        return Err(invalid("Invalid footer"));
    }
    Ok(header)
}

impl Header {
    /// Reads either kind.
    ///
    /// # Errors
    /// In the reference's words.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self> {
        let header = if bytes.starts_with(OLD) {
            Self::decode_old(bytes)
        } else if bytes.starts_with(HOSTED) {
            Self::decode_hosted(bytes)?
        } else if le64(bytes, 0) == SE_SPARSE {
            return Err(se_sparse());
        } else {
            return Err(invalid("Image not in VMDK format"));
        };
        header.check()?;
        Ok(header)
    }

    fn decode_old(bytes: &[u8; HEADER]) -> Self {
        Self {
            version: le32(bytes, 4),
            flags: 0,
            capacity: le32(bytes, 12).into(),
            grain: le32(bytes, 16).into(),
            descriptor: 0,
            per_table: 4096,
            directory: u64::from(le32(bytes, 20)) * 512,
            copy: 0,
            tables: le32(bytes, 24).into(),
            overhead: 0,
            packed: false,
        }
    }

    fn decode_hosted(bytes: &[u8; HEADER]) -> Result<Self> {
        let version = le32(bytes, 4);
        if version > 3 {
            return Err(unsupported(format!("Unsupported VMDK version {version}")));
        }
        let (flags, capacity, grain) = (le32(bytes, 8), le64(bytes, 12), le64(bytes, 20));
        let per_table = le32(bytes, 44);
        if per_table > 512 {
            return Err(invalid("L2 table size too big"));
        }
        // What is too large for a number is told of below, each in its turn.
        let covered = u64::from(per_table).saturating_mul(grain);
        if covered == 0 {
            return Err(invalid("L1 entry size is invalid"));
        }
        let bytes_of = |sectors: u64| sectors.saturating_mul(512);
        let redundant = flags & REDUNDANT != 0;
        Ok(Self {
            version,
            flags,
            capacity,
            grain,
            descriptor: le64(bytes, 28),
            per_table,
            directory: bytes_of(le64(bytes, 56)),
            copy: if redundant {
                bytes_of(le64(bytes, 48))
            } else {
                0
            },
            tables: capacity.div_ceil(covered),
            overhead: le64(bytes, 64),
            packed: u16::from_le_bytes([bytes[77], bytes[78]]) == 1,
        })
    }

    fn check(&self) -> Result<()> {
        let too_big = |words: &str| Error::new(words).errno(27);
        if self.grain > 0x20_0000 || self.grain == 0 {
            return Err(too_big("Invalid granularity, image may be corrupt"));
        }
        if self.tables > 32 << 20 {
            return Err(too_big("L1 size too big"));
        }
        if self.capacity > 1 << 53 {
            return Err(too_big("Extent is too large"));
        }
        if self.tables * u64::from(self.per_table) * self.grain < self.capacity {
            return Err(invalid("L1 size is too small for the extent"));
        }
        if self.directory.max(self.copy) == u64::MAX {
            return Err(invalid("Grain directory is too far away"));
        }
        Ok(())
    }
}

/// What the front of a new sparse extent holds.
pub(super) struct Layout {
    pub(super) capacity: u64,
    pub(super) packed: bool,
    pub(super) zero_grains: bool,
}

/// Sectors of a grain of new extents, entries of a table, sectors of a table.
const GRAIN: u64 = 128;
const PER_TABLE: u64 = 512;
const TABLE_SECTORS: u64 = 4;

impl Layout {
    fn tables(&self) -> u64 {
        self.capacity.div_ceil(GRAIN).div_ceil(PER_TABLE)
    }

    /// Sectors of the directory and all tables.
    fn directory_sectors(&self) -> u64 {
        (self.tables() * 4).div_ceil(512)
    }

    /// Bytes before the first grain.
    pub(super) fn overhead(&self) -> u64 {
        let one = self.directory_sectors() + TABLE_SECTORS * self.tables();
        (21 + 2 * one).next_multiple_of(GRAIN) * 512
    }

    /// The header's bytes.
    pub(super) fn header(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(HOSTED);
        let version = match (self.packed, self.zero_grains) {
            (true, _) => 3,
            (false, true) => 2,
            (false, false) => 1,
        };
        let mut flags = REDUNDANT | NEWLINES;
        if self.packed {
            flags |= PACKED | MARKERS;
        }
        if self.zero_grains {
            flags |= ZERO_GRAINS;
        }
        let copy = 21;
        let directory = copy + self.directory_sectors() + TABLE_SECTORS * self.tables();
        put_le32(&mut bytes, 4, version);
        put_le32(&mut bytes, 8, flags);
        put_le64(&mut bytes, 12, self.capacity);
        put_le64(&mut bytes, 20, GRAIN);
        put_le64(&mut bytes, 28, 1);
        put_le64(&mut bytes, 36, 20);
        put_le32(&mut bytes, 44, 512);
        put_le64(&mut bytes, 48, copy);
        put_le64(&mut bytes, 56, directory);
        put_le64(&mut bytes, 64, self.overhead() / 512);
        bytes[73..77].copy_from_slice(b"\n \r\n");
        bytes[77] = u8::from(self.packed);
        bytes
    }

    /// Both directories: where each goes in bytes, and what it holds.
    pub(super) fn directories(&self) -> [(u64, Vec<u8>); 2] {
        let size = self.directory_sectors();
        let second = 21 + size + TABLE_SECTORS * self.tables();
        [21, second].map(|at| {
            let mut bytes = Vec::new();
            for table in 0..self.tables() {
                let sector = at + size + table * TABLE_SECTORS;
                bytes.extend_from_slice(&sector.to_le_bytes()[..4]);
            }
            bytes.resize(usize::try_from(size * 512).unwrap_or(0), 0);
            (at * 512, bytes)
        })
    }
}
