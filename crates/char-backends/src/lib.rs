//! Character backends: standard streams, files, pipes, pseudo-terminals, sockets, rings in memory, and the multiplexer
//! that lets several devices and the monitor share one.
//!
//! A backend is opened from its [`Spec`]; it gives a sink for what the guest sends, and a source whose reads block
//! until someone types. Whoever opened it runs a thread over the source.
#![forbid(unsafe_code)]

mod files;
pub mod mux;
mod pty;
mod ring;
mod socket;
mod spec;
pub mod stdio;
pub mod telnet;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use backend_core::chars::{Null, Sink, Writer};
use qapi::{Error, Result};

pub use ring::Ring;
pub use spec::{Address, BACKENDS, Kind, SocketSpec, Spec};

/// What a source has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Someone is there now.
    Opened,
    /// So many bytes came; never zero.
    Bytes(usize),
    /// Nobody is there any more; someone may come again.
    Closed,
}

/// What comes in at a backend.
pub trait Source: Send {
    /// Waits for the next thing to happen.
    ///
    /// # Errors
    /// Nothing will come any more.
    fn next(&mut self, into: &mut [u8]) -> io::Result<Arrival>;
}

/// What a backend is called now, as `query-chardev` shows it.
#[derive(Debug, Clone, Default)]
pub struct Name(Arc<Mutex<String>>);

impl Name {
    fn of(text: &str) -> Self {
        Self(Arc::new(Mutex::new(text.to_owned())))
    }

    fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// As text.
    pub fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// An open backend.
pub struct Port {
    /// Takes what the guest sends.
    pub sink: Box<dyn Sink>,
    /// Gives what comes in.
    pub source: Option<Box<dyn Source>>,
    /// What the user is to be told, such as the name of a pseudo-terminal.
    pub notice: Option<String>,
    /// What it is called.
    pub name: Name,
    /// The ring, if it is one.
    pub ring: Option<Ring>,
}

impl Port {
    fn new(name: &str, sink: Box<dyn Sink>, source: Option<Box<dyn Source>>) -> Self {
        Self {
            sink,
            source,
            notice: None,
            name: Name::of(name),
            ring: None,
        }
    }
}

/// Opens a backend; `label` is what messages call it, `told` hears what the user has to know while it takes long.
///
/// # Errors
/// In QEMU's words.
pub fn open(spec: &Spec, label: &str, told: &dyn Fn(&str)) -> Result<Port> {
    let mut port = match &spec.kind {
        Kind::Null => Port::new("null", Box::new(Null), None),
        Kind::Vc => Port::new("vc", Box::new(Null), None),
        Kind::Stdio { signal } => {
            stdio::open(*signal).map_err(|error| Error::from_io("stdio", &error))?
        }
        Kind::File {
            path,
            append,
            input,
        } => files::file(path, *append, input.as_deref())?,
        Kind::Pipe(path) => files::pipe(path)?,
        Kind::Pty => pty::open(label).map_err(|error| {
            Error::from_io(format!("Failed to create PTY for '{label}'"), &error)
        })?,
        Kind::Ringbuf(size) => ring::open(*size),
        Kind::Socket(spec) => socket::open(spec, told)?,
    };
    if let Some((path, append)) = &spec.log {
        let mut options = OpenOptions::new();
        options.create(true).append(*append).write(true);
        let file = options.truncate(!append).open(path).map_err(|error| {
            Error::from_io(format!("Unable to open logfile {}", path.display()), &error)
        })?;
        let below = std::mem::replace(&mut port.sink, Box::new(Null));
        port.sink = Box::new(Logged {
            below,
            log: Writer(file),
        });
    }
    Ok(port)
}

/// Gives the terminal back, and takes away the sockets that servers made; to be called before the program ends.
pub fn end() {
    stdio::restore();
    socket::remove();
}

/// A sink whose bytes are kept in a file, too.
struct Logged {
    below: Box<dyn Sink>,
    log: Writer<std::fs::File>,
}

impl Sink for Logged {
    fn send(&mut self, bytes: &[u8]) {
        self.log.send(bytes);
        self.below.send(bytes);
    }
}

/// A source over anything that reads: it is there from the start, and its end is the end of all.
struct Plain<R> {
    reader: R,
    state: PlainState,
}

enum PlainState {
    New,
    Open,
    Closed,
}

impl<R> Plain<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            state: PlainState::New,
        }
    }
}

impl<R: io::Read + Send> Source for Plain<R> {
    fn next(&mut self, into: &mut [u8]) -> io::Result<Arrival> {
        match self.state {
            PlainState::New => {
                self.state = PlainState::Open;
                Ok(Arrival::Opened)
            }
            PlainState::Open => {
                if let Ok(bytes @ 1..) = self.reader.read(into) {
                    return Ok(Arrival::Bytes(bytes));
                }
                self.state = PlainState::Closed;
                Ok(Arrival::Closed)
            }
            PlainState::Closed => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
