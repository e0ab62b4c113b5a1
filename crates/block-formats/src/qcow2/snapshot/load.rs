//! Showing a snapshot read-only in place of the active state.

use qapi::{Error, Result};

use super::{EINVAL, ENOENT, by_errno, check_l1};
use crate::qcow2::Qcow2;

/// Shows the snapshot with this id, this name, or both.
pub(super) async fn load(image: &Qcow2, id: Option<&str>, name: Option<&str>) -> Result<()> {
    if !image.read_only() {
        return Err(Error::new("Device is not readonly").errno(EINVAL));
    }
    let entries = image.snapshots.get().entries;
    let fits = |want: Option<&str>, have: &[u8]| want.is_none_or(|w| w.as_bytes() == have);
    let found = entries
        .iter()
        .find(|e| (id.is_some() || name.is_some()) && fits(id, &e.id) && fits(name, &e.name));
    let entry = found.ok_or_else(|| Error::new("Can't find snapshot").errno(ENOENT))?;
    check_l1(entry, image.cluster_size())?;
    let _still = image.stand_still().await;
    let show = async {
        let frozen = image.freeze().await?;
        frozen.read_l1(entry.l1_offset, entry.l1_size).await
    };
    let mut l1 = show
        .await
        .map_err(|e| by_errno(&e).prefix("Failed to read snapshot L1 table: "))?;
    l1.resize(l1.len().max(image.l1_len(image.size())), 0);
    image.show_l1(l1).await;
    Ok(())
}
