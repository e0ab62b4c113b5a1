//! The bitmap directory and its header extension as bytes (qcow2 interoperability document, "Bitmaps extension").
//!
//! ```text
//! extension: count u32, reserved u32, directory_size u64, directory_offset u64
//! entry:     table_offset u64, table_size u32, flags u32, type u8, granularity_bits u8,
//!            name_len u16, extra_len u32, extra data, name, zeroes up to a multiple of 8   (big endian)
//! ```

use qapi::{Error, Result};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::bits;

/// Most bitmaps in one image.
pub(in crate::qcow2) const MAX_BITMAPS: u32 = 65535;
/// Longest name in bytes.
pub(in crate::qcow2) const MAX_NAME: usize = 1023;
/// Longest directory in bytes.
pub(in crate::qcow2) const MAX_DIRECTORY: u64 = MAX_BITMAPS as u64 * 1024;
/// Most bytes of bits, and most entries of a table, of one bitmap.
const MAX_BYTES: u64 = 0x2000_0000;
const MAX_TABLE: u64 = 0x800_0000;
/// Smallest and largest granularity as powers of two.
const GRANULARITY_BITS: std::ops::RangeInclusive<u32> = 9..=31;

/// Not closed cleanly: the bits mean nothing.
pub(in crate::qcow2) const FLAG_IN_USE: u32 = 1;
/// Recording.
pub(in crate::qcow2) const FLAG_AUTO: u32 = 2;
const TYPE_DIRTY_TRACKING: u8 = 1;

const ENTRY: usize = size_of::<RawEntry>();
const EINVAL: i32 = 22;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtension {
    count: U32,
    reserved: U32,
    size: U64,
    offset: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    table_offset: U64,
    table_size: U32,
    flags: U32,
    kind: u8,
    granularity_bits: u8,
    name_len: U16,
    extra_len: U32,
}

/// Where the directory is: the payload of the bitmaps header extension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::qcow2) struct Location {
    /// Number of bitmaps, at least 1.
    pub(in crate::qcow2) count: u32,
    /// Bytes of the directory.
    pub(in crate::qcow2) size: u64,
    /// Its place in the file.
    pub(in crate::qcow2) offset: u64,
}

impl Location {
    /// Reads the extension's payload.
    ///
    /// # Errors
    /// In the reference's words.
    pub(in crate::qcow2) fn decode(payload: &[u8], cluster_size: u64) -> Result<Self> {
        let raw = RawExtension::read_from_bytes(payload)
            .map_err(|_| invalid("bitmaps_ext: Invalid extension length"))?;
        if raw.reserved.get() != 0 {
            return Err(invalid("bitmaps_ext: Reserved field is not zero"));
        }
        let (count, size, offset) = (raw.count.get(), raw.size.get(), raw.offset.get());
        if count > MAX_BITMAPS {
            return Err(invalid(format!(
                "bitmaps_ext: Image has {count} bitmaps, exceeding the QEMU supported maximum of {MAX_BITMAPS}"
            )));
        }
        if count == 0 {
            return Err(invalid("found bitmaps extension with zero bitmaps"));
        }
        if offset % cluster_size != 0 {
            return Err(invalid("bitmaps_ext: invalid bitmap directory offset"));
        }
        if size > MAX_DIRECTORY {
            return Err(invalid(format!(
                "bitmaps_ext: bitmap directory size ({size}) exceeds the maximum supported size ({MAX_DIRECTORY})"
            )));
        }
        Ok(Self {
            count,
            size,
            offset,
        })
    }

    /// The extension's payload.
    pub(in crate::qcow2) fn encode(&self) -> Vec<u8> {
        let raw = RawExtension {
            count: U32::new(self.count),
            reserved: U32::new(0),
            size: U64::new(self.size),
            offset: U64::new(self.offset),
        };
        raw.as_bytes().to_vec()
    }
}

/// One entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::qcow2) struct Entry {
    /// Where the bitmap's table is.
    pub(in crate::qcow2) table_offset: u64,
    /// Entries of the table.
    pub(in crate::qcow2) table_size: u32,
    /// `FLAG_IN_USE`, `FLAG_AUTO`.
    pub(in crate::qcow2) flags: u32,
    /// Granularity as a power of two.
    pub(in crate::qcow2) granularity_bits: u32,
    /// Unique name.
    pub(in crate::qcow2) name: Vec<u8>,
}

impl Entry {
    /// The name as text.
    pub(in crate::qcow2) fn shown_name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    fn encoded_len(&self) -> usize {
        (ENTRY + self.name.len()).next_multiple_of(8)
    }

    fn check(&self, size: u64, cluster_size: u64) -> Result<()> {
        let table = u64::from(self.table_size);
        let fits = GRANULARITY_BITS.contains(&self.granularity_bits)
            && self.flags & !(FLAG_IN_USE | FLAG_AUTO) == 0
            && self.name.len() <= MAX_NAME
            && table > 0
            && table <= MAX_TABLE
            && table.saturating_mul(cluster_size) <= MAX_BYTES
            && self.table_offset != 0
            && self.table_offset.is_multiple_of(cluster_size);
        if !fits {
            return Err(self.constraints());
        }
        let needed = bits::table_len(size, self.granularity_bits, cluster_size);
        if self.flags & FLAG_IN_USE == 0 && table != needed {
            let name = self.shown_name();
            return Err(Error::with_errno(
                format!("Could not read bitmap '{name}' from image"),
                EINVAL,
            ));
        }
        Ok(())
    }

    fn constraints(&self) -> Error {
        let name = self.shown_name();
        invalid(format!("Bitmap '{name}' doesn't satisfy the constraints"))
    }
}

/// Reads a directory of `location.size` bytes for a disk of `size` bytes.
///
/// # Errors
/// In the reference's words when anything in it cannot be.
pub(in crate::qcow2) fn decode(
    mut bytes: &[u8],
    location: Location,
    size: u64,
    cluster_size: u64,
) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut names = std::collections::HashSet::new();
    while !bytes.is_empty() {
        if entries.len() as u64 >= u64::from(location.count) {
            return Err(invalid(
                "More bitmaps found than specified in header extension",
            ));
        }
        let (entry, used) = decode_entry(bytes)?;
        entry.check(size, cluster_size)?;
        if !names.insert(entry.name.clone()) {
            let name = entry.shown_name();
            return Err(invalid(format!("Bitmap already exists: {name}")));
        }
        entries.push(entry);
        bytes = &bytes[used..];
    }
    if (entries.len() as u64) < u64::from(location.count) {
        return Err(invalid(
            "Less bitmaps found than specified in header extension",
        ));
    }
    Ok(entries)
}

fn decode_entry(bytes: &[u8]) -> Result<(Entry, usize)> {
    let broken = || invalid("Broken bitmap directory");
    let (raw, rest) = RawEntry::read_from_prefix(bytes).map_err(|_| broken())?;
    let name_len = usize::from(raw.name_len.get());
    let extra_len = usize::try_from(raw.extra_len.get()).map_err(|_| broken())?;
    let used = extra_len
        .checked_add(ENTRY + name_len + 7)
        .ok_or_else(broken)?
        & !7;
    if used > bytes.len() {
        return Err(broken());
    }
    if extra_len != 0 {
        return Err(invalid("Bitmap extra data is not supported"));
    }
    let entry = Entry {
        table_offset: raw.table_offset.get(),
        table_size: raw.table_size.get(),
        flags: raw.flags.get(),
        granularity_bits: u32::from(raw.granularity_bits),
        name: rest[..name_len].to_vec(),
    };
    if raw.kind != TYPE_DIRTY_TRACKING {
        return Err(entry.constraints());
    }
    Ok((entry, used))
}

/// The directory for these entries.
pub(in crate::qcow2) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let start = out.len();
        let raw = RawEntry {
            table_offset: U64::new(entry.table_offset),
            table_size: U32::new(entry.table_size),
            flags: U32::new(entry.flags),
            kind: TYPE_DIRTY_TRACKING,
            granularity_bits: u8::try_from(entry.granularity_bits).unwrap_or(0),
            name_len: U16::new(u16::try_from(entry.name.len()).unwrap_or(0)),
            extra_len: U32::new(0),
        };
        out.extend_from_slice(raw.as_bytes());
        out.extend_from_slice(&entry.name);
        out.resize(start + entry.encoded_len(), 0);
    }
    out
}

/// Bytes that these names take in a directory.
pub(in crate::qcow2) fn encoded_len<'a>(names: impl Iterator<Item = &'a [u8]>) -> u64 {
    names
        .map(|name| (ENTRY + name.len()).next_multiple_of(8) as u64)
        .sum()
}

/// Whether a new bitmap can be stored.
///
/// # Errors
/// In the reference's words.
pub(in crate::qcow2) fn check_new(
    name: &[u8],
    granularity_bits: u32,
    size: u64,
    cluster_size: u64,
) -> Result<()> {
    if name.len() > MAX_NAME {
        return Err(invalid(format!(
            "Name length exceeds maximum ({MAX_NAME} characters)"
        )));
    }
    let bytes = bits::count(size, granularity_bits).div_ceil(8);
    if bytes > MAX_BYTES || bytes.div_ceil(cluster_size) > MAX_TABLE {
        return Err(invalid(
            "Too much space will be occupied by the bitmap. Use larger granularity",
        ));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(message).errno(EINVAL)
}
