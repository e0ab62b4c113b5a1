//! `nbd`: a disk that a server on the network has (NetworkBlockDevice project, `doc/proto.md`).
//!
//! ```text
//! names, options (options.rs) -> where and what -> wire (address.rs, wire.rs) -> handshake (handshake.rs)
//!   -> connection (connection/): many requests at a time over one wire
//!   -> link (link.rs): a connection that comes back after it was lost
//!   -> disk (disk.rs): requests cut to the server's sizes, block status
//! ```
//! A server is not trusted: what it sends is checked against what was asked, and a server that breaks the protocol is
//! left, with the reason as the error of every request from then on.

pub mod address;
mod ahead;
mod connection;
mod disk;
pub mod handshake;
mod link;
mod options;
#[cfg(feature = "contract-tests")]
pub mod testing;
mod wire;

use block_core::{OptionDesc, OptionKind, ProtocolDriver};

pub use wire::{Duplex, Wire};

const CREATE_OPTIONS: &[OptionDesc] = &[
    OptionDesc {
        name: "preallocation",
        kind: OptionKind::Str,
        help: "Preallocation mode (allowed values: off)",
        default: None,
    },
    OptionDesc {
        name: "size",
        kind: OptionKind::Size,
        help: "Virtual disk size",
        default: None,
    },
];

/// The driver.
pub(crate) const NBD: ProtocolDriver = ProtocolDriver {
    name: "nbd",
    prefixes: &[
        "nbd",
        "nbd+tcp",
        "nbd+unix",
        "nbds",
        "nbds+tcp",
        "nbds+unix",
    ],
    parse_filename: options::parse_filename,
    open: |request| Box::pin(disk::open(request)),
    create: Some(|name, options| Box::pin(disk::create(name, options))),
    create_options: CREATE_OPTIONS,
    strong: &[
        "path",
        "host",
        "port",
        "export",
        "tls-creds",
        "tls-hostname",
        "server.",
    ],
    plain_name: options::plain_name,
};
