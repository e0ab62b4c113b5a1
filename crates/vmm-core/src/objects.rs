//! Objects that a machine can have (`-object`): those of the block layer and those of its own.

use std::sync::Arc;

use block::OBJECT_TYPES;
use object::{Object, ObjectType, Objects};
use qapi::{Dict, Error, Result, Value, opts};

/// All types.
pub(crate) const OBJECTS: &[&[ObjectType]] = &[OBJECT_TYPES[0], OBJECT_TYPES[1], MACHINE];

const MACHINE: &[ObjectType] = &[ObjectType {
    name: "memory-backend-ram",
    make: memory,
}];

/// The machine's memory: its size is all there is to say about it, as it comes from the host page by page.
pub(crate) struct MemoryBackend {
    /// In bytes.
    pub(crate) size: u64,
}

fn memory(options: &mut Dict, _: &Objects) -> Result<Object> {
    let wrong = || Error::new("Parameter 'size' expects a size");
    let size = match options.remove("size") {
        None => return Err(object::missing("size")),
        Some(Value::Int(bytes)) => u64::try_from(bytes).map_err(|_| wrong())?,
        Some(Value::Uint(bytes)) => bytes,
        Some(Value::Str(text)) => qapi::parse_size(&text).map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
    };
    for name in ["share", "prealloc"] {
        if opts::take_bool(options, name)?.unwrap_or(false) {
            let text = format!("memory-backend-ram: '{name}' is not supported yet");
            return Err(Error::new(text));
        }
    }
    // What the host may do with the pages; none of it changes what a guest sees.
    for name in ["merge", "dump", "reserve"] {
        opts::take_bool(options, name)?;
    }
    Ok(Arc::new(MemoryBackend { size }))
}

/// Types of the reference that are not there yet.
pub(crate) const MISSING: &[&str] = &[
    "acpi-generic-initiator",
    "acpi-generic-port",
    "can-bus",
    "can-host-socketcan",
    "colo-compare",
    "cryptodev-backend",
    "cryptodev-backend-builtin",
    "cryptodev-vhost-user",
    "dbus-vmstate",
    "filter-buffer",
    "filter-dump",
    "filter-mirror",
    "filter-redirector",
    "filter-replay",
    "filter-rewriter",
    "input-barrier",
    "input-linux",
    "iommufd",
    "iothread",
    "main-loop",
    "memory-backend-epc",
    "memory-backend-file",
    "memory-backend-memfd",
    "memory-backend-shm",
    "pr-manager-helper",
    "qtest",
    "rng-builtin",
    "rng-egd",
    "rng-random",
    "secret_keyring",
    "sev-guest",
    "sev-snp-guest",
    "thread-context",
    "x-remote-object",
];
