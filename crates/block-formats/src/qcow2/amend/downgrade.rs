//! From version 3 to version 2, which knows no zero clusters and no feature bits.
//!
//! Zero clusters go first, in the tables of the disk and of all snapshots: without a backing file they become unallocated,
//! else clusters of zeroes. Space kept for a zero cluster is dropped, not reused: a snapshot may still read data there.

use std::collections::HashSet;
use std::io;

use block_core::ZeroFlags;
use qapi::{Error, Result};

use crate::qcow2::Qcow2;
use crate::qcow2::header::incompatible;
use crate::qcow2::layout::{COMPRESSED, COPIED, OFFSET_MASK, ZERO};
use crate::qcow2::snapshot::deltas::Deltas;
use crate::qcow2::snapshot::frozen::be_words;

const ENOTSUP: i32 = 95;

/// Refuses what version 2 cannot hold.
///
/// # Errors
/// In the reference's words.
pub(super) async fn check(image: &Qcow2) -> Result<()> {
    let refuse = |message: String| Err(Error::new(message).errno(ENOTSUP));
    let header = image.header().await;
    if header.refcount_order != 4 {
        return refuse("compat=0.10 requires refcount_bits=16".into());
    }
    if image.has_data_file() {
        return refuse("Cannot downgrade an image with a data file".into());
    }
    if image.encryption.is_some() && header.backing.is_some() {
        // GAP: clusters of zeroes over a backing file would have to be enciphered.
        return refuse("Cannot downgrade an encrypted image with a backing file".into());
    }
    let size = image.size();
    let differs = |size_then: Option<u64>| size_then.is_some_and(|then| then != size);
    let snapshots = image.snapshots.get().entries;
    if snapshots
        .iter()
        .any(|s| s.vm_state_size != 0 || differs(s.disk_size))
    {
        return refuse("Internal snapshots prevent downgrade of image".into());
    }
    let rest = header.incompatible & !(incompatible::DIRTY | incompatible::COMPRESSION);
    if rest != 0 {
        return refuse(format!(
            "Cannot downgrade an image with incompatible features {rest:#x} set"
        ));
    }
    Ok(())
}

/// Replaces all zero clusters. The image stays valid for version 3 throughout.
///
/// # Errors
/// When the file cannot be read or written, or when there are packed clusters that version 2 cannot read.
pub(super) async fn expand_zeroes(
    image: &Qcow2,
    backing: bool,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<()> {
    let failed = |e: io::Error| Error::from_io("Failed to turn zero into data clusters", &e);
    let tables = tables(image).await.map_err(failed)?;
    let zstd = image.header().await.incompatible & incompatible::COMPRESSION != 0;
    if zstd && has_compressed(image, &tables).await.map_err(failed)? {
        return Err(Error::new(
            "Cannot downgrade an image with zstd compression type and existing compressed clusters",
        )
        .errno(ENOTSUP));
    }
    let total = tables.len() as u64;
    for (done, offset) in (1..).zip(&tables) {
        expand_table(image, *offset, backing)
            .await
            .map_err(failed)?;
        progress(done, total);
    }
    image.reload().await.map_err(failed)
}

/// All L2 tables of the disk and its snapshots, each once.
async fn tables(image: &Qcow2) -> io::Result<Vec<u64>> {
    let frozen = image.freeze().await?;
    let mut roots = vec![frozen.l1.clone()];
    for snapshot in image.snapshots.get().entries {
        roots.push(frozen.read_l1(snapshot.l1_offset, snapshot.l1_size).await?);
    }
    let mut seen = HashSet::new();
    let mut tables = Vec::new();
    for l1 in roots {
        let offsets = frozen.l2_offsets(&l1)?;
        tables.extend(offsets.into_iter().filter(|o| seen.insert(*o)));
    }
    Ok(tables)
}

async fn has_compressed(image: &Qcow2, tables: &[u64]) -> io::Result<bool> {
    let frozen = image.freeze().await?;
    for offset in tables {
        let table = frozen.read_cluster(*offset).await?;
        if be_words(&table).any(|entry| entry & COMPRESSED != 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Replaces the zero clusters of one table: new clusters with their refcounts first, the table, then what it dropped.
async fn expand_table(image: &Qcow2, offset: u64, backing: bool) -> io::Result<()> {
    let frozen = image.freeze().await?;
    let mut table = frozen.read_cluster(offset).await?;
    let zero = |entry: u64| entry & COMPRESSED == 0 && entry & ZERO != 0;
    let zeroes = be_words(&table).filter(|e| zero(*e)).count() as u64;
    if zeroes == 0 {
        return Ok(());
    }
    let users = frozen.refcount(offset >> frozen.bits()).await?;
    let users = i32::try_from(users).map_err(|_| io::ErrorKind::InvalidData)?;
    let cluster_size = image.cluster_size();
    let mut fresh = 0;
    if backing {
        fresh = image.allocate_bytes(zeroes * cluster_size).await?;
        let file = image.file();
        file.write_zeroes(fresh, zeroes * cluster_size, ZeroFlags::default())
            .await?;
        let mut more = Deltas::default();
        more.add(fresh >> frozen.bits(), zeroes, users - 1)?;
        image.freeze().await?.apply(&more).await?;
        file.flush().await?;
        image.reload().await?;
    }
    let mut dropped = Deltas::default();
    for bytes in table.chunks_exact_mut(8) {
        let Some(old) = be_words(bytes).next().filter(|e| zero(*e)) else {
            continue;
        };
        if old & OFFSET_MASK != 0 {
            dropped.add((old & OFFSET_MASK) >> frozen.bits(), 1, -users)?;
        }
        let flag = if users == 1 { COPIED } else { 0 };
        let new = if backing { fresh | flag } else { 0 };
        fresh += if backing { cluster_size } else { 0 };
        bytes.copy_from_slice(&new.to_be_bytes());
    }
    let frozen = image.freeze().await?;
    frozen.write(offset, &table).await?;
    image.file().flush().await?;
    frozen.apply(&dropped).await?;
    image.reload().await
}
