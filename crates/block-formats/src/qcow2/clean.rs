//! Tables that nobody uses leave memory (`cache-clean-interval`).

use std::sync::Arc;

use super::slices::SliceCache;
use super::{Meta, Qcow2};

/// Drops what was not looked at since the last call. What the file does not have yet stays.
pub(super) async fn drop_unused(slices: &SliceCache, meta: &tokio::sync::Mutex<Meta>) {
    // Held, as by everybody who changes what is kept: a slice that is about to be changed stays where it is found.
    let mut meta = meta.lock().await;
    let slices = slices.drop_unused();
    let blocks = meta.refcounts.drop_unused();
    tracing::debug!(slices, blocks, "unused tables are dropped");
}

impl Qcow2 {
    /// Drops unused tables from now on, as often as the options say.
    pub(super) fn start_cleaning(&mut self) {
        let (slices, meta) = (Arc::clone(&self.slices), Arc::clone(&self.meta));
        self.cleaning = self.options.clean_interval.and_then(|interval| {
            reactor::every(interval, move || {
                let (slices, meta) = (Arc::clone(&slices), Arc::clone(&meta));
                async move { drop_unused(&slices, &meta).await }
            })
        });
    }
}
