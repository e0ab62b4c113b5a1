//! The region table: where the table of blocks and the metadata are.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use block_core::Edge;
use qapi::Result;

use super::header::{Guid, Header, MIB, guid, is_whole, seal};
use crate::bytes::{le32, le64, put_le32, put_le64};
use crate::read_only::could_not_open;

/// Where the two copies of the table are.
pub(super) const PLACES: [u64; 2] = [192 << 10, 256 << 10];
/// Bytes of a copy.
pub(super) const TABLE: usize = 64 << 10;
/// The table of blocks.
pub(super) const BAT: Guid = [
    0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08,
];
/// The metadata.
pub(super) const METADATA: Guid = [
    0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e,
];

const SIGNATURE: &[u8] = b"regi";
const HEAD: usize = 16;
const ENTRY: usize = 32;
const MAX_ENTRIES: u32 = 2047;

const EINVAL: i32 = 22;
const ENOTSUP: i32 = 95;

/// Where things are in the file, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Regions {
    pub(super) bat: Range<u64>,
    pub(super) metadata: Range<u64>,
    /// These two, others, and the log.
    pub(super) all: Vec<Range<u64>>,
}

impl Regions {
    /// Reads the first copy that is good.
    ///
    /// # Errors
    /// When none is, regions overlap, or one is needed that is not known.
    pub(super) async fn read(file: &Arc<Edge>, header: &Header) -> Result<Self> {
        let name = file.node().filename().to_owned();
        let log = header.log_offset..header.log_offset + u64::from(header.log_length);
        let mut failure = EINVAL;
        for place in PLACES {
            let mut bytes = vec![0; TABLE];
            let read = file.read(place, &mut bytes).await;
            read.map_err(|e: io::Error| could_not_open(&name, e.raw_os_error().unwrap_or(5)))?;
            if !bytes.starts_with(SIGNATURE) || !is_whole(&bytes) {
                continue;
            }
            match Self::decode(&bytes, log.clone()) {
                Ok(regions) => return Ok(regions),
                Err(errno) => failure = errno,
            }
        }
        Err(could_not_open(&name, failure))
    }

    fn decode(bytes: &[u8], log: Range<u64>) -> Result<Self, i32> {
        let count = le32(bytes, 8);
        if count > MAX_ENTRIES {
            return Err(EINVAL);
        }
        let (mut bat, mut metadata) = (None, None);
        let mut all = vec![log];
        for entry in bytes[HEAD..].chunks_exact(ENTRY).take(count as usize) {
            let (id, required) = (guid(entry, 0), le32(entry, 28) & 1 != 0);
            let region = region(le64(entry, 16), le32(entry, 24)).ok_or(EINVAL)?;
            if all.iter().any(|other| overlap(other, &region)) {
                return Err(EINVAL);
            }
            let known = match id {
                BAT => &mut bat,
                METADATA => &mut metadata,
                _ if required => return Err(ENOTSUP),
                _ => {
                    all.push(region);
                    continue;
                }
            };
            if known.replace(region.clone()).is_some() {
                return Err(EINVAL);
            }
            all.push(region);
        }
        match (bat, metadata) {
            (Some(bat), Some(metadata)) => Ok(Self { bat, metadata, all }),
            _ => Err(EINVAL),
        }
    }

    /// Both copies of a table of two regions.
    pub(super) fn encode(bat: Range<u64>, metadata: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0; TABLE];
        bytes[..4].copy_from_slice(SIGNATURE);
        put_le32(&mut bytes, 8, 2);
        for (at, id, region) in [(HEAD, BAT, bat), (HEAD + ENTRY, METADATA, metadata)] {
            bytes[at..at + 16].copy_from_slice(&id);
            put_le64(&mut bytes, at + 16, region.start);
            let length = u32::try_from(region.end - region.start).unwrap_or(u32::MAX);
            put_le32(&mut bytes, at + 24, length);
            // Whoever opens the image has to know it.
            put_le32(&mut bytes, at + 28, 1);
        }
        seal(&mut bytes);
        bytes
    }
}

fn region(start: u64, length: u32) -> Option<Range<u64>> {
    let end = start.checked_add(length.into())?;
    let good = start >= MIB && start.is_multiple_of(MIB) && end <= i64::MAX as u64;
    good.then_some(start..end)
}

/// Whether two ranges share bytes.
pub(super) fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}
