//! The log: a ring of 4 KiB sectors that holds changes of metadata before they are made.
//!
//! ```text
//! entry:  "loge" sum length tail sequence count 0 log-guid flushed-end last-end | descriptors | data sectors
//! "desc" last 4 bytes, first 8 bytes, offset, sequence     a sector of metadata; its middle is in a data sector
//! "zero" 0, length, offset, sequence                       zeroes
//! "data" sequence (high), 4084 bytes, sequence (low)
//! ```
//!
//! An entry counts when its sum is right, it carries the header's GUID, and it is in a row of entries with ascending
//! sequence numbers whose last one says where the row begins. A torn entry ends a row.

use std::io;
use std::sync::Arc;

use block_core::{Edge, Preallocation, WriteFlags, ZeroFlags};
use qapi::{Error, Result};

use super::header::{Guid, Header, MIB, SECTOR, guid, seal};
use crate::blocks::errno;
use crate::bytes::{le32, le64, put_le32, put_le64};
use crate::make::invalid;

/// Bytes of an entry's own fields.
const HEAD: usize = 64;
/// Bytes of a descriptor.
const DESCRIPTOR: usize = 32;
/// Descriptors that the first sector of an entry has room for.
pub(super) const PER_ENTRY: usize = (SECTOR - HEAD) / DESCRIPTOR;
/// Sectors of the ring that are read together.
const CHUNK: u64 = 64;
/// Nothing in the log may change what is before this: the file's mark and the headers.
const GUARDED: u64 = 192 << 10;

/// The ring, read piece by piece.
struct Ring {
    file: Arc<Edge>,
    offset: u64,
    sectors: u64,
    chunk: Vec<u8>,
    /// First sector of the chunk in memory.
    first: Option<u64>,
}

/// One entry that is whole.
#[derive(Debug, Clone, Copy)]
struct Entry {
    at: u64,
    sectors: u64,
    tail: u64,
    sequence: u64,
    descriptors: u32,
    flushed: u64,
    last: u64,
}

/// What a descriptor is of.
enum Kind {
    Data,
    Zero(u64),
}

struct Descriptor {
    kind: Kind,
    offset: u64,
    leading: [u8; 8],
    trailing: [u8; 4],
}

/// Sectors that an entry's fields and descriptors take.
fn head_sectors(descriptors: u32) -> u64 {
    (u64::from(descriptors) + 2).div_ceil((SECTOR / DESCRIPTOR) as u64)
}

impl Descriptor {
    fn decode(bytes: &[u8], sequence: u64) -> Option<Self> {
        let (length, offset) = (le64(bytes, 8), le64(bytes, 16));
        let sector = SECTOR as u64;
        let kind = match bytes.get(..4)? {
            b"desc" => Kind::Data,
            b"zero" if length.is_multiple_of(sector) => Kind::Zero(length),
            _ => return None,
        };
        let good = le64(bytes, 24) == sequence && offset.is_multiple_of(sector);
        good.then(|| Self {
            kind,
            offset,
            leading: length.to_le_bytes(),
            trailing: le32(bytes, 4).to_le_bytes(),
        })
    }

    /// First byte behind what it changes.
    fn end(&self) -> Option<u64> {
        match self.kind {
            Kind::Data => self.offset.checked_add(SECTOR as u64),
            Kind::Zero(length) => self.offset.checked_add(length),
        }
    }
}

impl Ring {
    /// A sector, counted round and round.
    async fn sector(&mut self, number: u64) -> io::Result<&[u8]> {
        let number = number % self.sectors;
        let first = number - number % CHUNK;
        if self.first != Some(first) {
            let count = usize::try_from(CHUNK.min(self.sectors - first)).map_err(|_| errno(5))?;
            self.chunk.clear();
            self.chunk.resize(count * SECTOR, 0);
            let at = self.offset + first * SECTOR as u64;
            self.file.read(at, &mut self.chunk).await?;
            self.first = Some(first);
        }
        let start = usize::try_from(number - first).map_err(|_| errno(5))? * SECTOR;
        self.chunk
            .get(start..start + SECTOR)
            .ok_or_else(|| errno(5))
    }

    /// The descriptor of an entry.
    async fn descriptor(&mut self, entry: &Entry, number: u32) -> io::Result<Option<Descriptor>> {
        let at = HEAD as u64 + u64::from(number) * DESCRIPTOR as u64;
        let sector = self.sector(entry.at + at / SECTOR as u64).await?;
        let start = usize::try_from(at % SECTOR as u64).map_err(|_| errno(5))?;
        Ok(Descriptor::decode(&sector[start..], entry.sequence))
    }

    /// The entry that begins at a sector, if there is a whole one. All that it is made of is looked at in order, so that
    /// searching the ring takes time by its length only: no two entries can share sectors.
    async fn entry(&mut self, at: u64, log: &Guid) -> io::Result<Option<Entry>> {
        let sectors = self.sectors;
        let first = self.sector(at).await?;
        let length = u64::from(le32(first, 8));
        let entry = Entry {
            at,
            sectors: length / SECTOR as u64,
            tail: u64::from(le32(first, 12)) / SECTOR as u64,
            sequence: le64(first, 16),
            descriptors: le32(first, 24),
            flushed: le64(first, 48),
            last: le64(first, 56),
        };
        let good = first.starts_with(b"loge")
            && length.is_multiple_of(SECTOR as u64)
            && (head_sectors(entry.descriptors)..=sectors).contains(&entry.sectors)
            && entry.sequence != 0
            && guid(first, 32) == *log;
        if !good {
            return Ok(None);
        }
        let told = le32(first, 4);
        let sum = self.walk(&entry).await?;
        Ok((sum == Some(told)).then_some(entry))
    }

    /// The sum of an entry, if it is made as it should.
    async fn walk(&mut self, entry: &Entry) -> io::Result<Option<u32>> {
        let mut data = 0;
        let mut sum = 0;
        let heads = head_sectors(entry.descriptors);
        for k in 0..heads {
            let sector = self.sector(entry.at + k).await?;
            let start = if k == 0 { HEAD } else { 0 };
            let before = k * (SECTOR / DESCRIPTOR) as u64;
            let before = before.saturating_sub((HEAD / DESCRIPTOR) as u64);
            let left = u64::from(entry.descriptors) - before;
            let there = sector[start..].chunks_exact(DESCRIPTOR);
            for bytes in there.take(usize::try_from(left).unwrap_or(usize::MAX)) {
                match Descriptor::decode(bytes, entry.sequence) {
                    Some(found) => data += u64::from(matches!(found.kind, Kind::Data)),
                    None => return Ok(None),
                }
            }
            sum = if k == 0 {
                let start = crc32c::crc32c_append(crc32c::crc32c(&sector[..4]), &[0; 4]);
                crc32c::crc32c_append(start, &sector[8..])
            } else {
                crc32c::crc32c_append(sum, sector)
            };
        }
        if heads + data != entry.sectors {
            return Ok(None);
        }
        for k in heads..entry.sectors {
            let sector = self.sector(entry.at + k).await?;
            if !is_data(sector, entry.sequence) {
                return Ok(None);
            }
            sum = crc32c::crc32c_append(sum, sector);
        }
        Ok(Some(sum))
    }

    /// The entries that count, oldest first; none when there is no row of them.
    async fn search(&mut self, log: &Guid) -> io::Result<Search> {
        let mut best: Option<Vec<Entry>> = None;
        let (mut at, mut any) = (0, false);
        while at < self.sectors {
            let Some(first) = self.entry(at, log).await? else {
                at += 1;
                continue;
            };
            any = true;
            let mut row = vec![first];
            let mut end = at + first.sectors;
            let mut sequence = first.sequence;
            while end < at + self.sectors
                && let Some(entry) = self.entry(end % self.sectors, log).await?
                && Some(entry.sequence) == sequence.checked_add(1)
            {
                end += entry.sectors;
                sequence = entry.sequence;
                row.push(entry);
            }
            let tail = row.last().map(|head| head.tail);
            let begin = row.iter().position(|entry| Some(entry.at) == tail);
            let newest = best.as_ref().and_then(|b| b.last()).map(|e| e.sequence);
            if let Some(begin) = begin
                && newest.is_none_or(|newest| newest < sequence)
            {
                row.drain(..begin);
                best = Some(row);
            }
            at = end;
        }
        Ok(match best {
            Some(row) => Search::Row(row),
            None if any => Search::Broken,
            None => Search::Nothing,
        })
    }

    /// Makes the changes of one entry.
    async fn apply(&mut self, entry: &Entry) -> Result<()> {
        let failed = |e: io::Error| Error::from_io("Could not replay the log of the image", &e);
        let broken = || invalid("The log of the VHDX image is damaged");
        let length = self.file.node().length().map_err(failed)?;
        if entry.flushed > length {
            return Err(invalid(
                "The VHDX image is shorter than its log says it was",
            ));
        }
        let room = entry.last.checked_next_multiple_of(MIB);
        let room = room.ok_or_else(broken)?.max(length);
        let log = self.offset..self.offset + self.sectors * SECTOR as u64;
        let mut data = entry.at + head_sectors(entry.descriptors);
        for number in 0..entry.descriptors {
            let found = self.descriptor(entry, number).await.map_err(failed)?;
            let found = found.ok_or_else(broken)?;
            let end = found.end().filter(|end| *end <= room).ok_or_else(broken)?;
            if found.offset < GUARDED || (found.offset < log.end && end > log.start) {
                return Err(broken());
            }
            match found.kind {
                Kind::Zero(length) => {
                    let flags = ZeroFlags::default();
                    let zeroed = self.file.write_zeroes(found.offset, length, flags).await;
                    zeroed.map_err(failed)?;
                }
                Kind::Data => {
                    let mut sector = self.sector(data).await.map_err(failed)?.to_vec();
                    sector[..8].copy_from_slice(&found.leading);
                    sector[SECTOR - 4..].copy_from_slice(&found.trailing);
                    let flags = WriteFlags::default();
                    let written = self.file.write(found.offset, &sector, flags).await;
                    written.map_err(failed)?;
                    data += 1;
                }
            }
        }
        if length < room {
            self.file.truncate(room, Preallocation::Off).await?;
        }
        Ok(())
    }
}

/// What searching the ring gave.
enum Search {
    Nothing,
    Row(Vec<Entry>),
    /// Entries, of which the first ones are gone.
    Broken,
}

fn is_data(sector: &[u8], sequence: u64) -> bool {
    let high = u64::from(le32(sector, 4)) << 32;
    sector.starts_with(b"data") && high | u64::from(le32(sector, SECTOR - 4)) == sequence
}

/// Changes that an image needs before it can be read.
pub(super) struct Replay {
    ring: Ring,
    row: Vec<Entry>,
}

impl Replay {
    /// Looks whether there are such.
    ///
    /// # Errors
    /// What the file says, or that the log is damaged.
    pub(super) async fn find(file: &Arc<Edge>, header: &Header) -> Result<Option<Self>> {
        let failed = |e: io::Error| Error::from_io("Could not read the log of the image", &e);
        let length = file.node().length().map_err(failed)?;
        let end = header
            .log_offset
            .checked_add(header.log_length.into())
            .filter(|end| *end <= length);
        if !header.has_log() {
            return Ok(None);
        }
        if end.is_none() {
            return Err(invalid(
                "The log of the VHDX image is behind the end of the file",
            ));
        }
        let mut ring = Ring {
            file: Arc::clone(file),
            offset: header.log_offset,
            sectors: u64::from(header.log_length) / SECTOR as u64,
            chunk: Vec::new(),
            first: None,
        };
        match ring.search(&header.log).await.map_err(failed)? {
            Search::Nothing => Ok(None),
            Search::Row(row) => Ok(Some(Self { ring, row })),
            Search::Broken => Err(invalid("The log of the VHDX image is damaged")),
        }
    }

    /// Makes them, and makes sure that they are there.
    ///
    /// # Errors
    /// What the file says, or that the log is damaged.
    pub(super) async fn run(mut self) -> Result<()> {
        for entry in &self.row {
            self.ring.apply(entry).await?;
        }
        let flushed = self.ring.file.flush().await;
        flushed.map_err(|e| Error::from_io("Could not replay the log of the image", &e))
    }
}

/// An entry of the ring's first sectors with these sectors of metadata, at most [`PER_ENTRY`]; the file is `length`
/// bytes long.
pub(super) fn entry(log: &Guid, sectors: &[(u64, &[u8])], length: u64) -> Vec<u8> {
    const SEQUENCE: u64 = 1;
    let total = (1 + sectors.len()) * SECTOR;
    let mut bytes = vec![0; SECTOR];
    bytes.reserve(total - SECTOR);
    bytes[..4].copy_from_slice(b"loge");
    put_le32(&mut bytes, 8, u32::try_from(total).unwrap_or(0));
    put_le64(&mut bytes, 16, SEQUENCE);
    put_le32(&mut bytes, 24, u32::try_from(sectors.len()).unwrap_or(0));
    bytes[32..48].copy_from_slice(log);
    put_le64(&mut bytes, 48, length);
    put_le64(&mut bytes, 56, length);
    for (number, (offset, sector)) in sectors.iter().enumerate() {
        let at = HEAD + number * DESCRIPTOR;
        bytes[at..at + 4].copy_from_slice(b"desc");
        bytes[at + 4..at + 8].copy_from_slice(&sector[SECTOR - 4..]);
        bytes[at + 8..at + 16].copy_from_slice(&sector[..8]);
        put_le64(&mut bytes, at + 16, *offset);
        put_le64(&mut bytes, at + 24, SEQUENCE);
        let mut data = sector.to_vec();
        data[..4].copy_from_slice(b"data");
        put_le32(&mut data, 4, 0);
        put_le32(&mut data, SECTOR - 4, 1);
        bytes.extend_from_slice(&data);
    }
    seal(&mut bytes);
    bytes
}
