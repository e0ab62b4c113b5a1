//! What making an image has in common between the formats.

use std::sync::Arc;

use block_core::{CreateRequest, Edge, OptionDesc, OptionKind, Perms, Role};
use qapi::{Dict, Error, Result, Value};

/// A create option without a default that is told.
pub(crate) const fn option(name: &'static str, kind: OptionKind, help: &'static str) -> OptionDesc {
    OptionDesc {
        name,
        kind,
        help,
        default: None,
    }
}

/// The size that every format takes.
pub(crate) const SIZE: OptionDesc = option("size", OptionKind::Size, "Virtual disk size");

/// The value of a switch; off when it is not given.
pub(crate) fn flag(options: &Dict, name: &str) -> bool {
    matches!(options.get(name), Some(Value::Bool(true)))
}

/// The value of a number or size.
pub(crate) fn number(options: &Dict, name: &str, default: u64) -> u64 {
    match options.get(name) {
        Some(Value::Int(n)) => u64::try_from(*n).unwrap_or(default),
        Some(Value::Uint(n)) => *n,
        _ => default,
    }
}

/// The asked size, in whole sectors.
pub(crate) fn disk_size(options: &Dict) -> Result<u64> {
    let size = number(options, "size", 0);
    size.checked_next_multiple_of(512)
        .ok_or_else(|| invalid("The image size is too large"))
}

/// An error of the user's.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(message).errno(22)
}

/// An image that is of this format, and uses what is not supported.
pub(crate) fn unsupported(message: impl Into<String>) -> Error {
    Error::new(message).errno(95)
}

/// The file an image goes to: made, opened and held for writing.
pub(crate) async fn file(request: &CreateRequest<'_>) -> Result<Arc<Edge>> {
    named_file(request, request.filename, 0).await
}

/// A file beside it, of this length in bytes.
pub(crate) async fn named_file(
    request: &CreateRequest<'_>,
    name: &str,
    length: u64,
) -> Result<Arc<Edge>> {
    let mut options = Dict::new();
    for name in ["nocow", "extent_size_hint", "preallocation"] {
        if let Some(value) = request.options.get(name) {
            options.insert(name, value.clone());
        }
    }
    options.insert("size", length);
    let node = request.gate.create_file(name, &options).await?;
    let storage = Perms::WRITE | Perms::RESIZE;
    let used = Perms::CONSISTENT_READ | storage;
    Edge::attach("file", Role::File, node, used, Perms::ALL - storage)
}

/// A random UUID (RFC 9562, version 4).
pub(crate) fn uuid() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(format!("Could not get random bytes: {e}")))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(bytes)
}
