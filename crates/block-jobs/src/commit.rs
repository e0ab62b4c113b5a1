//! Brings what the upper layers of a chain hold down into one below them.

use std::num::NonZeroU64;
use std::sync::Arc;

use block_core::{Node, Preallocation, Root};
use qapi::Error;

use crate::convert::{ConvertError, ConvertOptions, RUN, Source, Zeroes, convert};
use crate::watch::Watch;

/// How to commit.
#[derive(Debug, Clone, Copy)]
pub struct CommitOptions {
    /// Drop the top's content when all of it is in the base.
    pub empty_top: bool,
    /// Most bytes written in a second.
    pub rate: Option<NonZeroU64>,
    /// Workers that run side by side, at least 1.
    pub workers: usize,
    /// Look at all block status first, so that progress counts only what is copied.
    pub count_first: bool,
}

/// Writes everything that `top` and the layers between hold above `base` into `base`, a writable hold on one of
/// the layers below `top`, which is `layer` in the top's own chain; a base that is too short grows first. The base is on stable storage before the top is
/// emptied, so a crash at any point leaves the top's content readable through the top.
///
/// # Errors
/// In QEMU's words.
pub async fn commit(
    top: Arc<Root>,
    base: Arc<Root>,
    layer: Arc<Node>,
    options: CommitOptions,
    watch: Arc<dyn Watch>,
) -> qapi::Result<()> {
    let length = |root: &Root| {
        root.length()
            .map_err(|e| Error::from_io("unable to get the length of an image", &e))
    };
    let len = length(&top)?;
    if length(&base)? < len {
        base.truncate(len, Preallocation::Off).await.map_err(|e| {
            e.prefix(format!(
                "Could not resize base image {}: ",
                base.node().filename()
            ))
        })?;
    }
    let source = Source {
        root: Arc::clone(&top),
        from: 0,
        len,
        base: Some(layer),
    };
    let how = ConvertOptions {
        zeroes: Zeroes::AsTold,
        workers: options.workers,
        rate: options.rate,
        count_first: options.count_first,
        // A base that was written to and emptied in places has holes, which such runs leave to its metadata.
        piece: RUN,
        ..ConvertOptions::default()
    };
    convert(vec![source], Arc::clone(&base), how, watch)
        .await
        .map_err(failed)?;
    base.flush()
        .await
        .map_err(|e| failed(ConvertError::Write(0, e)))?;
    if options.empty_top {
        empty(&top).await?;
    }
    Ok(())
}

/// QEMU commits by a background job and tells only why that failed.
fn failed(error: ConvertError) -> Error {
    match error {
        ConvertError::Cancelled => error.into(),
        ConvertError::Status(_, e) | ConvertError::Read(_, e) | ConvertError::Write(_, e) => {
            Error::from_io("Block job failed", &e)
        }
    }
}

async fn empty(top: &Root) -> qapi::Result<()> {
    let node = top.node();
    let drained = top.drain().await;
    let result = match node.format().and_then(|f| f.empty()) {
        Some(format) => format.make_empty().await,
        // What the overlay holds is what the base holds now: it stays.
        None => Ok(()),
    };
    drop(drained);
    result.map_err(|e| match e.errno_value() {
        Some(errno) => Error::with_errno(format!("Failed to empty {}", node.filename()), errno),
        None => e,
    })
}

#[cfg(test)]
mod tests;
