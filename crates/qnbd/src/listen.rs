//! Where clients come from: a TCP port, a unix socket, or a socket that systemd made.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use qapi::{Error, Result};
use rustix::net::{AddressFamily, SocketType};

/// The port that stands for NBD.
const PORT: &str = "10809";
/// Room for a path in a unix socket's address, with its final zero.
const MAX_PATH: usize = 108;
/// The first descriptor that systemd leaves.
const FIRST: i32 = 3;
const EADDRINUSE: i32 = 98;

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(String),
    Inet { host: String, port: String },
}

/// An open door.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Address {
    /// What the options say; TCP on all addresses if they say nothing.
    pub(crate) fn of(socket: Option<&str>, bind: Option<&str>, port: Option<&str>) -> Self {
        match socket {
            Some(path) => Self::Unix(path.to_owned()),
            None => Self::Inet {
                host: bind.unwrap_or("0.0.0.0").to_owned(),
                port: port.unwrap_or(PORT).to_owned(),
            },
        }
    }

    /// Opens a door there.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(crate) fn listen(&self) -> Result<Listener> {
        match self {
            Self::Unix(path) => listen_unix(path).map(Listener::Unix),
            Self::Inet { host, port } => listen_inet(host, port).map(Listener::Tcp),
        }
    }

    /// Connects to a server there.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(crate) fn connect(&self) -> Result<Stream> {
        match self {
            Self::Unix(path) => {
                check_path(path)?;
                UnixStream::connect(path)
                    .map(Stream::Unix)
                    .map_err(|e| Error::from_io(format!("Failed to connect to '{path}'"), &e))
            }
            Self::Inet { host, port } => {
                let mut failed = io::Error::from(io::ErrorKind::NotFound);
                for address in resolve(host, port)? {
                    match TcpStream::connect(address) {
                        Ok(stream) => return Ok(Stream::Tcp(stream)),
                        Err(error) => failed = error,
                    }
                }
                let what = format!("Failed to connect to '{host}:{port}'");
                Err(Error::from_io(what, &failed))
            }
        }
    }
}

fn check_path(path: &str) -> Result<()> {
    if path.len() < MAX_PATH {
        return Ok(());
    }
    Err(Error::new(format!("UNIX socket path '{path}' is too long"))
        .hint(format!("Path must be less than {MAX_PATH} bytes")))
}

fn listen_unix(path: &str) -> Result<UnixListener> {
    check_path(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // What cannot be taken away shows when it is bound.
        Err(_) | Ok(()) => {}
    }
    UnixListener::bind(path)
        .map_err(|e| Error::from_io(format!("Failed to bind socket to {path}"), &e))
}

fn listen_inet(host: &str, port: &str) -> Result<TcpListener> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(host, port)? {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    let what = if failed.raw_os_error() == Some(EADDRINUSE) {
        "Failed to find an available port"
    } else {
        "Failed to bind socket"
    };
    Err(Error::from_io(what, &failed))
}

/// The addresses that a name stands for.
fn resolve(host: &str, port: &str) -> Result<Vec<SocketAddr>> {
    let failed = |why: &str| {
        Error::new(format!(
            "address resolution failed for {host}:{port}: {why}"
        ))
    };
    let number = service(port).ok_or_else(|| failed("Servname not supported for ai_socktype"))?;
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, number)]);
    }
    let found = (host, number).to_socket_addrs().map_err(|error| {
        let text = error.to_string();
        let why = text.rsplit_once("information: ").map(|(_, why)| why);
        failed(why.unwrap_or(&text))
    })?;
    Ok(found.collect())
}

/// A port by its number (of which, as in the C library, only 16 bits count) or its name.
fn service(port: &str) -> Option<u16> {
    if let Ok(number) = port.parse::<u64>() {
        return u16::try_from(number & 0xffff).ok();
    }
    let services = std::fs::read_to_string("/etc/services").ok()?;
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (name, number) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        if name == port || words.any(|alias| alias == port) {
            number.parse().ok()
        } else {
            None
        }
    })
}

/// How many sockets systemd left, if any.
pub(crate) fn activation() -> Result<usize> {
    let read = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    if read("LISTEN_PID") != Some(std::process::id()) {
        return Ok(0);
    }
    let count = read("LISTEN_FDS").unwrap_or(0);
    // Each is looked at, but nobody leaves thousands.
    for number in (FIRST..).take(usize::try_from(count.min(1024)).unwrap_or(0)) {
        if let Err(error) = std::fs::symlink_metadata(format!("/proc/self/fd/{number}")) {
            let _ = error;
            return Err(Error::with_errno(
                format!("Socket activation failed: invalid file descriptor fd = {number}"),
                9,
            ));
        }
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The one socket that systemd left.
///
/// # Errors
/// When it is none.
pub(crate) fn activated() -> Result<Listener> {
    let failed = |e: io::Error| Error::from_io("Failed to use socket activation", &e);
    let fd = sys::process::inherited(FIRST).map_err(failed)?;
    listener_of(fd).map_err(|e| {
        let what = "Failed to use socket activation: Unable to query remote socket address";
        Error::from_io(what, &e)
    })
}

fn listener_of(fd: OwnedFd) -> io::Result<Listener> {
    let kind = rustix::net::sockopt::socket_type(&fd)?;
    if kind != SocketType::STREAM {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(match rustix::net::sockopt::socket_domain(&fd)? {
        AddressFamily::UNIX => Listener::Unix(fd.into()),
        AddressFamily::INET | AddressFamily::INET6 => Listener::Tcp(fd.into()),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    })
}

/// Gives sockets that this thread makes from now on a label of SELinux; `None`: the usual one.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_label(label: Option<&str>) -> io::Result<()> {
    let bytes = label.map_or_else(Vec::new, |label| format!("{label}\0").into_bytes());
    std::fs::write("/proc/thread-self/attr/sockcreate", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_sixteen_bits() {
        assert_eq!(service("10809"), Some(10809));
        assert_eq!(service("99999"), Some(34463));
        assert_eq!(service("no such service"), None);
    }

    #[test]
    fn long_paths_are_refused_with_the_limit() {
        let error = Address::Unix("/".repeat(108)).listen().unwrap_err();
        assert_eq!(error.hint_text(), Some("Path must be less than 108 bytes"));
    }

    #[test]
    fn an_address_is_taken_once() {
        let any = Address::of(None, Some("127.0.0.1"), Some("0"));
        let Listener::Tcp(first) = any.listen().unwrap() else {
            panic!("a TCP address gives a TCP listener");
        };
        let port = first.local_addr().unwrap().port().to_string();
        let error = Address::of(None, Some("127.0.0.1"), Some(&port))
            .listen()
            .unwrap_err();
        assert_eq!(
            error.message(),
            "Failed to find an available port: Address already in use"
        );
    }
}
