//! How large a file an image will need.

use block_core::{MeasureRequest, MeasureResult, MeasureSource, Root};
use block_jobs::status_above;
use qapi::{Dict, Error};

use crate::open::Session;
use crate::registry::find_format;

/// Measures an image of `format` with create options `options`, to hold what `source` holds.
///
/// # Errors
/// In QEMU's words.
pub async fn measure(
    format: &str,
    options: &Dict,
    source: Option<&Root>,
    session: &Session,
) -> qapi::Result<MeasureResult> {
    let source = match source {
        Some(root) => Some(look_at(root).await?),
        None => None,
    };
    let request = MeasureRequest {
        options,
        source,
        object: &|id| session.objects.find(id),
    };
    if format == "raw" {
        return Ok(block_formats::raw::measure(&request));
    }
    match find_format(format).and_then(|driver| driver.measure) {
        Some(measure) => measure(&request),
        None => Err(Error::new(format!(
            "Block driver '{format}' does not support size measurement"
        ))),
    }
}

async fn look_at(root: &Root) -> qapi::Result<MeasureSource> {
    let length = root
        .length()
        .map_err(|e| Error::from_io("Unable to get image virtual_size", &e))?;
    let mut data: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < length {
        let status = status_above(root, None, at, length - at)
            .await
            .map_err(|e| Error::from_io("Unable to get block status", &e))?;
        if !status.zero && status.data && status.allocated {
            match data.last_mut() {
                Some((start, len)) if *start + *len == at => *len += status.len,
                _ => data.push((at, status.len)),
            }
        }
        at += status.len;
    }
    let node = root.node();
    let bitmaps = node.format().and_then(|f| f.bitmaps()).map(|b| b.list());
    Ok(MeasureSource {
        length,
        data,
        bitmaps,
    })
}
