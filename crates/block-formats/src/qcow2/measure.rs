//! How large an image will be: as if all of it was mapped, less the data clusters that need not be there.

use block_core::{BitmapInfo, MeasureRequest, MeasureResult, MeasureSource, Preallocation};
use qapi::{Error, Result};

use super::create::Spec;
use super::encryption;

/// Largest L1 table in bytes.
const MAX_L1: u64 = 32 << 20;

/// Bytes of a table's entry.
const ENTRY: u64 = 8;

/// Bytes of a bitmap directory's entry before the name.
const DIRECTORY_ENTRY: u64 = 24;

/// Measures; sizes are whole clusters.
///
/// # Errors
/// As create, for options that cannot be.
pub(super) fn measure(request: &MeasureRequest<'_>) -> Result<MeasureResult> {
    let spec = Spec::read(request.options)?;
    let cluster = 1_u64 << spec.cluster_bits;
    let too_large = || Error::new("The image size is too large (try using a larger cluster size)");
    let length = request.source.as_ref().map_or(spec.size, |s| s.length);
    let size = length
        .checked_next_multiple_of(cluster)
        .ok_or_else(too_large)?;
    let l2_entry = if spec.extended { 16 } else { ENTRY };
    let l2_tables = (size / cluster).div_ceil(cluster / l2_entry);
    if l2_tables > MAX_L1 / ENTRY {
        return Err(too_large());
    }
    let needed = match spec.preallocation {
        Preallocation::Full | Preallocation::Falloc => size,
        Preallocation::Off | Preallocation::Metadata => match &request.source {
            Some(_) if spec.backing.is_some() => size,
            Some(source) => data_clusters(source, cluster) * cluster,
            None => 0,
        },
    };
    let header = encryption::measure(request.options, request.object, cluster)?;
    let all = all_mapped(&spec, size, l2_entry) + header;
    let bitmaps = request.source.as_ref().and_then(|s| s.bitmaps.as_ref());
    Ok(MeasureResult {
        required: all - size + needed,
        fully_allocated: all,
        bitmaps: bitmaps
            .filter(|_| spec.version >= 3)
            .map(|all| bitmaps_size(all, length, cluster)),
    })
}

/// Clusters that hold any data.
fn data_clusters(source: &MeasureSource, cluster: u64) -> u64 {
    let mut count = 0;
    let mut done = 0;
    for &(start, len) in &source.data {
        let first = (start / cluster).max(done);
        let end = (start + len).div_ceil(cluster);
        count += end.saturating_sub(first);
        done = done.max(end);
    }
    count
}

/// Bytes of an image that maps all of its disk.
fn all_mapped(spec: &Spec, size: u64, l2_entry: u64) -> u64 {
    let cluster = 1_u64 << spec.cluster_bits;
    let l2_entries = (size / cluster).next_multiple_of(cluster / l2_entry);
    let l1_entries = (l2_entries * l2_entry / cluster).next_multiple_of(cluster / ENTRY);
    let used = cluster + l2_entries * l2_entry + l1_entries * ENTRY + size;
    used + refcounts(used / cluster, cluster, spec.refcount_order)
}

/// Bytes of the refcount blocks and table over `clusters` and over themselves.
fn refcounts(clusters: u64, cluster: u64, order: u32) -> u64 {
    let per_block = (cluster * 8) >> order;
    let mut last = 0;
    let (mut blocks, mut table) = (0, 0);
    loop {
        blocks = (clusters + table + blocks).div_ceil(per_block);
        table = blocks.div_ceil(cluster / ENTRY);
        let all = clusters + blocks + table;
        if all == last {
            return (blocks + table) * cluster;
        }
        last = all;
    }
}

/// Bytes of all bitmaps with their tables and directory.
fn bitmaps_size(all: &[BitmapInfo], length: u64, cluster: u64) -> u64 {
    let mut size = 0;
    let mut directory = 0;
    for bitmap in all {
        let bytes = length.div_ceil(bitmap.granularity.max(1)).div_ceil(8);
        let clusters = bytes.div_ceil(cluster);
        size += clusters * cluster + (clusters * ENTRY).next_multiple_of(cluster);
        directory += (DIRECTORY_ENTRY + bitmap.name.len() as u64).next_multiple_of(8);
    }
    size + u64::next_multiple_of(directory, cluster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qapi::Dict;

    #[test]
    fn an_empty_disk_needs_its_metadata() {
        let mut options = Dict::new();
        options.insert("size", 1_u64 << 20);
        let request = MeasureRequest {
            options: &options,
            source: None,
            object: &|_| None,
        };
        let found = measure(&request).unwrap();
        assert_eq!(
            (found.required, found.fully_allocated),
            (327_680, 1_376_256)
        );
    }

    #[test]
    fn clusters_are_counted_once() {
        let source = MeasureSource {
            length: 1 << 20,
            data: vec![(0, 512), (1024, 512), (65_535, 2)],
            bitmaps: None,
        };
        assert_eq!(data_clusters(&source, 65_536), 2);
    }
}
