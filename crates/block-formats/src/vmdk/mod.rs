//! vmdk: VMware's virtual disks (VMware, "Virtual Disk Format 5.0").
//!
//! A descriptor (text, in a file of its own or inside the first extent) names extents: parts of the disk, each plain bytes
//! of a file (flat) or grains found by a grain directory and grain tables (sparse). Grains of `streamOptimized` images are
//! packed, each behind a marker.

mod check;
mod cid;
mod create;
mod descriptor;
mod extent;
mod format;
mod grains;
mod header;
mod open;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use block_core::{
    BackingLink, BoxFuture, CreateRequest, Edge, FormatDriver, OpenRequest, Opened, ProbeInput,
};
use qapi::Result;

use extent::Extent;

/// vmdk
pub static DRIVER: FormatDriver = FormatDriver {
    name: "vmdk",
    probe,
    open: |request: OpenRequest<'_>| -> BoxFuture<'_, Result<Opened>> {
        Box::pin(open::open(request))
    },
    create: Some(|request: CreateRequest<'_>| -> BoxFuture<'_, Result<()>> {
        Box::pin(create::create(request))
    }),
    create_options: create::OPTIONS,
    amend_options: &[],
    measure: None,
    supports_backing: true,
};

/// Sparse extents by their magic number; descriptors by `version=` as the first line that says something.
fn probe(input: &ProbeInput<'_>) -> u8 {
    let sparse = header::is_sparse(input.head);
    if sparse || descriptor::looks_like(input.head) {
        100
    } else {
        0
    }
}

/// An open image.
struct Vmdk {
    /// The descriptor's file.
    file: Arc<Edge>,
    /// The descriptor is a file of its own.
    own_file: bool,
    create_type: String,
    extents: Vec<Extent>,
    backing: Option<BackingLink>,
    ids: cid::Ids,
    /// Bytes that allocations are told apart by.
    unit: u32,
    read_only: AtomicBool,
}

#[cfg(test)]
mod tests;
