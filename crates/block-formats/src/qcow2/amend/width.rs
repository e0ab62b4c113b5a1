//! Refcounts of another width: a whole new refcount structure behind everything else in the file.
//!
//! The old structure stays untouched until one header write switches to the new one, so that a crash before leaves the
//! old image (with a longer file), and a crash after leaves the old structure as leaked clusters.
//!
//! ```text
//! | image as it was | new refcount blocks ... | new refcount table |
//!                   ^ start
//! ```

use std::collections::{BTreeSet, HashSet};
use std::io;

use qapi::Error;

use crate::qcow2::refcount;
use crate::qcow2::snapshot::deltas::Deltas;
use crate::qcow2::snapshot::frozen::Frozen;
use crate::qcow2::snapshot::plan::Plan;

/// The new structure, written but not in use yet.
pub(super) struct NewRefcounts {
    /// With the new width and table.
    pub(super) frozen: Frozen,
    /// Where the table is.
    pub(super) table_offset: u64,
    /// Clusters of the table.
    pub(super) table_clusters: u32,
}

/// Writes a structure of the width `1 << order` that counts what `old` counts, and itself.
///
/// # Errors
/// When a refcount does not fit, in the reference's words; when the file cannot be written.
pub(super) async fn rewrite(
    old: &Frozen,
    order: u32,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> qapi::Result<NewRefcounts> {
    let failed = |e: io::Error| Error::from_io("Failed to change the refcount width", &e);
    let new_per_block = (old.per_block() << old.order()) >> order;
    let blocks = old.refcount_table.iter().filter(|o| **o != 0).count() as u64;
    let mut done = 0;
    let mut step = |total: u64| {
        done += 1;
        progress(done, total);
    };
    let survey = survey(old, order, new_per_block, &mut || step(2 * blocks)).await?;
    let length = old.file.node().length().map_err(failed)?;
    let cluster_size = 1 << old.bits();
    let start = length.div_ceil(cluster_size).max(survey.end);
    let plan = Plan::new(survey.used, start, new_per_block, cluster_size)
        .ok_or_else(|| failed(io::Error::from_raw_os_error(27)))?;
    let total = blocks + plan.blocks.len() as u64;
    let table = write_blocks(old, order, &plan, &mut || step(total))
        .await
        .map_err(failed)?;
    let bytes: Vec<u8> = table.iter().flat_map(|o| o.to_be_bytes()).collect();
    let table_offset = plan.table_start() << old.bits();
    old.write(table_offset, &bytes).await.map_err(failed)?;
    old.file.flush().await.map_err(failed)?;
    let table_clusters =
        u32::try_from(plan.table_clusters).map_err(|_| failed(io::Error::from_raw_os_error(27)))?;
    let mut header = old.header.clone();
    header.refcount_order = order;
    Ok(NewRefcounts {
        frozen: Frozen {
            file: old.file.clone(),
            header,
            l1: Vec::new(),
            refcount_table: table,
        },
        table_offset,
        table_clusters,
    })
}

/// Takes the old structure's clusters out of the new refcounts, once nothing uses them.
///
/// # Errors
/// As [`Frozen::apply`]; the clusters are leaked then.
pub(super) async fn free_old(new: &Frozen, old: &Frozen) -> io::Result<Vec<(u64, u64)>> {
    let mut deltas = Deltas::default();
    for offset in old.refcount_table.iter().filter(|o| **o != 0) {
        deltas.add(offset >> old.bits(), 1, -1)?;
    }
    let clusters = u64::from(old.header.refcount_table_clusters);
    deltas.add(old.header.refcount_table_offset >> old.bits(), clusters, -1)?;
    new.apply(&deltas).await
}

/// What the old refcounts use.
struct Survey {
    /// New blocks with a refcount that is not 0.
    used: BTreeSet<u64>,
    /// Cluster behind the last used one.
    end: u64,
}

async fn survey(
    old: &Frozen,
    order: u32,
    new_per_block: u64,
    step: &mut (dyn FnMut() + Send),
) -> qapi::Result<Survey> {
    let failed = |e: &io::Error| Error::from_io("Could not read the refcounts", e);
    let mut survey = Survey {
        used: BTreeSet::new(),
        end: 0,
    };
    let mut seen = HashSet::new();
    let per_block = old.per_block();
    for (block, offset) in (0_u64..).zip(&old.refcount_table) {
        if *offset == 0 {
            continue;
        }
        if !seen.insert(*offset) {
            return Err(failed(&io::Error::from_raw_os_error(5)));
        }
        let bytes = old.read_cluster(*offset).await.map_err(|e| failed(&e))?;
        for (index, cluster) in (0..).zip(block * per_block..(block + 1) * per_block) {
            let count = refcount::get(&bytes, index, old.order());
            if count > refcount::max(order) {
                return Err(too_narrow(order, cluster << old.bits(), count));
            }
            if count != 0 {
                survey.used.insert(cluster / new_per_block);
                survey.end = cluster + 1;
            }
        }
        step();
    }
    Ok(survey)
}

fn too_narrow(order: u32, offset: u64, count: u64) -> Error {
    let bits = 1_u32 << order;
    Error::new(format!(
        "Cannot decrease refcount entry width to {bits} bits: Cluster at offset {offset:#x} has a refcount of {count}"
    ))
    .errno(22)
}

async fn write_blocks(
    old: &Frozen,
    order: u32,
    plan: &Plan,
    step: &mut (dyn FnMut() + Send),
) -> io::Result<Vec<u64>> {
    let new_per_block = (old.per_block() << old.order()) >> order;
    let cluster_size = 1_usize << old.bits();
    let mut table = vec![0; usize::try_from(plan.table_clusters).unwrap_or(0) * cluster_size / 8];
    let mut source = Source {
        old,
        block: u64::MAX,
        bytes: Vec::new(),
    };
    for (at, block) in (plan.start..).zip(&plan.blocks) {
        let mut bytes = vec![0; cluster_size];
        for (index, cluster) in (0..).zip(block * new_per_block..(block + 1) * new_per_block) {
            let own = plan.contains(cluster);
            let count = if own { 1 } else { source.get(cluster).await? };
            if count != 0 {
                refcount::set(&mut bytes, index, order, count);
            }
        }
        let offset = at << old.bits();
        old.write(offset, &bytes).await?;
        if let Some(slot) = usize::try_from(*block).ok().and_then(|b| table.get_mut(b)) {
            *slot = offset;
        }
        step();
    }
    Ok(table)
}

/// Old refcounts in ascending order, one block at a time.
struct Source<'a> {
    old: &'a Frozen,
    block: u64,
    bytes: Vec<u8>,
}

impl Source<'_> {
    async fn get(&mut self, cluster: u64) -> io::Result<u64> {
        let block = cluster / self.old.per_block();
        if block != self.block {
            let offset = usize::try_from(block)
                .ok()
                .and_then(|b| self.old.refcount_table.get(b))
                .copied();
            self.bytes = match offset.filter(|o| *o != 0) {
                Some(offset) => self.old.read_cluster(offset).await?,
                None => Vec::new(),
            };
            self.block = block;
        }
        if self.bytes.is_empty() {
            return Ok(0);
        }
        let index = usize::try_from(cluster % self.old.per_block()).unwrap_or(0);
        Ok(refcount::get(&self.bytes, index, self.old.order()))
    }
}
