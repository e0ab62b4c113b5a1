//! `ssh`: a file on another host, through that host's SFTP server (draft-ietf-secsh-filexfer-02, version 3).
//!
//! ```text
//! names, options (options.rs) -> OpenSSH's client as a child (client.rs) -> its pipes
//!   -> packets (packet.rs) -> many requests at a time (session.rs) -> disk (disk.rs): requests cut into pieces
//! ```
//! The transport, the keys and who a host is are OpenSSH's business; what it may not do here is ask anybody anything. The
//! SFTP server is not trusted: its packets are bounded and compared with what was asked, and one that breaks the
//! protocol is left, with the reason as the error of every request from then on.

mod client;
mod disk;
mod options;
mod packet;
mod session;
#[cfg(feature = "contract-tests")]
pub mod testing;

use block_core::{OptionDesc, OptionKind, ProtocolDriver};

const CREATE_OPTIONS: &[OptionDesc] = &[OptionDesc {
    name: "size",
    kind: OptionKind::Size,
    help: "Virtual disk size",
    default: None,
}];

/// The driver.
pub(crate) const SSH: ProtocolDriver = ProtocolDriver {
    name: "ssh",
    prefixes: &["ssh"],
    parse_filename: options::parse_filename,
    open: |request| Box::pin(disk::open(request)),
    create: Some(|name, options| Box::pin(disk::create(name, options))),
    create_options: CREATE_OPTIONS,
    strong: &["host", "port", "path", "user", "host_key_check", "server."],
    plain_name: options::plain_name,
};
