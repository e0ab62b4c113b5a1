//! Copies persistent bitmaps along (`--bitmaps`).

use std::sync::Arc;

use block::Root;
use block::core::BitmapInfo;
use qapi::{Error, warn};

/// Refuses before anything is copied what could not be copied after.
///
/// # Errors
/// In QEMU's words.
pub(super) fn check(sources: &[Arc<Root>], skip_broken: bool) -> qapi::Result<()> {
    let [source] = sources else {
        return Err(Error::new(
            "Copying bitmaps only possible with single source",
        ));
    };
    let node = source.node();
    let Some(bitmaps) = node.format().and_then(|f| f.bitmaps()) else {
        return Err(Error::new("Source lacks bitmap support"));
    };
    match bitmaps
        .list()
        .iter()
        .find(|b| b.inconsistent && !skip_broken)
    {
        Some(bitmap) => Err(Error::new(format!(
            "Cannot copy inconsistent bitmap '{}'",
            bitmap.name
        ))
        .hint("Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it")),
        None => Ok(()),
    }
}

/// Copies all bitmaps that are sound.
///
/// # Errors
/// `Failed to create bitmap NAME: …`, `Failed to populate bitmap NAME: …`
pub(super) async fn copy(source: &Root, target: &Root, skip_broken: bool) -> qapi::Result<()> {
    let (from, to) = (source.node(), target.node());
    let Some(bitmaps) = from.format().and_then(|f| f.bitmaps()) else {
        return Ok(());
    };
    for bitmap in bitmaps.list() {
        if bitmap.inconsistent && skip_broken {
            warn(&format!("Skipping inconsistent bitmap '{}'", bitmap.name));
            continue;
        }
        let ranges = bitmaps
            .dirty_ranges(&bitmap.name)
            .await
            .map_err(|e| e.prefix(format!("Failed to populate bitmap {}: ", bitmap.name)))?;
        copy_one(&to, &bitmap, &ranges).await?;
    }
    Ok(())
}

async fn copy_one(
    to: &block::Node,
    bitmap: &BitmapInfo,
    ranges: &[(u64, u64)],
) -> qapi::Result<()> {
    let Some(bitmaps) = to.format().and_then(|f| f.bitmaps()) else {
        return Ok(());
    };
    let name = bitmap.name.as_str();
    let create = |e: Error| e.prefix(format!("Failed to create bitmap {name}: "));
    bitmaps
        .add(name, Some(bitmap.granularity))
        .await
        .map_err(create)?;
    if !bitmap.enabled {
        bitmaps.set_enabled(name, false).await.map_err(create)?;
    }
    bitmaps
        .mark(name, ranges)
        .await
        .map_err(|e| e.prefix(format!("Failed to populate bitmap {name}: ")))
}
