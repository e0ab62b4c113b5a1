//! What tables use beside mappings: snapshots' L1 tables, bitmaps, refcount blocks.

use std::io;

use block_core::Preallocation;

use super::{MAX_CLUSTERS, Run, TABLE_RESERVED};
use crate::qcow2::bitmap;
use crate::qcow2::bitmap::directory::Location;
use crate::qcow2::encryption;
use crate::qcow2::header::{MAX_L1_BYTES, autoclear, extension};
use crate::qcow2::layout::OFFSET_MASK;
use crate::qcow2::overlap::hex;

const EINVAL: i32 = 22;
/// Bits of a bitmap table entry that must be 0.
const BITMAP_RESERVED: u64 = 0xff00_0000_0000_01fe;

impl Run<'_> {
    pub(super) async fn count_snapshots(&mut self, fix: bool) -> io::Result<()> {
        let entries = std::mem::take(&mut self.snapshots.entries);
        if self.has_data_file() && !entries.is_empty() {
            self.corrupt(&format!(
                "ERROR {} snapshots in image with data file",
                entries.len()
            ));
        }
        for entry in &entries {
            let who = format!(
                "{} ({})",
                String::from_utf8_lossy(&entry.id),
                String::from_utf8_lossy(&entry.name)
            );
            if !entry.l1_offset.is_multiple_of(self.cluster_size()) {
                self.corrupt(&format!(
                    "ERROR snapshot {who} l1_offset={}: L1 table is not cluster aligned; snapshot table entry corrupted",
                    hex(entry.l1_offset)
                ));
            } else if u64::from(entry.l1_size) * 8 > MAX_L1_BYTES {
                self.corrupt(&format!(
                    "ERROR snapshot {who} l1_size={}: L1 table is too large; snapshot table entry corrupted",
                    hex(u64::from(entry.l1_size))
                ));
            } else {
                self.walk((entry.l1_offset, entry.l1_size), false, fix)
                    .await?;
            }
        }
        self.snapshots.entries = entries;
        let offset = self.frozen.header.snapshots_offset;
        self.count(offset, self.snapshots.bytes);
        Ok(())
    }

    /// The LUKS header with its slots.
    pub(super) fn count_encryption(&mut self) {
        match encryption::luks_area(&self.frozen.header) {
            Ok(Some((offset, len))) => self.count(offset, len),
            Ok(None) => {}
            Err(error) => {
                self.say(&format!("ERROR {}", error.message()));
                self.report.check_errors += 1;
            }
        }
    }

    pub(super) async fn count_bitmaps(&mut self) -> io::Result<()> {
        let header = &self.frozen.header;
        let Some(payload) = header.extension(extension::BITMAPS) else {
            return Ok(());
        };
        if header.autoclear & autoclear::BITMAPS == 0 {
            return Ok(());
        }
        let cluster = self.cluster_size();
        let failed = |run: &mut Self, errno| {
            run.report.check_errors += 1;
            Err(io::Error::from_raw_os_error(errno))
        };
        let Ok(location) = Location::decode(payload, cluster) else {
            return failed(self, EINVAL);
        };
        self.count(location.offset, location.size);
        let (file, size) = (self.frozen.file.clone(), self.frozen.header.size);
        let Ok(entries) = bitmap::read_directory(&file, location, size, cluster).await else {
            return failed(self, EINVAL);
        };
        for entry in entries {
            self.count(entry.table_offset, u64::from(entry.table_size) * 8);
            let table = match self
                .frozen
                .read_l1(entry.table_offset, entry.table_size)
                .await
            {
                Ok(table) => table,
                Err(error) => return failed(self, error.raw_os_error().unwrap_or(EINVAL)),
            };
            for word in table {
                let offset = word & OFFSET_MASK;
                let both = word & 1 != 0 && offset != 0;
                if word & BITMAP_RESERVED != 0 || both || !offset.is_multiple_of(cluster) {
                    self.report.corruptions += 1;
                } else if offset != 0 {
                    self.count(offset, cluster);
                }
            }
        }
        Ok(())
    }

    /// Counts refcount blocks, each of which must be used exactly once.
    pub(super) async fn count_blocks(&mut self, fix: bool) -> io::Result<()> {
        for index in 0..self.frozen.refcount_table.len() {
            let entry = self.frozen.refcount_table[index];
            let offset = entry & !TABLE_RESERVED;
            if entry & TABLE_RESERVED != 0 {
                self.corrupt(&format!(
                    "ERROR refcount table entry {index} has reserved bits set"
                ));
                self.rebuild = true;
            } else if !offset.is_multiple_of(self.cluster_size()) {
                self.corrupt(&format!(
                    "ERROR refcount block {index} is not cluster aligned; refcount table entry corrupted"
                ));
                self.rebuild = true;
            } else if offset >> self.bits() >= self.counts.clusters() {
                self.outside(index, offset, fix).await;
            } else if offset != 0 {
                self.count(offset, self.cluster_size());
                let uses = self.counts.get(offset >> self.bits());
                if uses != 1 {
                    self.corrupt(&format!("ERROR refcount block {index} refcount={uses}"));
                    self.rebuild = true;
                }
            }
        }
        Ok(())
    }

    /// A refcount block behind the end of the file: the file becomes longer.
    async fn outside(&mut self, index: usize, offset: u64, fix: bool) {
        let verb = if fix { "Repairing" } else { "ERROR" };
        self.corrupt(&format!("{verb} refcount block {index} is outside image"));
        if !fix {
            return;
        }
        let grown = self.reach(offset).await;
        match grown {
            Ok(()) => {
                self.report.corruptions -= 1;
                self.report.corruptions_fixed += 1;
                self.count(offset, self.cluster_size());
            }
            Err(error) => {
                self.rebuild = true;
                let errno = error.raw_os_error().unwrap_or(EINVAL);
                self.say(&format!(
                    "ERROR could not resize image: {}",
                    qapi::strerror(errno)
                ));
            }
        }
    }

    async fn reach(&mut self, offset: u64) -> io::Result<()> {
        let invalid = || io::Error::from_raw_os_error(EINVAL);
        let end = offset
            .checked_add(self.cluster_size())
            .ok_or_else(invalid)?;
        if end >> self.bits() > MAX_CLUSTERS || i64::try_from(end).is_err() {
            return Err(invalid());
        }
        let file = &self.frozen.file;
        file.truncate(end, Preallocation::Off)
            .await
            .map_err(|e| io::Error::from_raw_os_error(e.errno_value().unwrap_or(EINVAL)))?;
        self.measure()
    }
}
