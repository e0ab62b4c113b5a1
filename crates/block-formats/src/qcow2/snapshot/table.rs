//! The snapshot table as bytes (qcow2 interoperability document, "Snapshots").
//!
//! ```text
//! entry: l1_offset u64, l1_size u32, id_len u16, name_len u16, date_sec u32, date_nsec u32,
//!        vm_clock u64, vm_state_size u32, extra_len u32      (40 bytes, big endian)
//!        extra data: vm_state_size u64, disk_size u64, icount u64, then what we do not know
//!        id, name, zeroes up to a multiple of 8
//! ```
//!
//! Extra data may be shorter (older writers) or longer (newer ones, kept as it is). Every entry we write has
//! at least the three known fields.

use qapi::Error;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use block_core::SnapshotInfo;

/// Longest table in bytes.
pub(in crate::qcow2) const MAX_TABLE_BYTES: u64 = 64 << 20;
/// Longest extra data of one entry in bytes.
const MAX_EXTRA: usize = 1024;
/// Bytes of an entry before its extra data.
const FIXED: usize = size_of::<RawEntry>();
/// Bytes of the extra data that we know.
const KNOWN_EXTRA: usize = 24;
/// Names longer than this are cut when shown and when made, as by the reference.
const MAX_NAME: usize = 255;
/// Ids longer than this are cut when shown.
const MAX_ID: usize = 127;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    l1_offset: U64,
    l1_size: U32,
    id_len: U16,
    name_len: U16,
    date_sec: U32,
    date_nsec: U32,
    vm_clock_nsec: U64,
    vm_state_size: U32,
    extra_len: U32,
}

/// One entry; everything needed to write it again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::qcow2) struct Entry {
    /// Where its L1 table is.
    pub(in crate::qcow2) l1_offset: u64,
    /// Entries of its L1 table.
    pub(in crate::qcow2) l1_size: u32,
    /// Unique id.
    pub(in crate::qcow2) id: Vec<u8>,
    /// Tag.
    pub(in crate::qcow2) name: Vec<u8>,
    pub(in crate::qcow2) date_sec: u32,
    pub(in crate::qcow2) date_nsec: u32,
    pub(in crate::qcow2) vm_clock_nsec: u64,
    pub(in crate::qcow2) vm_state_size: u64,
    /// Bytes; `None` when the entry does not say it (the image's size then).
    pub(in crate::qcow2) disk_size: Option<u64>,
    pub(in crate::qcow2) icount: Option<u64>,
    /// Extra data behind the known fields.
    pub(in crate::qcow2) unknown_extra: Vec<u8>,
}

impl Entry {
    /// What `info` and `snapshot -l` show, `size` being the image's own.
    pub(in crate::qcow2) fn info(&self, size: u64) -> SnapshotInfo {
        SnapshotInfo {
            id: shown(&self.id, MAX_ID),
            name: shown(&self.name, MAX_NAME),
            vm_state_size: self.vm_state_size,
            date_sec: self.date_sec,
            date_nsec: self.date_nsec,
            vm_clock_nsec: self.vm_clock_nsec,
            icount: self.icount,
            disk_size: self.disk_size.unwrap_or(size),
        }
    }

    /// An entry for a new snapshot; its L1 table has no place yet.
    pub(in crate::qcow2) fn new(info: &SnapshotInfo, id: String) -> Self {
        Self {
            id: id.into_bytes(),
            name: shown(info.name.as_bytes(), MAX_NAME).into_bytes(),
            date_sec: info.date_sec,
            date_nsec: info.date_nsec,
            vm_clock_nsec: info.vm_clock_nsec,
            vm_state_size: info.vm_state_size,
            disk_size: Some(info.disk_size),
            icount: info.icount,
            ..Self::default()
        }
    }

    /// Bytes it takes in the table.
    pub(in crate::qcow2) fn encoded_len(&self) -> usize {
        (FIXED + KNOWN_EXTRA + self.unknown_extra.len() + self.id.len() + self.name.len())
            .next_multiple_of(8)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let len16 = |bytes: &[u8]| U16::new(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        let extra_len = KNOWN_EXTRA + self.unknown_extra.len();
        let raw = RawEntry {
            l1_offset: U64::new(self.l1_offset),
            l1_size: U32::new(self.l1_size),
            id_len: len16(&self.id),
            name_len: len16(&self.name),
            date_sec: U32::new(self.date_sec),
            date_nsec: U32::new(self.date_nsec),
            vm_clock_nsec: U64::new(self.vm_clock_nsec),
            vm_state_size: U32::new(u32::try_from(self.vm_state_size).unwrap_or(0)),
            extra_len: U32::new(u32::try_from(extra_len).unwrap_or(u32::MAX)),
        };
        out.extend_from_slice(raw.as_bytes());
        for known in [
            self.vm_state_size,
            self.disk_size.unwrap_or(0),
            self.icount.unwrap_or(u64::MAX),
        ] {
            out.extend_from_slice(&known.to_be_bytes());
        }
        for part in [&self.unknown_extra, &self.id, &self.name] {
            out.extend_from_slice(part);
        }
        out.resize(start + self.encoded_len(), 0);
    }
}

fn shown(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The table for these entries.
pub(in crate::qcow2) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.iter().map(Entry::encoded_len).sum());
    for entry in entries {
        entry.encode(&mut out);
    }
    out
}

/// How strict the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::qcow2) enum Reading {
    /// Refuses what is over a limit.
    Strict,
    /// Drops what is over a limit, to write the rest back (`check -r all`).
    Repair,
}

/// A table read from an image.
#[derive(Debug, Default)]
pub(in crate::qcow2) struct Table {
    /// Entries in order.
    pub(in crate::qcow2) entries: Vec<Entry>,
    /// Bytes it takes in the image.
    pub(in crate::qcow2) bytes: u64,
    /// Entries left away ([`Reading::Repair`]).
    pub(in crate::qcow2) dropped: u32,
    /// Entries whose extra data was cut ([`Reading::Repair`]).
    pub(in crate::qcow2) cut: u32,
    /// What is to be said of both.
    pub(in crate::qcow2) notes: Vec<String>,
}

/// Reads the table entry by entry from bytes that arrive piece by piece.
pub(in crate::qcow2) struct Decoder {
    reading: Reading,
    count: u32,
    table: Table,
}

/// What the decoder says of the bytes it was given.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::qcow2) enum Step {
    /// An entry was taken: so many bytes are used up.
    Used(usize),
    /// At least so many bytes are needed from here.
    Need(usize),
    /// The table is complete.
    Done,
}

impl Decoder {
    /// For a table of `count` entries.
    pub(in crate::qcow2) fn new(count: u32, reading: Reading) -> Self {
        Self {
            reading,
            count,
            table: Table::default(),
        }
    }

    /// The finished table.
    pub(in crate::qcow2) fn finish(self) -> Table {
        self.table
    }

    /// Takes the next entry from the bytes behind the previous one.
    ///
    /// # Errors
    /// In the reference's words when a limit is exceeded.
    pub(in crate::qcow2) fn step(&mut self, bytes: &[u8]) -> qapi::Result<Step> {
        let index = self.table.entries.len();
        let taken = u32::try_from(index).unwrap_or(u32::MAX);
        if taken >= self.count {
            return Ok(Step::Done);
        }
        let Ok((raw, rest)) = RawEntry::read_from_prefix(bytes) else {
            return Ok(Step::Need(FIXED));
        };
        let extra_len = usize::try_from(raw.extra_len.get()).unwrap_or(usize::MAX);
        if extra_len > MAX_EXTRA && self.reading == Reading::Strict {
            return Err(too_much(&format!(
                "Too much extra metadata in snapshot table entry {index}"
            ))
            .hint("You can force-remove this extra metadata with qemu-img check -r all"));
        }
        let (id_len, name_len) = (
            usize::from(raw.id_len.get()),
            usize::from(raw.name_len.get()),
        );
        let used = extra_len
            .saturating_add(FIXED + id_len + name_len)
            .saturating_add(7)
            & !7;
        let total = self.table.bytes.saturating_add(used as u64);
        if total > MAX_TABLE_BYTES {
            let over = self.count - taken;
            if self.reading == Reading::Strict {
                return Err(too_much("Snapshot table is too big").hint(format!(
                    "You can force-remove all {over} overhanging snapshots with qemu-img check -r all"
                )));
            }
            self.table.dropped = over;
            self.table.notes.push(format!(
                "Discarding {over} overhanging snapshots (snapshot table is too big)"
            ));
            self.count = taken;
            return Ok(Step::Done);
        }
        if rest.len() < used - FIXED {
            return Ok(Step::Need(used));
        }
        let (extra, strings) = rest.split_at(extra_len);
        if extra_len > MAX_EXTRA {
            self.table.cut += 1;
            self.table.notes.push(format!(
                "Discarding too much extra metadata in snapshot table entry {index} ({extra_len} > {MAX_EXTRA})"
            ));
        }
        let kept = &extra[..extra_len.min(MAX_EXTRA)];
        let entry = entry(
            &raw,
            kept,
            &strings[..id_len],
            &strings[id_len..][..name_len],
        );
        self.table.entries.push(entry);
        self.table.bytes = total;
        Ok(Step::Used(used))
    }
}

fn entry(raw: &RawEntry, extra: &[u8], id: &[u8], name: &[u8]) -> Entry {
    let known = |at: usize| {
        let bytes = extra.get(at..at + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    };
    Entry {
        l1_offset: raw.l1_offset.get(),
        l1_size: raw.l1_size.get(),
        id: id.to_vec(),
        name: name.to_vec(),
        date_sec: raw.date_sec.get(),
        date_nsec: raw.date_nsec.get(),
        vm_clock_nsec: raw.vm_clock_nsec.get(),
        vm_state_size: known(0).unwrap_or_else(|| u64::from(raw.vm_state_size.get())),
        disk_size: known(8),
        icount: known(16).filter(|count| *count != u64::MAX),
        unknown_extra: extra.get(KNOWN_EXTRA..).unwrap_or_default().to_vec(),
    }
}

fn too_much(message: &str) -> Error {
    const EFBIG: i32 = 27;
    Error::new(message).errno(EFBIG)
}
