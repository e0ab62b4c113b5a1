//! The entry of the list of formats.

use block_core::{CreateRequest, FormatDriver, OpenRequest, Opened, ProbeInput};

use super::{amend, create, header, measure, open};

/// qcow2
pub static DRIVER: FormatDriver = FormatDriver {
    name: "qcow2",
    probe,
    open: |request: OpenRequest<'_>| -> block_core::BoxFuture<'_, qapi::Result<Opened>> {
        Box::pin(open::open(request))
    },
    create: Some(
        |request: CreateRequest<'_>| -> block_core::BoxFuture<'_, qapi::Result<()>> {
            Box::pin(create::create(request))
        },
    ),
    create_options: create::OPTIONS,
    amend_options: amend::OPTIONS,
    measure: Some(measure::measure),
    supports_backing: true,
};

fn probe(input: &ProbeInput<'_>) -> u8 {
    let version = input
        .head
        .get(4..8)
        .and_then(|v| v.try_into().ok())
        .map(u32::from_be_bytes);
    let magic = input.head.starts_with(&header::MAGIC);
    if magic && version.is_some_and(|v| v >= 2) {
        100
    } else {
        0
    }
}
