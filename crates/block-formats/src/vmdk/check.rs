//! Checks an image: every entry leads to a grain inside its file.

use std::io;

use block_core::{BoxFuture, Check, CheckReport, CheckRequest};
use qapi::Result;

use super::Vmdk;
use super::extent::Extent;
use super::grains::ZERO;
use crate::make::unsupported;

impl Vmdk {
    /// The first sector of the disk whose grain cannot be, with the words for it.
    async fn first_wrong(&self) -> io::Result<Option<String>> {
        for extent in &self.extents {
            if let Some(words) = wrong_in(extent).await? {
                return Ok(Some(words));
            }
        }
        Ok(None)
    }
}

async fn wrong_in(extent: &Extent) -> io::Result<Option<String>> {
    let Some(sparse) = extent.sparse() else {
        return Ok(None);
    };
    let length = extent.file.node().length()?;
    let mut first = None;
    let grains = extent.len.div_ceil(sparse.core.block);
    sparse
        .core
        .tables
        .scan(|index, raw| {
            let nothing = raw == 0 || (raw == ZERO && sparse.zero_grains);
            if nothing || index >= grains || raw * 512 < length || first.is_some() {
                return;
            }
            first = Some((extent.start + index * sparse.core.block) / 512);
        })
        .await?;
    Ok(first.map(|sector| format!("ERROR: cluster offset for sector {sector} points after EOF")))
}

impl Check for Vmdk {
    fn check<'a>(&'a self, request: CheckRequest<'a>) -> BoxFuture<'a, Result<CheckReport>> {
        Box::pin(async move {
            if request.fix.leaks || request.fix.errors {
                return Err(unsupported("This image format does not support repairs"));
            }
            let failed = |e: io::Error| qapi::Error::from_io("Could not check the image", &e);
            let mut report = CheckReport::default();
            if let Some(words) = self.first_wrong().await.map_err(failed)? {
                (request.detail)(&words);
                report.corruptions = 1;
            }
            Ok(report)
        })
    }
}
