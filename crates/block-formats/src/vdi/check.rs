//! Checks the array of block numbers: no block twice, none out of range, as many as the header says.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use block_core::{BoxFuture, CheckReport, CheckRequest};
use qapi::{Error, Result};

use super::{DISCARDED, Vdi};
use crate::blocks::{Checker, Core};
use crate::make::unsupported;

/// Uses of blocks, one bit each where the numbers are dense.
#[derive(Default)]
struct Seen(HashMap<u64, u64>);

impl Seen {
    /// Whether a block was used before.
    fn again(&mut self, number: u64) -> bool {
        let word = self.0.entry(number / 64).or_default();
        let bit = 1 << (number % 64);
        std::mem::replace(word, *word | bit) & bit != 0
    }
}

impl Checker for Vdi {
    fn check<'a>(
        &'a self,
        core: &'a Core,
        request: CheckRequest<'a>,
    ) -> BoxFuture<'a, Result<CheckReport>> {
        Box::pin(async move {
            if request.fix.leaks || request.fix.errors {
                return Err(unsupported("This image format does not support repairs"));
            }
            let mut report = CheckReport::default();
            let (mut seen, mut allocated) = (Seen::default(), 0_u64);
            let detail = request.detail;
            core.tables
                .scan(|index, number| {
                    if number >= DISCARDED {
                        return;
                    }
                    if number >= self.blocks {
                        report.corruptions += 1;
                        detail(&format!(
                            "ERROR: block index {index} too large, is {number}"
                        ));
                        return;
                    }
                    allocated += 1;
                    if seen.again(number) {
                        report.corruptions += 1;
                        detail(&format!(
                            "ERROR: block index {number} also used by {number}"
                        ));
                    }
                })
                .await
                .map_err(|e| Error::from_io("Could not read the VDI block map", &e))?;
            let told = self.told.load(Ordering::Relaxed);
            if allocated != told {
                report.corruptions += 1;
                detail(&format!(
                    "ERROR: allocated blocks mismatch, is {allocated}, should be {told}"
                ));
            }
            Ok(report)
        })
    }
}
