//! Objects that a machine can have (`-object`): those of the block layer and those of its own.

use std::fs::File;
use std::sync::Arc;

use block::OBJECT_TYPES;
use machine::device::DeviceOption;
use object::{Object, ObjectType, Objects};
use qapi::{Dict, Error, Result, Value, opts};

use crate::disks::Disks;

/// All types.
pub(crate) const OBJECTS: &[&[ObjectType]] = &[OBJECT_TYPES[0], OBJECT_TYPES[1], MACHINE];

const MACHINE: &[ObjectType] = &[
    ObjectType {
        name: "memory-backend-ram",
        make: memory,
    },
    ObjectType {
        name: "rng-builtin",
        make: |_, _| Ok(Arc::new(Randomness)),
    },
    ObjectType {
        name: "rng-random",
        make: random,
    },
];

/// Random bytes of the host's kernel.
pub(crate) struct Randomness;

/// Both devices give what the kernel gives to everyone.
fn random(options: &mut Dict, _: &Objects) -> Result<Object> {
    let file = match options.remove("filename") {
        None => "/dev/urandom".to_owned(),
        Some(Value::Str(file)) => file,
        Some(_) => {
            return Err(Error::new(
                "Invalid parameter type for 'filename', expected: string",
            ));
        }
    };
    File::open(&file)
        .map_err(|error| Error::from_io(format!("Could not open '{file}'"), &error))?;
    if !matches!(file.as_str(), "/dev/urandom" | "/dev/random") {
        // GAP: other sources may make a reader wait.
        let text = format!("rng-random: filename '{file}' is not supported yet");
        return Err(Error::new(text));
    }
    Ok(Arc::new(Randomness))
}

/// Whether the source of randomness that a device names is one.
pub(crate) fn check_randomness(device: &DeviceOption, disks: &Disks) -> Result<()> {
    let Some(id) = device.properties.get("rng") else {
        return Ok(());
    };
    if !disks.object_ids().contains(id) {
        return Err(Error::new(format!("Device '{id}' not found")));
    }
    if disks.object::<Randomness>(id).is_none() {
        let text = "Invalid parameter type for 'rng', expected: rng-backend";
        return Err(Error::new(text));
    }
    Ok(())
}

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
    "rng-egd",
    "secret_keyring",
    "sev-guest",
    "sev-snp-guest",
    "thread-context",
    "x-remote-object",
];
