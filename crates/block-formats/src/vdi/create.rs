//! Makes a vdi image.

use block_core::{CreateRequest, OptionDesc, OptionKind, Preallocation, WriteFlags};
use qapi::{Error, Result};

use super::FREE;
use super::header::{BLOCK, HEADER, Header, too_large};
use crate::make::{self, disk_size, flag};

/// Options of create.
pub(super) const OPTIONS: &[OptionDesc] = &[
    make::SIZE,
    OptionDesc {
        name: "static",
        kind: OptionKind::Bool,
        help: "VDI static (pre-allocated) image",
        default: Some("off"),
    },
];

/// [`block_core::FormatDriver::create`].
pub(super) async fn create(request: CreateRequest<'_>) -> Result<()> {
    let size = disk_size(request.options)?;
    too_large(size)?;
    let blocks = u32::try_from(size.div_ceil(BLOCK)).unwrap_or(u32::MAX);
    let map_bytes = (blocks * 4).next_multiple_of(512);
    let fixed = flag(request.options, "static");
    let header = Header {
        kind: if fixed { 2 } else { 1 },
        map_offset: 512,
        data_offset: 512 + map_bytes,
        size,
        blocks,
        allocated: if fixed { blocks } else { 0 },
    };
    let file = make::file(&request).await?;
    let mut bytes = Vec::with_capacity(HEADER + map_bytes as usize);
    bytes.extend_from_slice(&header.encode([make::uuid()?, make::uuid()?]));
    for block in 0..blocks {
        let entry = if fixed { block.into() } else { FREE };
        bytes.extend_from_slice(&entry.to_le_bytes()[..4]);
    }
    bytes.resize(HEADER + map_bytes as usize, 0xff);
    let failed = |e: std::io::Error| Error::from_io("Error writing header", &e);
    file.write(0, &bytes, WriteFlags::default())
        .await
        .map_err(failed)?;
    if fixed {
        let length = u64::from(header.data_offset) + u64::from(blocks) * BLOCK;
        file.truncate(length, Preallocation::Off)
            .await
            .map_err(|e| e.prefix("Failed to statically allocate file"))?;
    }
    file.flush().await.map_err(failed)
}
