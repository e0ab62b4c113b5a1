//! `file`, `host_device`, `host_cdrom`: a file of the host.
//!
//! Files in the page cache are read and written inline by the calling thread: a hop to another thread costs ten times what
//! a cached 4 KiB read does. Around the page cache (`cache=none`), and where `aio=` asks for it, requests go by the
//! kernel's ring or by threads: see `engine`.

mod create;
mod engine;
mod io;
mod locks;
mod open;
mod protocol;

use block_core::{OptionDesc, OptionKind, ProtocolDriver};
use qapi::Dict;

const CREATE_OPTIONS: &[OptionDesc] = &[
    OptionDesc {
        name: "extent_size_hint",
        kind: OptionKind::Size,
        help: "Extent size hint for the image file, 0 to disable",
        default: None,
    },
    OptionDesc {
        name: "nocow",
        kind: OptionKind::Bool,
        help: "Turn off copy-on-write (valid only on btrfs)",
        default: None,
    },
    OptionDesc {
        name: "preallocation",
        kind: OptionKind::Str,
        help: "Preallocation mode (allowed values: off, falloc, full)",
        default: None,
    },
    OptionDesc {
        name: "size",
        kind: OptionKind::Size,
        help: "Virtual disk size",
        default: None,
    },
];

/// Regular files.
pub(crate) const FILE: ProtocolDriver = ProtocolDriver {
    name: "file",
    prefixes: &["file"],
    parse_filename,
    open: |request| Box::pin(open::file(request)),
    create: Some(|filename, options| Box::pin(create::file(filename, options))),
    create_options: CREATE_OPTIONS,
    strong: &["filename"],
    plain_name,
};

/// Block devices, and character devices that hold bytes.
pub(crate) const HOST_DEVICE: ProtocolDriver = ProtocolDriver {
    name: "host_device",
    prefixes: &["host_device"],
    parse_filename,
    open: |request| Box::pin(open::device(request)),
    create: Some(|filename, options| Box::pin(create::device(filename, options))),
    create_options: &[CREATE_OPTIONS[3]],
    strong: &["filename"],
    plain_name,
};

/// CD drives.
pub(crate) const HOST_CDROM: ProtocolDriver = ProtocolDriver {
    name: "host_cdrom",
    prefixes: &["host_cdrom"],
    parse_filename,
    open: |request| Box::pin(open::device(request)),
    create: Some(|filename, options| Box::pin(create::device(filename, options))),
    create_options: &[CREATE_OPTIONS[3]],
    strong: &["filename"],
    plain_name,
};

fn plain_name(options: &Dict) -> Option<String> {
    options.get_str("filename").map(str::to_owned)
}

/// `PREFIX:PATH`, where the prefix may be missing.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of ProtocolDriver::parse_filename"
)]
fn parse_filename(name: &str, options: &mut Dict) -> qapi::Result<()> {
    let stripped = ["file:", "host_device:", "host_cdrom:"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    let path = match stripped {
        // Without its prefix it must not be taken for one of another protocol.
        Some(path) if path.split('/').next().is_some_and(|p| p.contains(':')) => {
            format!("./{path}")
        }
        other => other.unwrap_or(name).to_owned(),
    };
    options.insert("filename", path);
    Ok(())
}
