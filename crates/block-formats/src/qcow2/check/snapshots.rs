//! The snapshot table: read leniently, and written anew when something in it had to be dropped.

use std::io;

use block_core::CheckReport;
use qapi::{Error, Result};

use super::Run;
use crate::qcow2::header::MAX_SNAPSHOTS;
use crate::qcow2::snapshot::shadow::Shadow;
use crate::qcow2::snapshot::table::{self, Reading};
use crate::qcow2::snapshot::{self, Stored};

/// Tells of an error that ends the check.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: Error) -> Error {
    qapi::report(&error);
    Error::with_errno("Check failed", error.errno_value().unwrap_or(5))
}

impl Run<'_> {
    /// Reads the table. What is counted here is told apart from the rest: it decides on rewriting the table.
    pub(super) async fn read_snapshots(&mut self) -> Result<CheckReport> {
        let mut found = CheckReport::default();
        let header = &self.frozen.header;
        let (offset, mut count) = (header.snapshots_offset, header.nb_snapshots);
        let mut reduced = 0;
        if count > MAX_SNAPSHOTS && self.fix.errors {
            reduced = u64::from(count - MAX_SNAPSHOTS);
            self.say(&format!("Discarding {reduced} overhanging snapshots"));
            count = MAX_SNAPSHOTS;
        }
        let reading = if self.fix.errors {
            Reading::Repair
        } else {
            Reading::Strict
        };
        self.frozen.header.nb_snapshots = count;
        if let Err(mut error) = self.frozen.header.check_snapshot_table("snapshot table") {
            if count > MAX_SNAPSHOTS {
                let over = count - MAX_SNAPSHOTS;
                error = error.hint(format!(
                    "You can force-remove all {over} overhanging snapshots with qemu-img check -r all"
                ));
            }
            return Err(told(error.prefix("ERROR ")));
        }
        let place = (offset, count);
        let table = snapshot::read_table(&self.frozen.file, place, reading)
            .await
            .map_err(|e| told(e.prefix("ERROR failed to read the snapshot table: ")))?;
        for note in &table.notes {
            self.say(note);
        }
        reduced += u64::from(table.dropped);
        found.corruptions += reduced + u64::from(table.cut);
        let left = u32::try_from(table.entries.len()).unwrap_or(count);
        if reduced > 0 {
            let change = self
                .image
                .change_header(|header| header.nb_snapshots = left);
            change
                .await
                .map_err(|e| Error::from_io("Check failed", &e))?;
            self.frozen.header.nb_snapshots = left;
            found.corruptions -= reduced;
            found.corruptions_fixed += reduced;
        }
        if self.frozen.header.version >= 3 {
            for (index, entry) in table.entries.iter().enumerate() {
                if entry.disk_size.is_none() {
                    found.corruptions += 1;
                    let line =
                        format!("{} snapshot table entry {index} is incomplete", self.verb());
                    self.say(&line);
                }
            }
        }
        self.snapshots = table;
        Ok(found)
    }

    /// Writes the table anew, if it had errors and they are to be repaired.
    pub(super) async fn write_snapshots(&mut self, found: &CheckReport) -> io::Result<()> {
        if found.corruptions == 0 || !self.fix.errors {
            return Ok(());
        }
        let image = self.image;
        image.reload().await?;
        let frozen = image.freeze().await?;
        let size = image.size();
        let mut entries = self.snapshots.entries.clone();
        for entry in &mut entries {
            entry.disk_size.get_or_insert(size);
        }
        let l1 = (frozen.header.l1_offset, frozen.l1.len());
        let old = (frozen.header.snapshots_offset, self.snapshots.bytes);
        let mut shadow = Shadow::new(frozen).await?;
        shadow.free(old.0, old.1)?;
        let bytes = table::encode(&entries);
        let new = Stored {
            offset: shadow.write(&bytes).await?,
            bytes: bytes.len() as u64,
            entries,
        };
        snapshot::switch(image, shadow, l1, size, new).await?;
        self.report.corruptions -= found.corruptions;
        self.report.corruptions_fixed += found.corruptions;
        Ok(())
    }
}
