//! Checks and repairs a qed image: every table and cluster inside the file and used once.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering::Acquire;

use block_core::{BoxFuture, CheckReport, CheckRequest, Fix};
use qapi::{Error, Result};

use super::header::NEED_CHECK;
use super::{Qed, ZERO};
use crate::blocks::{Checker, Core};

/// Clusters in use, one bit each where the numbers are dense: an image that says it is huge takes no more memory than
/// what it maps.
#[derive(Default)]
struct Used(HashMap<u64, u64>);

impl Used {
    /// Marks a cluster; whether it was marked before.
    fn again(&mut self, cluster: u64) -> bool {
        let word = self.0.entry(cluster / 64).or_default();
        let bit = 1 << (cluster % 64);
        std::mem::replace(word, *word | bit) & bit != 0
    }

    /// How many clusters from `first` on are in use.
    fn count_from(&self, first: u64) -> u64 {
        let counts = self
            .0
            .iter()
            .map(|(word, bits)| match word.cmp(&(first / 64)) {
                Ordering::Less => 0,
                Ordering::Equal => (bits >> (first % 64)).count_ones(),
                Ordering::Greater => bits.count_ones(),
            });
        counts.map(u64::from).sum()
    }
}

struct Walk<'a> {
    qed: &'a Qed,
    /// Length of the file in whole clusters, in bytes.
    length: u64,
    table_bytes: u64,
    used: Used,
    report: CheckReport,
    fix: bool,
}

impl Walk<'_> {
    /// Marks a run of clusters; `false` when one of them was in use.
    fn mark(&mut self, offset: u64, bytes: u64) -> bool {
        let cluster = self.qed.cluster;
        let mut once = true;
        for number in offset / cluster..(offset + bytes) / cluster {
            if self.used.again(number) {
                self.report.corruptions += 1;
                once = false;
            }
        }
        once
    }

    fn bad(&mut self) {
        if self.fix {
            self.report.corruptions_fixed += 1;
        } else {
            self.report.corruptions += 1;
        }
    }

    fn is_table(&self, offset: u64) -> bool {
        let last = offset.checked_add(self.table_bytes - self.qed.cluster);
        self.qed.is_cluster(offset, self.length)
            && last.is_some_and(|last| self.qed.is_cluster(last, self.length))
    }

    /// Looks at entries of a table; gives back those to be cleared.
    fn entries(&mut self, entries: &[(u64, u64)]) -> Vec<u64> {
        let (mut last, mut wrong) = (0_u64, Vec::new());
        for (index, offset) in entries.iter().copied() {
            if offset == 0 || offset == ZERO {
                continue;
            }
            self.report.allocated_clusters += 1;
            if last != 0 && last.checked_add(self.qed.cluster) != Some(offset) {
                self.report.fragmented_clusters += 1;
            }
            last = offset;
            if self.qed.is_cluster(offset, self.length) {
                self.mark(offset, self.qed.cluster);
            } else {
                self.bad();
                wrong.push(index);
            }
        }
        wrong
    }
}

impl Qed {
    /// Walks all tables.
    pub(super) async fn walk(&self, core: &Core, fix: Fix) -> Result<CheckReport> {
        let failed = |e: io::Error| Error::from_io("Could not check the image", &e);
        let length = core.file.node().length().map_err(failed)?;
        let length = length - length % self.cluster;
        let (table_bytes, l1_offset) = {
            let header = self.header();
            (header.table_bytes(), header.l1_offset)
        };
        let mut walk = Walk {
            qed: self,
            length,
            table_bytes,
            used: Used::default(),
            report: CheckReport::default(),
            fix: fix.leaks || fix.errors,
        };
        walk.report.total_clusters = core.size().div_ceil(self.cluster);
        walk.mark(l1_offset, table_bytes);
        let per_table = table_bytes / 8;
        for (slot, entry) in (0..).zip(core.tables.directory()) {
            let offset = entry.load(Acquire);
            if offset == 0 {
                continue;
            }
            if !walk.is_table(offset) {
                walk.bad();
                if walk.fix {
                    core.tables.clear_table(slot * per_table);
                }
                continue;
            }
            if walk.mark(offset, table_bytes) {
                self.table(core, &mut walk, slot * per_table, per_table)
                    .await
                    .map_err(failed)?;
            }
        }
        let first = self.first / self.cluster;
        let clusters = (length / self.cluster).saturating_sub(first);
        walk.report.leaks = clusters.saturating_sub(walk.used.count_from(first));
        if walk.fix {
            core.tables.write_out().await.map_err(failed)?;
            self.mark_clean(core, &walk.report).await.map_err(failed)?;
        }
        Ok(walk.report)
    }

    async fn table(
        &self,
        core: &Core,
        walk: &mut Walk<'_>,
        first: u64,
        count: u64,
    ) -> io::Result<()> {
        let mut index = first;
        while index < first + count {
            let page = core.tables.page(index).await?;
            if page.left() == 0 {
                break;
            }
            let entries = (0..page.left()).map(|k| (index + k, page.entry(k)));
            let wrong = walk.entries(&entries.collect::<Vec<_>>());
            for index in wrong.into_iter().filter(|_| walk.fix) {
                core.tables.set(index, 0).await?;
            }
            index += page.left();
        }
        Ok(())
    }

    async fn mark_clean(&self, core: &Core, report: &CheckReport) -> io::Result<()> {
        let marked = self.header().features & NEED_CHECK != 0;
        if report.corruptions > 0 || !marked {
            return Ok(());
        }
        core.file.flush().await?;
        self.header().features &= !NEED_CHECK;
        self.write_header(core).await
    }
}

impl Checker for Qed {
    fn check<'a>(
        &'a self,
        core: &'a Core,
        request: CheckRequest<'a>,
    ) -> BoxFuture<'a, Result<CheckReport>> {
        Box::pin(self.walk(core, request.fix))
    }
}
