//! Checks and repairs a parallels image, in the reference's order and words.

use std::collections::HashMap;
use std::io;
use std::sync::{MutexGuard, PoisonError};

use block_core::{BoxFuture, CheckReport, CheckRequest, Fix, Preallocation};
use qapi::{Error, Result};

use super::header::DATA_AT;
use super::{Parallels, State};
use crate::blocks::{Checker, Core};

/// Bytes of a cluster that are copied together.
const PIECE: u64 = 1 << 20;
/// Entries that are checked: what is known of them is kept in memory.
const MAX_ENTRIES: u64 = 1 << 26;

struct Run<'a> {
    image: &'a Parallels,
    core: &'a Core,
    fix: Fix,
    detail: &'a mut (dyn FnMut(&str) + Send),
    report: CheckReport,
    /// Places by entry, with what the repair made of them.
    places: Vec<u64>,
}

impl Run<'_> {
    fn verb(&self) -> &'static str {
        if self.fix.errors {
            "Repairing"
        } else {
            "ERROR"
        }
    }

    /// Tells of an error, and counts it.
    fn error(&mut self, words: &str) {
        let line = format!("{} {words}", self.verb());
        (self.detail)(&line);
        self.report.corruptions += 1;
        if self.fix.errors {
            self.report.corruptions_fixed += 1;
        }
    }

    fn length(&self) -> io::Result<u64> {
        self.core.file.node().length()
    }

    fn unclean(&mut self) {
        if self.image.state().unclean {
            self.error("image was not closed correctly");
            if self.fix.errors {
                self.image.state().unclean = false;
            }
        }
    }

    async fn data_offset(&mut self) -> io::Result<()> {
        let (start, good) = self.image.header.data_start(self.length()?);
        if good || self.image.state().data != start {
            return Ok(());
        }
        self.error("data_off field has incorrect value");
        if self.fix.errors {
            let sectors = u32::try_from(start / 512).unwrap_or(u32::MAX);
            self.core.write(DATA_AT, &sectors.to_le_bytes()).await?;
        }
        Ok(())
    }

    async fn outside(&mut self) -> io::Result<()> {
        let (length, cluster) = (self.length()?, self.image.cluster);
        let mut highest = 0;
        for index in 0..self.places.len() {
            let at = self.places[index] * self.image.unit;
            if at + cluster > length {
                self.error(&format!("cluster {index} is outside image"));
                if self.fix.errors {
                    self.places[index] = 0;
                    self.core.tables.set(index as u64, 0).await?;
                }
            } else {
                highest = highest.max(at);
            }
        }
        self.report.image_end_offset = if highest == 0 {
            self.core.next()
        } else {
            self.core.set_next(highest + cluster);
            highest + cluster
        };
        Ok(())
    }

    async fn leak(&mut self, tell: bool) -> Result<()> {
        let failed = |e: io::Error| Error::from_io("Could not check the image", &e);
        let (length, end) = (self.length().map_err(failed)?, self.report.image_end_offset);
        if length <= end {
            return Ok(());
        }
        let count = (length - end).div_ceil(self.image.cluster);
        if tell {
            let verb = if self.fix.leaks { "Repairing" } else { "ERROR" };
            let lost = length - end;
            (self.detail)(&format!(
                "{verb} space leaked at the end of the image {lost}"
            ));
            self.report.leaks += count;
        }
        if self.fix.leaks {
            self.core.file.truncate(end, Preallocation::Off).await?;
            if tell {
                self.report.leaks_fixed += count;
            }
        }
        Ok(())
    }

    /// Gives an entry that shares its block a copy of its own.
    async fn duplicates(&mut self) -> io::Result<bool> {
        let (mut users, mut copied) = (HashMap::new(), false);
        for index in 0..self.places.len() {
            let place = self.places[index];
            if place == 0 || users.insert(place, index).is_none() {
                continue;
            }
            self.error(&format!("duplicate offset in BAT entry {index}"));
            if self.fix.errors {
                self.copy(index, place).await?;
                copied = true;
            }
        }
        Ok(copied)
    }

    async fn copy(&mut self, index: usize, place: u64) -> io::Result<()> {
        let (cluster, unit) = (self.image.cluster, self.image.unit);
        let at = self.core.allocate(cluster, unit)?;
        let mut bytes = vec![0; usize::try_from(cluster.min(PIECE)).unwrap_or(0)];
        for done in (0..cluster).step_by(bytes.len().max(1)) {
            let left = usize::try_from(cluster - done).unwrap_or(usize::MAX);
            let piece = bytes.len().min(left);
            let piece = &mut bytes[..piece];
            self.core.file.read(place * unit + done, piece).await?;
            self.core.write(at + done, piece).await?;
        }
        self.core.tables.set(index as u64, at / unit).await?;
        self.places[index] = at / unit;
        self.report.image_end_offset = self.report.image_end_offset.max(at + cluster);
        Ok(())
    }

    fn statistics(&mut self) {
        let (cluster, mut last) = (self.image.cluster, 0);
        self.report.total_clusters = self.places.len() as u64;
        for place in &self.places {
            let at = place * self.image.unit;
            if at == 0 || at + cluster > self.report.image_end_offset {
                last = 0;
                continue;
            }
            if last != 0 && last + cluster != at {
                self.report.fragmented_clusters += 1;
            }
            last = at;
            self.report.allocated_clusters += 1;
        }
    }
}

impl Parallels {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn check_all(&self, core: &Core, request: CheckRequest<'_>) -> Result<CheckReport> {
        let failed = |e: io::Error| Error::from_io("Could not check the image", &e);
        if core.tables.room() > MAX_ENTRIES {
            return Err(Error::new("The image has too many clusters to be checked"));
        }
        let mut places = Vec::new();
        let scanned = core.tables.scan(|_, raw| places.push(raw)).await;
        scanned.map_err(failed)?;
        let mut run = Run {
            image: self,
            core,
            fix: request.fix,
            detail: request.detail,
            report: CheckReport::default(),
            places,
        };
        let was_unclean = self.state().unclean;
        run.unclean();
        run.data_offset().await.map_err(failed)?;
        run.outside().await.map_err(failed)?;
        run.leak(true).await?;
        if run.duplicates().await.map_err(failed)? {
            core.tables.write_out().await.map_err(failed)?;
            run.leak(false).await?;
        }
        run.statistics();
        core.tables.write_out().await.map_err(failed)?;
        if was_unclean && !self.state().unclean {
            self.mark(core, 0).await.map_err(failed)?;
        }
        core.file.flush().await.map_err(failed)?;
        let mut report = run.report;
        // What was repaired is told apart from what is left.
        report.corruptions -= report.corruptions_fixed;
        report.leaks -= report.leaks_fixed;
        Ok(report)
    }
}

impl Checker for Parallels {
    fn check<'a>(
        &'a self,
        core: &'a Core,
        request: CheckRequest<'a>,
    ) -> BoxFuture<'a, Result<CheckReport>> {
        Box::pin(self.check_all(core, request))
    }
}
