//! Where things are in a qcow2 file, for tests that damage one. Field names and offsets are those of the
//! public specification (docs/interop/qcow2).

use std::path::Path;

use crate::bytes::{peek_u64, poke, poke_u64};

/// Header fields: name, offset in bytes, length in bytes.
pub const HEADER: &[(&str, u64, usize)] = &[
    ("version", 4, 4),
    ("backing_file_offset", 8, 8),
    ("backing_file_size", 16, 4),
    ("cluster_bits", 20, 4),
    ("size", 24, 8),
    ("crypt_method", 32, 4),
    ("l1_size", 36, 4),
    ("l1_table_offset", 40, 8),
    ("refcount_table_offset", 48, 8),
    ("refcount_table_clusters", 56, 4),
    ("nb_snapshots", 60, 4),
    ("snapshots_offset", 64, 8),
    ("incompatible_features", 72, 8),
    ("compatible_features", 80, 8),
    ("autoclear_features", 88, 8),
    ("refcount_order", 96, 4),
    ("header_length", 100, 4),
    ("compression_type", 104, 1),
    ("first extension's type", 112, 4),
    ("first extension's length", 116, 4),
];

/// Bits 9 to 55 of a table entry.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

/// "This cluster is used once."
pub const COPIED: u64 = 1 << 63;
/// "This cluster is packed."
pub const COMPRESSED: u64 = 1 << 62;

/// Offset of entry `index` of the active L1 table.
pub fn l1_entry(path: &Path, index: u64) -> u64 {
    peek_u64(path, 40) + 8 * index
}

/// Offset of entry `index` of the L2 table that entry 0 of the L1 table names.
pub fn l2_entry(path: &Path, index: u64) -> u64 {
    (peek_u64(path, l1_entry(path, 0)) & OFFSET_MASK) + 8 * index
}

/// Offset of the first refcount block's entry `index` (16-bit refcounts).
pub fn refcount_entry(path: &Path, index: u64) -> u64 {
    (peek_u64(path, peek_u64(path, 48)) & OFFSET_MASK) + 2 * index
}

/// Where guest cluster `index` lies.
pub fn data_offset(path: &Path, index: u64) -> u64 {
    peek_u64(path, l2_entry(path, index)) & OFFSET_MASK
}

/// Replaces the bytes of guest cluster `index` (of 64 KiB, allocated) by a packed stream.
pub fn pack_cluster(path: &Path, index: u64, packed: &[u8]) {
    let at = data_offset(path, index);
    poke(path, at, packed);
    let sectors = (packed.len() as u64).div_ceil(512);
    poke_u64(
        path,
        l2_entry(path, index),
        COMPRESSED | (sectors - 1) << 54 | at,
    );
}
