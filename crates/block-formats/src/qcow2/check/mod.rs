//! Check and repair.
//!
//! All metadata is walked and every cluster's uses are counted ([`walk`], [`tables`]); the counts are compared with the
//! refcounts ([`compare`]), then the "copied" flags with the refcounts ([`copied`]). Repairs write what must be raised or cut in
//! place; refcounts whose own structure is broken are built anew in unused space and switched to by one header write
//! ([`rebuild`]). What is said, counted and repaired, and in which order, is the reference's.

mod compare;
mod copied;
mod counts;
mod reader;
mod rebuild;
mod snapshots;
mod tables;
mod walk;

use std::io;

use block_core::{BoxFuture, Check, CheckReport, CheckRequest, Fix};
use qapi::{Error, Result};

use self::counts::Counts;
use super::Qcow2;
use super::header::incompatible;
use super::open::read_words;
use super::snapshot::frozen::Frozen;
use super::snapshot::table::Table;

const EFBIG: i32 = 27;
/// More clusters than this are not counted.
const MAX_CLUSTERS: u64 = i32::MAX as u64;
/// Bits of a refcount table entry that hold no offset.
const TABLE_RESERVED: u64 = 0x1ff;

/// One run of the check.
struct Run<'a> {
    image: &'a Qcow2,
    /// The metadata's roots, and the file.
    frozen: Frozen,
    fix: Fix,
    report: CheckReport,
    detail: &'a mut (dyn FnMut(&str) + Send),
    counts: Counts,
    /// Length of the file in bytes.
    length: u64,
    snapshots: Table,
    /// The refcount structure itself is broken.
    rebuild: bool,
    /// An entry of the active mapping lacks the flag that says that its cluster has one use.
    unflagged: bool,
}

impl Run<'_> {
    fn say(&mut self, line: &str) {
        (self.detail)(line);
    }

    /// Tells of an error in the image.
    fn corrupt(&mut self, line: &str) {
        self.report.corruptions += 1;
        self.say(line);
    }

    /// `Repairing` if errors are repaired, else `ERROR`.
    fn verb(&self) -> &'static str {
        if self.fix.errors {
            "Repairing"
        } else {
            "ERROR"
        }
    }

    fn bits(&self) -> u32 {
        self.frozen.bits()
    }

    fn cluster_size(&self) -> u64 {
        1 << self.bits()
    }

    fn has_data_file(&self) -> bool {
        self.frozen.header.has_data_file()
    }

    /// Forgets what was counted.
    fn start_over(&mut self) {
        self.counts = Counts::new(self.counts.clusters());
    }

    /// The file may have become longer or shorter.
    fn measure(&mut self) -> io::Result<()> {
        self.length = self.frozen.file.node().length()?;
        let clusters = self.length.div_ceil(self.cluster_size());
        if clusters > MAX_CLUSTERS {
            return Err(io::Error::from_raw_os_error(EFBIG));
        }
        self.counts.grow(clusters);
        Ok(())
    }

    /// Counts all uses.
    async fn count_all(&mut self, fix: bool) -> io::Result<()> {
        self.count(0, self.cluster_size());
        let header = &self.frozen.header;
        let active = (header.l1_offset, header.l1_size);
        self.walk(active, true, fix).await?;
        self.count_snapshots(fix).await?;
        let (offset, clusters) = (
            self.frozen.header.refcount_table_offset,
            u64::from(self.frozen.header.refcount_table_clusters),
        );
        self.count(offset, clusters * self.cluster_size());
        self.count_encryption();
        self.count_bitmaps().await?;
        self.count_blocks(fix).await
    }

    async fn refcounts(&mut self) -> io::Result<()> {
        self.measure()?;
        let size = self.frozen.header.size.next_multiple_of(512);
        self.report.total_clusters = size.div_ceil(self.cluster_size());
        self.count_all(self.fix.errors).await?;
        let before = self.report.clone();
        let highest = self.compare(Fix::default()).await?;
        let highest = if self.rebuild && self.fix.errors {
            self.rebuild_and_compare(highest).await?
        } else if self.fix == Fix::default() {
            highest
        } else if self.rebuild {
            self.say("ERROR need to rebuild refcount structures");
            self.report.check_errors += 1;
            return Err(io::Error::from_raw_os_error(5));
        } else if self.report.leaks > 0 || self.report.corruptions > 0 {
            self.report = before;
            self.compare(self.fix).await?
        } else {
            highest
        };
        if !self.copied_is_sound() {
            self.check_copied().await?;
        }
        self.report.image_end_offset = (highest + 1) * self.cluster_size();
        Ok(())
    }

    /// Every refcount is as counted, no cluster has two uses, and every entry says so: nothing is left to compare.
    fn copied_is_sound(&self) -> bool {
        let report = &self.report;
        let sound = report.corruptions == 0 && report.leaks == 0 && report.check_errors == 0;
        let repaired = report.corruptions_fixed > 0 || report.leaks_fixed > 0;
        sound && !repaired && !self.unflagged && !self.counts.any_shared() && !self.has_data_file()
    }

    async fn rebuild_and_compare(&mut self, highest: u64) -> io::Result<u64> {
        let old = self.report.clone();
        self.say("Rebuilding refcount structure");
        self.build_refcounts().await?;
        (self.report.corruptions, self.report.leaks) = (0, 0);
        self.rebuild = false;
        let fragments = self.report.clone();
        self.start_over();
        self.count_all(false).await?;
        // These were counted before.
        self.report.allocated_clusters = fragments.allocated_clusters;
        self.report.fragmented_clusters = fragments.fragmented_clusters;
        self.report.compressed_clusters = fragments.compressed_clusters;
        let (mut fresh, mut highest) = (0, highest);
        if self.fix.leaks {
            let saved = std::mem::take(&mut self.report);
            let leaks = Fix {
                leaks: true,
                errors: false,
            };
            highest = self.compare(leaks).await?;
            if self.rebuild {
                self.say("ERROR rebuilt refcount structure is still broken");
            }
            fresh = self.report.leaks;
            self.report = saved;
        }
        self.report.corruptions_fixed += old.corruptions.saturating_sub(self.report.corruptions);
        self.report.leaks_fixed += old.leaks.saturating_sub(self.report.leaks);
        self.report.leaks += fresh;
        Ok(highest)
    }
}

impl Check for Qcow2 {
    fn check<'a>(&'a self, request: CheckRequest<'a>) -> BoxFuture<'a, Result<CheckReport>> {
        Box::pin(check(self, request))
    }
}

async fn check<'a>(image: &'a Qcow2, request: CheckRequest<'a>) -> Result<CheckReport> {
    let failed = |e: &io::Error| Error::from_io("Check failed", e);
    let _still = image.stand_still().await;
    let fixing = request.fix != Fix::default();
    let mut run = start(image, request).await.map_err(|e| failed(&e))?;
    let table = run.read_snapshots().await?;
    let result = run.refcounts().await;
    run.report.corruptions += table.corruptions;
    run.report.corruptions_fixed += table.corruptions_fixed;
    let repaired = match result {
        Ok(()) => run.write_snapshots(&table).await,
        Err(error) => Err(error),
    };
    let (report, end) = (run.report, run.frozen.file);
    if !fixing {
        return repaired.map(|()| report).map_err(|e| failed(&e));
    }
    end.flush().await.map_err(|e| failed(&e))?;
    image.reload().await.map_err(|e| failed(&e))?;
    repaired.map_err(|e| failed(&e))?;
    if report.check_errors == 0 && report.corruptions == 0 {
        image.mark_sound().await.map_err(|e| failed(&e))?;
    }
    Ok(report)
}

async fn start<'a>(image: &'a Qcow2, request: CheckRequest<'a>) -> io::Result<Run<'a>> {
    let mut frozen = image.freeze().await?;
    let header = &frozen.header;
    let words = u64::from(header.refcount_table_clusters) << (header.cluster_bits - 3);
    let words = usize::try_from(words).unwrap_or(0);
    // As stored: reserved bits count here.
    frozen.refcount_table = read_words(&frozen.file, header.refcount_table_offset, words).await?;
    Ok(Run {
        image,
        frozen,
        fix: request.fix,
        report: CheckReport::default(),
        detail: request.detail,
        counts: Counts::default(),
        length: 0,
        snapshots: Table::default(),
        rebuild: false,
        unflagged: false,
    })
}

impl Qcow2 {
    /// Takes the marks off that say that something is or may be wrong.
    async fn mark_sound(&self) -> io::Result<()> {
        let marks = incompatible::DIRTY | incompatible::CORRUPT;
        if self.header().await.incompatible & marks == 0 {
            return Ok(());
        }
        self.change_header(|header| header.incompatible &= !marks)
            .await
    }

    /// Repairs an image that was not closed by its last writer.
    ///
    /// # Errors
    /// `Could not repair dirty image: …`
    pub(super) async fn repair_dirty(&self) -> Result<()> {
        if self.header().await.incompatible & incompatible::DIRTY == 0 {
            return Ok(());
        }
        let request = CheckRequest {
            fix: Fix {
                leaks: true,
                errors: true,
            },
            detail: &mut |line| eprintln!("{line}"),
        };
        let failed = |errno| Error::with_errno("Could not repair dirty image", errno);
        match check(self, request).await {
            Ok(report) if report.check_errors == 0 => Ok(()),
            Ok(_) => Err(failed(5)),
            Err(error) => Err(failed(error.errno_value().unwrap_or(5))),
        }
    }
}
