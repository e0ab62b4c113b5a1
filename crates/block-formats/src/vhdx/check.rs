//! Checks where blocks are. What the log held was made when the image was opened, which counts as a repair.

use std::sync::atomic::Ordering;

use block_core::{BoxFuture, CheckReport, CheckRequest};
use qapi::{Error, Result};

use super::{Vhdx, bat};
use crate::blocks::{Checker, Core};

impl Checker for Vhdx {
    fn check<'a>(
        &'a self,
        core: &'a Core,
        request: CheckRequest<'a>,
    ) -> BoxFuture<'a, Result<CheckReport>> {
        Box::pin(async move {
            let mut report = CheckReport::default();
            if self.replayed.swap(false, Ordering::AcqRel) {
                report.corruptions_fixed = 1;
            }
            let length = core.file.node().length();
            let length = length.map_err(|e| {
                Error::from_io("Could not determine the size of the VHDX image", &e)
            })?;
            let detail = request.detail;
            bat::faults(&core.tables, &self.layout, length, &self.regions, |fault| {
                report.corruptions += 1;
                detail(&fault);
            })
            .await
            .map_err(|e| Error::from_io("Could not read the VHDX block table", &e))?;
            Ok(report)
        })
    }
}
