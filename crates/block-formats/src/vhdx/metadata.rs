//! The metadata: how large disk, blocks and sectors are, and which parent a differencing image has.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use block_core::Edge;
use qapi::Result;

use super::header::{Guid, guid};
use super::locator::Locator;
use crate::bytes::{le16, le32, le64, put_le16, put_le32};
use crate::read_only::could_not_open;

/// Bytes of the table of items; their values lie behind it.
pub(super) const TABLE: usize = 64 << 10;

const SIGNATURE: &[u8] = b"metadata";
const ENTRY: usize = 32;
const REQUIRED: u32 = 4;
const VIRTUAL_DISK: u32 = 2;
/// The disk has a parent.
const HAS_PARENT: u32 = 2;
/// Blocks stay where they are: a fixed disk.
const FIXED: u32 = 1;
/// Bytes that an item may have.
const MAX_ITEM: u32 = 1 << 20;
/// Size in bytes of the largest disk.
pub(super) const MAX_SIZE: u64 = 64 << 40;

const EINVAL: i32 = 22;
const ENOTSUP: i32 = 95;

/// Items, in the order in which they are written.
const PARAMETERS: Guid = [
    0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b,
];
const SIZE: Guid = [
    0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8,
];
const PAGE83: Guid = [
    0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46,
];
const LOGICAL: Guid = [
    0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f,
];
const PHYSICAL: Guid = [
    0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56,
];
const PARENT: Guid = [
    0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c,
];
const KNOWN: [Guid; 6] = [PARAMETERS, SIZE, PAGE83, LOGICAL, PHYSICAL, PARENT];

/// What the metadata says.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    /// Bytes of a block; a power of two.
    pub(super) block: u32,
    pub(super) fixed: bool,
    /// Bytes of the disk.
    pub(super) size: u64,
    /// Bytes of a sector of the disk: 512 or 4096.
    pub(super) sector: u32,
    pub(super) parent: Option<Locator>,
}

/// Reads items of one image.
struct Reader<'a> {
    file: &'a Arc<Edge>,
    region: Range<u64>,
    name: String,
}

impl Reader<'_> {
    async fn bytes(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let inside = at
            .checked_add(len as u64)
            .is_some_and(|end| end <= self.region.end);
        if !inside {
            return Err(could_not_open(&self.name, EINVAL));
        }
        let mut bytes = vec![0; len];
        let failed = |e: io::Error| could_not_open(&self.name, e.raw_os_error().unwrap_or(EINVAL));
        self.file.read(at, &mut bytes).await.map_err(failed)?;
        Ok(bytes)
    }

    /// The first `len` bytes of an item.
    async fn item(&self, place: Option<(u32, u32)>, len: usize) -> Result<Vec<u8>> {
        let (offset, _) = place.ok_or_else(|| could_not_open(&self.name, ENOTSUP))?;
        self.bytes(self.region.start + u64::from(offset), len).await
    }
}

/// Offset and length of each known item.
fn places(table: &[u8]) -> Result<[Option<(u32, u32)>; 6], i32> {
    let count = usize::from(le16(table, 10));
    if !table.starts_with(SIGNATURE) || (count + 1) * ENTRY > TABLE {
        return Err(EINVAL);
    }
    let mut places = [None; 6];
    for entry in table[ENTRY..].chunks_exact(ENTRY).take(count) {
        let id = guid(entry, 0);
        let place = (le32(entry, 16), le32(entry, 20));
        match KNOWN.iter().position(|known| *known == id) {
            Some(number) if places[number].is_some() => return Err(EINVAL),
            Some(number) => places[number] = Some(place),
            None if le32(entry, 24) & REQUIRED != 0 => return Err(ENOTSUP),
            None => {}
        }
    }
    Ok(places)
}

impl Metadata {
    /// Reads and checks it.
    ///
    /// # Errors
    /// When an item is missing, twice there, not known and needed, or cannot be.
    pub(super) async fn read(file: &Arc<Edge>, region: Range<u64>) -> Result<Self> {
        let reader = Reader {
            file,
            name: file.node().filename().to_owned(),
            region,
        };
        let refuse = |errno| could_not_open(&reader.name, errno);
        let table = reader.bytes(reader.region.start, TABLE).await?;
        let [parameters, size, page83, logical, physical, parent] =
            places(&table).map_err(refuse)?;
        if page83.is_none() || physical.is_none() {
            return Err(refuse(ENOTSUP));
        }
        let parameters = reader.item(parameters, 8).await?;
        let size = le64(&reader.item(size, 8).await?, 0);
        let sector = le32(&reader.item(logical, 4).await?, 0);
        let (block, flags) = (le32(&parameters, 0), le32(&parameters, 4));
        if !block.is_power_of_two() || !(1 << 20..=256 << 20).contains(&block) {
            return Err(refuse(EINVAL));
        }
        if !matches!(sector, 512 | 4096) {
            return Err(refuse(ENOTSUP));
        }
        let size = size - size % u64::from(sector);
        if size > MAX_SIZE {
            return Err(refuse(EINVAL));
        }
        let parent = match parent {
            Some((_, length)) if flags & HAS_PARENT != 0 => {
                let length = usize::try_from(length.min(MAX_ITEM)).unwrap_or(0);
                let bytes = reader.item(parent, length).await?;
                Some(Locator::decode(&bytes).ok_or_else(|| refuse(EINVAL))?)
            }
            None if flags & HAS_PARENT != 0 => return Err(refuse(EINVAL)),
            _ => None,
        };
        Ok(Self {
            block,
            fixed: flags & FIXED != 0,
            size,
            sector,
            parent,
        })
    }

    /// The region's bytes, of a disk without a parent that is called `id`.
    pub(super) fn encode(&self, id: Guid) -> Vec<u8> {
        let mut parameters = self.block.to_le_bytes().to_vec();
        parameters.extend_from_slice(&u32::from(self.fixed).to_le_bytes());
        let sector = self.sector.to_le_bytes().to_vec();
        let items = [
            (PARAMETERS, REQUIRED, parameters),
            (
                SIZE,
                REQUIRED | VIRTUAL_DISK,
                self.size.to_le_bytes().to_vec(),
            ),
            (PAGE83, REQUIRED | VIRTUAL_DISK, id.to_vec()),
            (LOGICAL, REQUIRED | VIRTUAL_DISK, sector.clone()),
            (PHYSICAL, REQUIRED | VIRTUAL_DISK, sector),
        ];
        let mut bytes = vec![0; TABLE];
        bytes[..8].copy_from_slice(SIGNATURE);
        put_le16(&mut bytes, 10, 5);
        let mut values = Vec::new();
        for (number, (id, flags, value)) in items.into_iter().enumerate() {
            let at = (number + 1) * ENTRY;
            let offset = u32::try_from(TABLE + values.len()).unwrap_or(0);
            let length = u32::try_from(value.len()).unwrap_or(0);
            bytes[at..at + 16].copy_from_slice(&id);
            put_le32(&mut bytes, at + 16, offset);
            put_le32(&mut bytes, at + 20, length);
            put_le32(&mut bytes, at + 24, flags);
            values.extend_from_slice(&value);
        }
        bytes.extend_from_slice(&values);
        bytes
    }
}
