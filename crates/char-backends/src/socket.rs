//! Stream sockets. A server takes one peer at a time, and the next when that one is gone.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backend_core::chars::Sink;

use super::{Address, Port};

/// How long a peer that does not read may hold up the guest.
const PATIENCE: Duration = Duration::from_secs(1);

trait Stream: Read + Write + Send {
    fn twin(&self) -> io::Result<Box<dyn Stream>>;
}

impl Stream for TcpStream {
    fn twin(&self) -> io::Result<Box<dyn Stream>> {
        self.set_nodelay(true)?;
        self.set_write_timeout(Some(PATIENCE))?;
        Ok(Box::new(self.try_clone()?))
    }
}

impl Stream for UnixStream {
    fn twin(&self) -> io::Result<Box<dyn Stream>> {
        self.set_write_timeout(Some(PATIENCE))?;
        Ok(Box::new(self.try_clone()?))
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept()?.0),
            Self::Unix(listener) => Box::new(listener.accept()?.0),
        })
    }
}

/// The peer that what the guest sends goes to.
type Peer = Arc<Mutex<Option<Box<dyn Stream>>>>;

struct Outgoing(Peer);

impl Sink for Outgoing {
    fn send(&mut self, bytes: &[u8]) {
        let mut peer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = peer.as_mut().map(|stream| stream.write_all(bytes));
        if matches!(sent, Some(Err(_))) {
            // Gone or asleep; the reading side notices the end on its own.
            *peer = None;
        }
    }
}

struct Incoming {
    listener: Option<Listener>,
    stream: Option<Box<dyn Stream>>,
    peer: Peer,
}

impl Incoming {
    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        let stream = listener.accept()?;
        self.connect(stream)
    }

    fn connect(&mut self, stream: Box<dyn Stream>) -> io::Result<()> {
        let twin = stream.twin()?;
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = Some(twin);
        self.stream = Some(stream);
        Ok(())
    }
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stream.is_none() {
                self.accept()?;
            }
            let Some(stream) = &mut self.stream else {
                return Ok(0);
            };
            if let Ok(bytes @ 1..) = stream.read(into) {
                return Ok(bytes);
            }
            self.stream = None;
            *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = None;
            if self.listener.is_none() {
                return Ok(0);
            }
        }
    }
}

/// Connects, or listens and perhaps waits for the first peer.
pub(super) fn open(address: &Address, server: bool, wait: bool) -> io::Result<Port> {
    let mut incoming = Incoming {
        listener: None,
        stream: None,
        peer: Peer::default(),
    };
    if server {
        incoming.listener = Some(listen(address)?);
        if wait {
            incoming.accept()?;
        }
    } else {
        let stream: Box<dyn Stream> = match address {
            Address::Unix(path) => Box::new(UnixStream::connect(path)?),
            Address::Tcp(host, port) => Box::new(TcpStream::connect(place(host, port))?),
        };
        incoming.connect(stream)?;
    }
    Ok(Port {
        sink: Box::new(Outgoing(Arc::clone(&incoming.peer))),
        source: Some(Box::new(incoming)),
        notice: None,
    })
}

fn place(host: &str, port: &str) -> String {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    format!("{host}:{port}")
}

fn listen(address: &Address) -> io::Result<Listener> {
    match address {
        Address::Tcp(host, port) => Ok(Listener::Tcp(TcpListener::bind(place(host, port))?)),
        Address::Unix(path) => {
            // What an earlier server left there is only a name.
            if UnixStream::connect(path).is_err() {
                let _ = std::fs::remove_file(path);
            }
            Ok(Listener::Unix(UnixListener::bind(path)?))
        }
    }
}
