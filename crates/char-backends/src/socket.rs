//! Stream sockets. A server takes one peer at a time, and the next when that one is gone.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backend_core::chars::Sink;
use qapi::{Error, Result};
use rustix::net::{AddressFamily, sockopt};

use super::telnet::{self, Filter};
use super::{Address, Arrival, Name, Port, SocketSpec, Source};

/// Sockets in the file system that servers made, until [`remove`].
static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Takes the servers' sockets away.
pub(super) fn remove() {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    for path in made.drain(..) {
        // Someone else may have taken it away.
        let _ = std::fs::remove_file(path);
    }
}

/// How long a peer that does not read may hold up the guest.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a server rests that could not take a peer in.
const PAUSE: Duration = Duration::from_millis(100);

trait Stream: Read + Write + Send {
    fn twin(&self) -> io::Result<Box<dyn Stream>>;
    /// Both ends, as the monitor shows them.
    fn ends(&self) -> Option<(String, String)>;
}

impl Stream for TcpStream {
    fn twin(&self) -> io::Result<Box<dyn Stream>> {
        self.set_nodelay(true)?;
        self.set_write_timeout(Some(PATIENCE))?;
        Ok(Box::new(self.try_clone()?))
    }

    fn ends(&self) -> Option<(String, String)> {
        let (own, peer) = (self.local_addr().ok()?, self.peer_addr().ok()?);
        Some((own.to_string(), peer.to_string()))
    }
}

impl Stream for UnixStream {
    fn twin(&self) -> io::Result<Box<dyn Stream>> {
        self.set_write_timeout(Some(PATIENCE))?;
        Ok(Box::new(self.try_clone()?))
    }

    fn ends(&self) -> Option<(String, String)> {
        None
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

    /// Where it listens; the system may have chosen the port.
    fn place(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| String::new(), |at| at.to_string()),
            Self::Unix(listener) => {
                let at = listener.local_addr().ok();
                let path = at.as_ref().and_then(|at| at.as_pathname());
                path.map_or_else(String::new, |path| path.display().to_string())
            }
        }
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
    spec: SocketSpec,
    listener: Option<Arc<Listener>>,
    stream: Option<Box<dyn Stream>>,
    /// Someone is there, and nobody has been told.
    fresh: bool,
    filter: Option<Filter>,
    peer: Peer,
    name: Name,
    place: String,
}

impl Incoming {
    fn label(&self) -> &'static str {
        match (&self.spec.address, self.spec.telnet) {
            (_, true) => "telnet",
            (Address::Tcp(..), _) => "tcp",
            (Address::Unix(_), _) => "unix",
            (Address::Fd(_), _) if matches!(self.listener.as_deref(), Some(Listener::Tcp(_))) => {
                "tcp"
            }
            (Address::Fd(_), _) => "unix",
        }
    }

    fn server(&self) -> &'static str {
        if self.spec.server { ",server=on" } else { "" }
    }

    fn name_disconnected(&self) {
        let text = format!(
            "disconnected:{}:{}{}",
            self.label(),
            self.place,
            self.server()
        );
        self.name.set(text);
    }

    /// Waits for the next peer; those that are gone before they have been greeted do not count.
    fn accept(&mut self, listener: &Listener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok(stream) => {
                    if self.connected(stream).is_ok() {
                        return Ok(());
                    }
                }
                // It does not listen, and never will.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                    ) =>
                {
                    return Err(error);
                }
                // No room for one more descriptor, or a peer that gave up.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn connected(&mut self, mut stream: Box<dyn Stream>) -> io::Result<()> {
        if self.spec.telnet {
            self.filter = Some(Filter::default());
            stream.write_all(&telnet::HELLO)?;
        }
        let twin = stream.twin()?;
        let (label, server) = (self.label(), self.server());
        self.name.set(match stream.ends() {
            Some((own, peer)) => format!("{label}:{own}{server} <-> {peer}"),
            None => format!("{label}:{}{server}", self.place),
        });
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = Some(twin);
        self.stream = Some(stream);
        self.fresh = true;
        Ok(())
    }

    /// Waits for a peer.
    fn wait(&mut self) -> io::Result<()> {
        if let Some(listener) = self.listener.clone() {
            return self.accept(&listener);
        }
        if self.spec.reconnect_ms == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        loop {
            if let Ok(stream) = connect(&self.spec.address)
                && self.connected(stream).is_ok()
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(self.spec.reconnect_ms));
        }
    }
}

impl Source for Incoming {
    fn next(&mut self, into: &mut [u8]) -> io::Result<Arrival> {
        loop {
            if self.stream.is_none() {
                self.wait()?;
            }
            if std::mem::take(&mut self.fresh) {
                return Ok(Arrival::Opened);
            }
            let Some(stream) = &mut self.stream else {
                continue;
            };
            let mut bytes = stream.read(into).unwrap_or(0);
            if bytes == 0 {
                self.stream = None;
                *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.name_disconnected();
                return Ok(Arrival::Closed);
            }
            if let (Some(filter), Some(read)) = (&mut self.filter, into.get_mut(..bytes)) {
                bytes = filter.strip(read);
            }
            if bytes > 0 {
                return Ok(Arrival::Bytes(bytes));
            }
        }
    }
}

/// Connects, or listens and perhaps waits for the first peer.
pub(super) fn open(spec: &SocketSpec, told: &dyn Fn(&str)) -> Result<Port> {
    let mut incoming = Incoming {
        spec: spec.clone(),
        listener: None,
        stream: None,
        fresh: false,
        filter: None,
        peer: Peer::default(),
        name: Name::default(),
        place: place(&spec.address),
    };
    if spec.server {
        let listener = listen(&spec.address)?;
        incoming.place = match &spec.address {
            Address::Unix(_) => incoming.place,
            _ => listener.place(),
        };
        incoming.listener = Some(Arc::new(listener));
        incoming.name_disconnected();
        if spec.wait {
            let name = incoming.name.text();
            told(&format!("info: QEMU waiting for connection on: {name}"));
            incoming
                .wait()
                .map_err(|error| Error::from_io("Unable to accept connection", &error))?;
        }
    } else {
        incoming.name_disconnected();
        match connect(&spec.address) {
            Ok(stream) => incoming
                .connected(stream)
                .map_err(|error| cannot_connect(&spec.address, &error))?,
            Err(_) if spec.reconnect_ms > 0 => {}
            Err(error) => return Err(cannot_connect(&spec.address, &error)),
        }
    }
    let sink = Box::new(Outgoing(Arc::clone(&incoming.peer)));
    let name = incoming.name.clone();
    let mut port = Port::new("", sink, Some(Box::new(incoming)));
    port.name = name;
    Ok(port)
}

fn cannot_connect(address: &Address, error: &io::Error) -> Error {
    let at = place(address);
    Error::from_io(format!("Failed to connect to '{at}'"), error)
}

fn connect(address: &Address) -> io::Result<Box<dyn Stream>> {
    Ok(match address {
        Address::Unix(path) => Box::new(UnixStream::connect(path)?),
        Address::Tcp(..) => Box::new(TcpStream::connect(place(address))?),
        Address::Fd(number) => {
            let fd = sys::process::inherited(*number)?;
            if is_unix(&fd)? {
                Box::new(UnixStream::from(fd))
            } else {
                Box::new(TcpStream::from(fd))
            }
        }
    })
}

fn is_unix(fd: &OwnedFd) -> io::Result<bool> {
    Ok(sockopt::socket_domain(fd)? == AddressFamily::UNIX)
}

/// Where it is, as the system and the user write it.
fn place(address: &Address) -> String {
    match address {
        Address::Unix(path) => path.display().to_string(),
        Address::Tcp(host, port) if host.is_empty() => format!("0.0.0.0:{port}"),
        Address::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        Address::Tcp(host, port) => format!("{host}:{port}"),
        Address::Fd(number) => format!("fd:{number}"),
    }
}

fn listen(address: &Address) -> Result<Listener> {
    match address {
        Address::Tcp(..) => TcpListener::bind(place(address))
            .map(Listener::Tcp)
            .map_err(|error| Error::from_io("Failed to find an available port", &error)),
        Address::Unix(path) => listen_unix(path).map(Listener::Unix).map_err(|error| {
            let text = format!("Failed to bind socket to {}", path.display());
            Error::from_io(text, &error)
        }),
        Address::Fd(number) => {
            let failed =
                |error: &io::Error| Error::from_io(format!("Unable to use FD {number}"), error);
            let fd = sys::process::inherited(*number).map_err(|error| failed(&error))?;
            Ok(if is_unix(&fd).map_err(|error| failed(&error))? {
                Listener::Unix(UnixListener::from(fd))
            } else {
                Listener::Tcp(TcpListener::from(fd))
            })
        }
    }
}

fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    // What an earlier server left there is only a name; what is no socket was left by somebody else.
    let is_socket = |path: &Path| {
        let found = std::fs::symlink_metadata(path);
        found.is_ok_and(|found| found.file_type().is_socket())
    };
    if is_socket(path) && UnixStream::connect(path).is_err() {
        let _ = std::fs::remove_file(path);
    }
    let listener = UnixListener::bind(path)?;
    // In the background the program has another folder.
    let place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    MADE.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(place);
    Ok(listener)
}
