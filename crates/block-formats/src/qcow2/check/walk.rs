//! What mappings use: L1 tables, L2 tables and all that they point to.

use std::io;
use std::sync::Arc;

use block_core::WriteFlags;

use super::Run;
use super::reader::TableReader;
use crate::qcow2::layout::{COMPRESSED, COPIED, L1_RESERVED, L2_RESERVED, OFFSET_MASK, ZERO};
use crate::qcow2::snapshot::frozen::be_words;

/// Bits of allocated subclusters.
const ALLOCATED: u64 = 0xffff_ffff;

/// What an L2 entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Compressed,
    /// With a place in the file, zero or not.
    Placed,
    ZeroPlain,
    Unallocated,
}

/// How an L2 entry is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    pub(super) extended: bool,
    pub(super) data_file: bool,
}

impl Reader {
    pub(super) fn kind(self, entry: u64) -> Kind {
        if entry & COMPRESSED != 0 {
            return Kind::Compressed;
        }
        let placed = entry & OFFSET_MASK != 0;
        let zero = entry & ZERO != 0 && !self.extended;
        // Offset 0 of a data file is a place like any other.
        if placed || (self.data_file && !zero && entry & COPIED != 0) {
            Kind::Placed
        } else if zero {
            Kind::ZeroPlain
        } else {
            Kind::Unallocated
        }
    }

    /// Words of an entry.
    pub(super) fn step(self) -> usize {
        if self.extended { 2 } else { 1 }
    }
}

/// One entry of the table at hand.
struct Entry {
    index: usize,
    word: u64,
    bitmap: u64,
    table: u64,
    active: bool,
}

impl Run<'_> {
    pub(super) fn reader(&self) -> Reader {
        Reader {
            extended: self.frozen.header.extended_l2(),
            data_file: self.has_data_file(),
        }
    }

    /// Counts the clusters of a region once.
    pub(super) fn count(&mut self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        let cluster = self.cluster_size();
        let end = offset.saturating_add(len);
        if end >= self.length.saturating_add(cluster) {
            self.corrupt(&format!(
                "ERROR: counting reference for region exceeding the end of the file by one cluster or more: \
                 offset 0x{offset:x} size 0x{len:x}"
            ));
            return;
        }
        let most = crate::qcow2::refcount::max(self.frozen.order());
        let bits = self.bits();
        let (first, last) = (offset >> bits, (end - 1) >> bits);
        if self.counts.add_unbounded(first, last - first + 1, most) {
            return;
        }
        for number in first..=last {
            if !self.counts.add_below(number, most) {
                self.corrupt(&format!(
                    "ERROR: overflow cluster offset=0x{:x}",
                    number * cluster
                ));
                self.say(
                    "Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a clean \
                     copy if the image cannot be opened for writing",
                );
            }
        }
    }

    /// Walks a mapping: its L1 table is at an offset and has so many entries.
    pub(super) async fn walk(&mut self, l1: (u64, u32), active: bool, fix: bool) -> io::Result<()> {
        let (offset, len) = l1;
        self.count(offset, u64::from(len) * 8);
        let mut entries = match self.frozen.read_l1(offset, len).await {
            Ok(entries) => entries,
            Err(error) => {
                self.say("ERROR: I/O error in check_refcounts_l1");
                self.report.check_errors += 1;
                return Err(error);
            }
        };
        entries.retain(|entry| *entry != 0);
        let entries = Arc::new(entries);
        let list = (Arc::clone(&entries), OFFSET_MASK);
        let mut tables = TableReader::new(&self.frozen.file, self.cluster_size(), list, fix);
        for entry in entries.iter().copied() {
            self.unflagged |= active && entry & COPIED == 0;
            if entry & L1_RESERVED != 0 {
                self.corrupt(&format!(
                    "ERROR found L1 entry with reserved bits set: {entry:x}"
                ));
            }
            let table = entry & OFFSET_MASK;
            self.count(table, self.cluster_size());
            if !table.is_multiple_of(self.cluster_size()) {
                self.corrupt(&format!(
                    "ERROR l2_offset={table:x}: Table is not cluster aligned; L1 entry corrupted"
                ));
            }
            match tables.next().await {
                Ok(bytes) => self.walk_table((table, bytes), active, fix).await?,
                Err(error) => {
                    self.say("ERROR: I/O error in check_refcounts_l2");
                    self.report.check_errors += 1;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn walk_table(
        &mut self,
        (table, bytes): (u64, &[u8]),
        active: bool,
        fix: bool,
    ) -> io::Result<()> {
        let reader = self.reader();
        let step = reader.step() * 8;
        let plain = !reader.extended && !reader.data_file;
        let (mut index, mut next) = (0, 0);
        while let Some(rest) = bytes.get(index * step..).filter(|rest| !rest.is_empty()) {
            let run = if plain { self.plain_run(rest) } else { 0 };
            if run > 0 {
                self.count_run(word_at(rest, 0), run, active, &mut next);
                index += usize::try_from(run).unwrap_or(usize::MAX);
                continue;
            }
            let word = word_at(rest, 0);
            let bitmap = if reader.extended { word_at(rest, 1) } else { 0 };
            // Most of a sparse image: nothing to look at.
            if word != 0 || bitmap != 0 {
                let entry = Entry {
                    index,
                    word,
                    bitmap,
                    table,
                    active,
                };
                if self
                    .entry(&entry, reader.kind(word), &mut next, fix)
                    .await?
                {
                    return Ok(());
                }
            }
            index += 1;
        }
        Ok(())
    }

    /// How many entries at the front of a table are data in clusters one behind the other, inside of the file, with nothing
    /// to find fault with.
    fn plain_run(&self, table: &[u8]) -> u64 {
        let cluster = self.cluster_size();
        let first = word_at(table, 0);
        let offset = first & OFFSET_MASK;
        if offset == 0 || first & !(OFFSET_MASK | COPIED) != 0 || !offset.is_multiple_of(cluster) {
            return 0;
        }
        let inside = self.length.saturating_sub(offset) / cluster;
        let run = be_words(table)
            .zip((first..).step_by(usize::try_from(cluster).unwrap_or(usize::MAX)))
            .take_while(|(word, expected)| word == expected)
            .count();
        inside.min(run as u64)
    }

    /// Counts what [`Run::plain_run`] found.
    fn count_run(&mut self, first: u64, clusters: u64, active: bool, next: &mut u64) {
        let offset = first & OFFSET_MASK;
        let len = clusters * self.cluster_size();
        if active {
            self.unflagged |= first & COPIED == 0;
            self.report.allocated_clusters += clusters;
            self.report.fragmented_clusters += u64::from(*next != 0 && offset != *next);
            *next = offset + len;
        }
        self.count(offset, len);
    }

    /// Looks at one entry. `true`: nothing more of this table is to be looked at.
    async fn entry(
        &mut self,
        entry: &Entry,
        kind: Kind,
        next: &mut u64,
        fix: bool,
    ) -> io::Result<bool> {
        let word = entry.word;
        if kind != Kind::Compressed && word & L2_RESERVED != 0 {
            self.corrupt(&format!(
                "ERROR found l2 entry with reserved bits set: {word:x}"
            ));
        }
        match kind {
            Kind::Compressed => self.compressed(entry),
            Kind::Placed => return self.placed(entry, next, fix).await,
            Kind::ZeroPlain => {}
            Kind::Unallocated => {
                if entry.bitmap & ALLOCATED != 0 {
                    self.corrupt(
                        "ERROR: Unallocated cluster has non-zero subcluster allocation map",
                    );
                }
            }
        }
        Ok(false)
    }

    fn compressed(&mut self, entry: &Entry) {
        let bits = 62 - (self.bits() - 8);
        let offset_mask = (1_u64 << bits) - 1;
        let mut word = entry.word;
        if word & COPIED != 0 {
            self.corrupt(&format!(
                "ERROR: coffset=0x{:x}: copied flag must never be set for compressed clusters",
                word & offset_mask
            ));
            word &= !COPIED;
        }
        let index = entry.index;
        if self.has_data_file() {
            self.corrupt(&format!(
                "ERROR compressed cluster {index} with data file, entry=0x{word:x}"
            ));
            return;
        }
        if entry.bitmap != 0 {
            self.corrupt(&format!(
                "ERROR compressed cluster {index} with non-zero subcluster allocation bitmap, entry=0x{word:x}"
            ));
            return;
        }
        let offset = word & offset_mask;
        let sectors = ((word & !COMPRESSED) >> bits) + 1;
        self.count(offset, sectors * 512 - offset % 512);
        if entry.active {
            self.report.allocated_clusters += 1;
            self.report.compressed_clusters += 1;
            self.report.fragmented_clusters += 1;
        }
    }

    async fn placed(&mut self, entry: &Entry, next: &mut u64, fix: bool) -> io::Result<bool> {
        let offset = entry.word & OFFSET_MASK;
        self.unflagged |= entry.active && entry.word & COPIED == 0;
        if (entry.bitmap >> 32) & entry.bitmap != 0 {
            self.corrupt(&format!(
                "ERROR offset={offset:x}: Allocated cluster has corrupted subcluster allocation bitmap"
            ));
        }
        if !offset.is_multiple_of(self.cluster_size()) {
            let has_data = if self.reader().extended {
                entry.bitmap & ALLOCATED != 0
            } else {
                entry.word & ZERO == 0
            };
            if has_data {
                self.corrupt(&format!(
                    "ERROR offset={offset:x}: Data cluster is not properly aligned; L2 entry corrupted."
                ));
            } else {
                let verb = if fix { "Repairing" } else { "ERROR" };
                self.corrupt(&format!(
                    "{verb} offset={offset:x}: Preallocated cluster is not properly aligned; L2 entry corrupted."
                ));
                if fix {
                    match self.zero_entry(entry).await {
                        Repair::Done => return Ok(false),
                        Repair::Failed => {}
                        Repair::Overlap => return Ok(true),
                    }
                }
            }
        }
        if entry.active {
            self.report.allocated_clusters += 1;
            if *next != 0 && offset != *next {
                self.report.fragmented_clusters += 1;
            }
            *next = offset + self.cluster_size();
        }
        if !self.has_data_file() {
            self.count(offset, self.cluster_size());
        }
        Ok(false)
    }

    /// Makes an entry without data a plain zero cluster, in the file.
    async fn zero_entry(&mut self, entry: &Entry) -> Repair {
        let reader = self.reader();
        let size = reader.step() as u64 * 8;
        let at = entry.table + entry.index as u64 * size;
        let owner = self.image.metadata_at(entry.table >> self.bits()).await;
        if owner.is_some_and(|name| name != "active L2 table") {
            self.say("ERROR: Overlap check failed");
            self.report.check_errors += 1;
            return Repair::Overlap;
        }
        let (word, bitmap) = if reader.extended {
            let zero = (entry.bitmap | (entry.bitmap << 32)) & !ALLOCATED;
            (0, zero)
        } else {
            (ZERO, 0)
        };
        let mut bytes = word.to_be_bytes().to_vec();
        if reader.extended {
            bytes.extend_from_slice(&u64::to_be_bytes(bitmap));
        }
        let file = &self.frozen.file;
        if let Err(error) = file.write(at, &bytes, WriteFlags::default()).await {
            let errno = error.raw_os_error().unwrap_or(5);
            self.say(&format!(
                "ERROR: Failed to overwrite L2 table entry: {}",
                qapi::strerror(errno)
            ));
            self.report.check_errors += 1;
            return Repair::Failed;
        }
        self.report.corruptions -= 1;
        self.report.corruptions_fixed += 1;
        Repair::Done
    }
}

/// A big-endian word of a table; 0 behind its end.
fn word_at(table: &[u8], index: usize) -> u64 {
    let bytes = table.get(index * 8..index * 8 + 8);
    bytes
        .and_then(|word| word.try_into().ok())
        .map_or(0, u64::from_be_bytes)
}

/// What became of a repair.
enum Repair {
    Done,
    Failed,
    /// The table lies in other metadata.
    Overlap,
}
