//! Going back to a snapshot.

use std::io;

use qapi::{Error, Result};

use super::shadow::Shadow;
use super::table::Entry;
use super::{EINVAL, ENOENT, ENOTSUP, by_errno, check_l1, find, l1_bytes, switch};
use crate::qcow2::Qcow2;

const EBUSY: i32 = 16;

/// Makes the state of snapshot `key` the active one.
pub(super) async fn apply(image: &Qcow2, key: &str) -> Result<()> {
    if !image.bitmaps.is_empty() {
        return Err(Error::new("Device has active dirty bitmaps").errno(EBUSY));
    }
    go_back(image, key)
        .await
        .map_err(|e| e.prefix("Failed to load snapshot: "))
}

async fn go_back(image: &Qcow2, key: &str) -> Result<()> {
    let errno = |errno| by_errno(&io::Error::from_raw_os_error(errno));
    let _still = image.stand_still().await;
    let entries = image.snapshots.get().entries;
    let entry = &entries[find(&entries, key).ok_or_else(|| errno(ENOENT))?];
    if image.has_data_file() {
        return Err(errno(ENOTSUP));
    }
    check_l1(entry, image.cluster_size())?;
    let size = entry.disk_size.unwrap_or_else(|| image.size());
    if !size.is_multiple_of(512) {
        return Err(Error::new("The new size must be a multiple of 512").errno(EINVAL));
    }
    if size != image.size() && image.version() < 3 {
        return Err(Error::new("Can't resize a v2 image which has snapshots").errno(ENOTSUP));
    }
    let result = take_over(image, entry, size).await;
    result.map_err(|e| by_errno(&e))
}

async fn take_over(image: &Qcow2, entry: &Entry, size: u64) -> io::Result<()> {
    let frozen = image.freeze().await?;
    let (old_l1, old_offset) = (frozen.l1.clone(), frozen.header.l1_offset);
    let mut shadow = Shadow::new(frozen).await?;
    let prepared = async {
        let mut l1 = shadow.old().read_l1(entry.l1_offset, entry.l1_size).await?;
        l1.resize(l1.len().max(image.l1_len(size)).max(1), 0);
        shadow.count(&l1, 1).await?;
        shadow.count(&old_l1, -1).await?;
        shadow.free(old_offset, old_l1.len() as u64 * 8)?;
        shadow.fix_copied(&mut l1).await?;
        Ok((shadow.write(&l1_bytes(&l1)).await?, l1.len()))
    };
    match prepared.await {
        Ok(l1) => switch(image, shadow, l1, size, image.snapshots.get()).await,
        Err(error) => {
            shadow.abandon().await;
            Err(error)
        }
    }
}
