//! Makes a parallels image.

use block_core::{CreateRequest, OptionDesc, OptionKind, WriteFlags, ZeroFlags};
use qapi::{Error, Result};

use super::header::{HEADER, Header};
use crate::make::{self, disk_size, invalid, number};

/// Options of create.
pub(super) const OPTIONS: &[OptionDesc] = &[
    make::SIZE,
    OptionDesc {
        name: "cluster_size",
        kind: OptionKind::Size,
        help: "Parallels image cluster size",
        default: Some("1048576"),
    },
];

/// Blocks an image may have.
const MAX_BLOCKS: u64 = 1 << 32;
const DEFAULT_CLUSTER: u64 = 1 << 20;

/// [`block_core::FormatDriver::create`].
pub(super) async fn create(request: CreateRequest<'_>) -> Result<()> {
    let size = disk_size(request.options)?;
    let cluster = number(request.options, "cluster_size", DEFAULT_CLUSTER);
    let cluster = cluster.checked_next_multiple_of(512).unwrap_or(u64::MAX);
    let tracks = u32::try_from(cluster / 512).unwrap_or(u32::MAX);
    if cluster == 0 || tracks > (i32::MAX / 513).unsigned_abs() {
        return Err(invalid("Cluster size is too large"));
    }
    let entries = size.div_ceil(cluster);
    // What a reader takes is less than what the fields could say.
    if size / cluster >= MAX_BLOCKS || entries > u64::from(u32::MAX / 8) {
        return Err(Error::new("Image size is too large for this cluster size").errno(7));
    }
    let data = (HEADER as u64 + entries * 4).next_multiple_of(cluster);
    let header = Header {
        ext: true,
        tracks,
        entries: u32::try_from(entries).unwrap_or(u32::MAX),
        size,
        in_use: false,
        data: u32::try_from(data / 512).unwrap_or(u32::MAX),
    };
    let file = make::file(&request).await?;
    let failed = |e: std::io::Error| Error::from_io("Failed to create Parallels image", &e);
    let mut first = header.encode().to_vec();
    first.resize(512, 0);
    file.write(0, &first, WriteFlags::default())
        .await
        .map_err(failed)?;
    file.write_zeroes(512, data - 512, ZeroFlags::default())
        .await
        .map_err(failed)?;
    file.flush().await.map_err(failed)
}
