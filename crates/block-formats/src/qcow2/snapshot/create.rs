//! Taking a snapshot: it gets the L1 table there is, the active state a new one.

use std::io;

use block_core::SnapshotInfo;
use qapi::Result;

use super::shadow::Shadow;
use super::table::{self, Entry, MAX_TABLE_BYTES};
use super::{EFBIG, ENOTSUP, Stored, by_errno, l1_bytes, switch};
use crate::qcow2::Qcow2;
use crate::qcow2::header::MAX_SNAPSHOTS;

const EEXIST: i32 = 17;

/// Takes a snapshot of the active state under a new id.
pub(super) async fn create(image: &Qcow2, info: SnapshotInfo) -> Result<()> {
    let errno = |errno| by_errno(&io::Error::from_raw_os_error(errno));
    if image.has_data_file() {
        return Err(errno(ENOTSUP));
    }
    let _still = image.stand_still().await;
    let old = image.snapshots.get();
    if old.entries.len() as u64 >= u64::from(MAX_SNAPSHOTS) {
        return Err(errno(EFBIG));
    }
    let id = new_id(&old.entries);
    if old.entries.iter().any(|e| e.id == id.as_bytes()) {
        return Err(errno(EEXIST));
    }
    let mut entry = Entry::new(&info, id);
    entry.disk_size = Some(image.size());
    let needed = old.bytes + entry.encoded_len() as u64;
    if needed > MAX_TABLE_BYTES {
        return Err(errno(EFBIG));
    }
    let result = take(image, &old, entry).await;
    result.map_err(|e| by_errno(&e))
}

/// One more than the highest id there is.
fn new_id(entries: &[Entry]) -> String {
    let number = |e: &Entry| {
        let digits = e.id.iter().take_while(|c| c.is_ascii_digit());
        digits.fold(0_u64, |n, c| {
            n.saturating_mul(10).saturating_add(u64::from(c - b'0'))
        })
    };
    let highest = entries.iter().map(number).max().unwrap_or(0);
    highest.wrapping_add(1).to_string()
}

async fn take(image: &Qcow2, old: &Stored, mut entry: Entry) -> io::Result<()> {
    let frozen = image.freeze().await?;
    let mut l1 = frozen.l1.clone();
    entry.l1_offset = frozen.header.l1_offset;
    entry.l1_size = u32::try_from(l1.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut entries = old.entries.clone();
    entries.push(entry);
    let mut shadow = Shadow::new(frozen).await?;
    let prepared = async {
        shadow.count(&l1, 1).await?;
        shadow.free(old.offset, old.bytes)?;
        // In the reference's order, which some rely on: L1, the snapshots' table, L2 tables as they get their own.
        let l1_offset = shadow.reserve(l1.len() as u64 * 8)?;
        let bytes = table::encode(&entries);
        let new = Stored {
            offset: shadow.write(&bytes).await?,
            bytes: bytes.len() as u64,
            entries,
        };
        shadow.fix_copied(&mut l1).await?;
        shadow.write_at(l1_offset, &l1_bytes(&l1)).await?;
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
