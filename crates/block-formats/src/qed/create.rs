//! Makes a qed image.

use block_core::{BackingLink, CreateRequest, OptionDesc, OptionKind, WriteFlags};
use qapi::{Error, Result};

use super::header::{Header, is_cluster_size, is_table_size};
use crate::make::{self, disk_size, invalid, number, option};

const DEFAULT_CLUSTER: u64 = 65536;
const DEFAULT_TABLE: u64 = 4;

/// Options of create.
pub(super) const OPTIONS: &[OptionDesc] = &[
    make::SIZE,
    option("backing_file", OptionKind::Str, "File name of a base image"),
    option(
        "backing_fmt",
        OptionKind::Str,
        "Image format of the base image",
    ),
    OptionDesc {
        name: "cluster_size",
        kind: OptionKind::Size,
        help: "Cluster size (in bytes)",
        default: Some("65536"),
    },
    option(
        "table_size",
        OptionKind::Size,
        "L1/L2 table size (in clusters)",
    ),
];

/// [`block_core::FormatDriver::create`].
pub(super) async fn create(request: CreateRequest<'_>) -> Result<()> {
    let options = request.options;
    let size = disk_size(options)?;
    let cluster = number(options, "cluster_size", DEFAULT_CLUSTER);
    let table = number(options, "table_size", DEFAULT_TABLE);
    if !is_cluster_size(cluster) {
        return Err(invalid(
            "QED cluster size must be within range [4096, 67108864] and power of 2",
        ));
    }
    if !is_table_size(table) {
        return Err(invalid(
            "QED table size must be within range [1, 16] and power of 2",
        ));
    }
    let mut header = Header {
        cluster_size: u32::try_from(cluster).unwrap_or(0),
        table_size: u32::try_from(table).unwrap_or(0),
        header_clusters: 1,
        l1_offset: cluster,
        image_size: size,
        ..Header::default()
    };
    let max = header.max_size();
    if size > max {
        return Err(invalid(format!(
            "QED image size must be a non-zero multiple of cluster size and less than {max} bytes"
        )));
    }
    let backing = options.get_str("backing_file").map(|file| BackingLink {
        file: file.to_owned(),
        format: options.get_str("backing_fmt").map(str::to_owned),
    });
    header.set_backing(backing.as_ref())?;
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(backing.map(|b| b.file).unwrap_or_default().as_bytes());
    let file = make::file(&request).await?;
    let failed = |e: std::io::Error| Error::from_io("Could not write QED header", &e);
    file.write(0, &bytes, WriteFlags::default())
        .await
        .map_err(failed)?;
    let zeroes = block_core::ZeroFlags::default();
    file.write_zeroes(cluster, header.table_bytes(), zeroes)
        .await
        .map_err(failed)?;
    file.flush().await.map_err(failed)
}
