//! Tables of chunks in a resource fork, as the oldest images have them.

use std::sync::Arc;

use block_core::Edge;

use super::Failure;
use super::chunks::Chunks;
use crate::bytes::be32;

/// Longest resource that is read; QEMU has no limit but 32 bits.
const MAX_RESOURCE: u64 = 64 << 20;

async fn number(file: &Arc<Edge>, at: u64) -> Result<u64, Failure> {
    let mut bytes = [0; 4];
    file.read(at, &mut bytes).await.map_err(Failure::Read)?;
    Ok(be32(&bytes, 0).into())
}

/// Reads all resources of the fork at `at`; it is inside the file.
pub(super) async fn read(
    file: &Arc<Edge>,
    at: u64,
    len: u64,
    chunks: &mut Chunks,
) -> Result<(), Failure> {
    let data = number(file, at).await?;
    let count = number(file, at + 8).await?;
    if data > len || count == 0 || data + count > len {
        return Err(Failure::Invalid);
    }
    let end = at + data + count;
    let mut offset = at + data;
    let mut bytes = Vec::new();
    while offset < end {
        let count = number(file, offset).await?;
        if count == 0 || count > end - offset || count > MAX_RESOURCE {
            return Err(Failure::Invalid);
        }
        offset += 4;
        bytes.clear();
        bytes.resize(usize::try_from(count).map_err(|_| Failure::Invalid)?, 0);
        file.read(offset, &mut bytes).await.map_err(Failure::Read)?;
        chunks.add(&bytes)?;
        offset += count;
    }
    Ok(())
}
