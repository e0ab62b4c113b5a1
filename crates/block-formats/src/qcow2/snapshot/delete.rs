//! Dropping a snapshot.

use std::io;

use qapi::{Error, Result};

use super::shadow::Shadow;
use super::{ENOENT, Stored, by_errno, check_l1, find, l1_bytes, switch, table};
use crate::qcow2::Qcow2;

/// Drops snapshot `key`.
pub(super) async fn delete(image: &Qcow2, key: &str) -> Result<()> {
    let _still = image.stand_still().await;
    let old = image.snapshots.get();
    let at =
        find(&old.entries, key).ok_or_else(|| Error::new("snapshot not found").errno(ENOENT))?;
    check_l1(&old.entries[at], image.cluster_size())?;
    let result = drop_one(image, &old, at).await;
    result.map_err(|e| by_errno(&e))
}

async fn drop_one(image: &Qcow2, old: &Stored, at: usize) -> io::Result<()> {
    let frozen = image.freeze().await?;
    let (mut l1, l1_place) = (
        frozen.l1.clone(),
        (frozen.header.l1_offset, frozen.l1_bytes()),
    );
    let mut entries = old.entries.clone();
    let gone = entries.remove(at);
    let mut shadow = Shadow::new(frozen).await?;
    let prepared = async {
        let gone_l1 = shadow.old().read_l1(gone.l1_offset, gone.l1_size).await?;
        shadow.count(&gone_l1, -1).await?;
        shadow.free(gone.l1_offset, u64::from(gone.l1_size) * 8)?;
        shadow.free(old.offset, old.bytes)?;
        shadow.fix_copied(&mut l1).await?;
        let l1_offset = shadow.write(&l1_bytes(&l1)).await?;
        shadow.free(l1_place.0, l1_place.1)?;
        let bytes = table::encode(&entries);
        let new = Stored {
            offset: shadow.write(&bytes).await?,
            bytes: bytes.len() as u64,
            entries,
        };
        Ok((l1_offset, new))
    };
    match prepared.await {
        Ok((l1_offset, new)) => {
            switch(image, shadow, (l1_offset, l1.len()), image.size(), new).await
        }
        Err(error) => {
            shadow.abandon().await;
            Err(error)
        }
    }
}
