//! Where clients come from: a TCP port, a unix socket, or a socket that systemd made.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use block_protocols::nbd::address::{Address, PORT, check_path, resolve};
use qapi::{Error, Result};
use rustix::net::{AddressFamily, SocketType};

/// The first descriptor that systemd leaves.
const FIRST: i32 = 3;
const EADDRINUSE: i32 = 98;

/// An open door.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// What the options say; TCP on all addresses if they say nothing.
pub(crate) fn address(socket: Option<&str>, bind: Option<&str>, port: Option<&str>) -> Address {
    match socket {
        Some(path) => Address::Unix(path.to_owned()),
        None => Address::Inet {
            host: bind.unwrap_or("0.0.0.0").to_owned(),
            port: port.unwrap_or(PORT).to_owned(),
        },
    }
}

/// Opens a door there.
///
/// # Errors
/// In QEMU's words.
pub(crate) fn listen(at: &Address) -> Result<Listener> {
    match at {
        Address::Unix(path) => listen_unix(path).map(Listener::Unix),
        Address::Inet { host, port } => listen_inet(host, port).map(Listener::Tcp),
    }
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
    fn an_address_is_taken_once() {
        let any = address(None, Some("127.0.0.1"), Some("0"));
        let Listener::Tcp(first) = listen(&any).unwrap() else {
            panic!("a TCP address gives a TCP listener");
        };
        let port = first.local_addr().unwrap().port().to_string();
        let taken = address(None, Some("127.0.0.1"), Some(&port));
        let error = listen(&taken).unwrap_err();
        assert_eq!(
            error.message(),
            "Failed to find an available port: Address already in use"
        );
    }
}
