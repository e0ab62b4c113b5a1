//! Character backends: standard streams, files, pseudo-terminals, sockets, and the multiplexer that lets several
//! devices and the monitor share one.
//!
//! A backend is opened from its [`Spec`]; it gives a sink for what the guest sends, and a source whose reads block
//! until someone types. Whoever opened it runs a thread over the source.
#![forbid(unsafe_code)]

pub mod mux;
mod pty;
mod socket;
mod spec;
pub mod stdio;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};

use backend_core::chars::{Null, Sink, Writer};

pub use spec::{Address, Spec, SpecError};

/// An open backend.
pub struct Port {
    /// Takes what the guest sends.
    pub sink: Box<dyn Sink>,
    /// Gives what comes in; its end means that nothing more will come.
    pub source: Option<Box<dyn Read + Send>>,
    /// What the user is to be told, such as the name of a pseudo-terminal.
    pub notice: Option<String>,
}

impl Port {
    fn out(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            source: None,
            notice: None,
        }
    }
}

/// Opens a backend; `label` is what messages call it. A multiplexer opens what is below it.
///
/// # Errors
/// The host refuses.
pub fn open(spec: &Spec, label: &str) -> io::Result<Port> {
    match spec {
        Spec::Null => Ok(Port::out(Box::new(Null))),
        Spec::Stdio { signal } => stdio::open(*signal),
        Spec::File { path, append } => {
            let mut options = OpenOptions::new();
            options.create(true).write(true);
            let file: File = if *append {
                options.append(true).open(path)?
            } else {
                options.truncate(true).open(path)?
            };
            Ok(Port::out(Box::new(Writer(file))))
        }
        Spec::Pty => pty::open(label),
        Spec::Socket {
            address,
            server,
            wait,
        } => socket::open(address, *server, *wait),
        Spec::Mux(below) => open(below, label),
    }
}
