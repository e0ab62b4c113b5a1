//! Where a server is, and how it is reached: a path or a host with its port.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use qapi::{Error, Result};
use tokio::net::{TcpStream, UnixStream};

use super::wire::Wire;

/// The port that stands for NBD.
pub const PORT: &str = "10809";
/// Room for a path in a unix socket's address, with its final zero.
const MAX_PATH: usize = 108;
/// A host that does not answer at all is given up after this.
const PATIENCE: Duration = Duration::from_secs(60);
const ETIMEDOUT: i32 = 110;

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The path of a socket.
    Unix(String),
    /// A name or number, and a port's number or name.
    Inet {
        /// The host.
        host: String,
        /// The port.
        port: String,
    },
}

impl Address {
    /// How messages name it.
    pub fn shown(&self) -> String {
        match self {
            Self::Unix(path) => path.clone(),
            Self::Inet { host, port } => format!("{host}:{port}"),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// In QEMU's words.
    pub async fn connect(&self) -> Result<Wire> {
        let failed =
            |e: &io::Error| Error::from_io(format!("Failed to connect to '{}'", self.shown()), e);
        match self {
            Self::Unix(path) => {
                check_path(path)?;
                let stream = UnixStream::connect(path).await;
                stream.map(Wire::Unix).map_err(|e| failed(&e))
            }
            Self::Inet { host, port } => {
                let mut last = io::Error::from(io::ErrorKind::NotFound);
                for address in resolve(host, port)? {
                    let connecting = TcpStream::connect(address);
                    match tokio::time::timeout(PATIENCE, connecting).await {
                        Ok(Ok(stream)) => {
                            // Small requests are waited for. A socket that cannot do that is slower, not wrong.
                            let _ = stream.set_nodelay(true);
                            return Ok(Wire::Tcp(stream));
                        }
                        Ok(Err(error)) => last = error,
                        Err(_) => last = io::Error::from_raw_os_error(ETIMEDOUT),
                    }
                }
                Err(failed(&last))
            }
        }
    }
}

/// Refuses a path that is too long for a socket.
///
/// # Errors
/// In QEMU's words.
pub fn check_path(path: &str) -> Result<()> {
    if path.len() < MAX_PATH {
        return Ok(());
    }
    Err(Error::new(format!("UNIX socket path '{path}' is too long"))
        .hint(format!("Path must be less than {MAX_PATH} bytes")))
}

/// The addresses that a name stands for.
///
/// # Errors
/// In QEMU's words.
pub fn resolve(host: &str, port: &str) -> Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
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
pub(crate) fn service(port: &str) -> Option<u16> {
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
        let error = check_path(&"/".repeat(108)).unwrap_err();
        assert_eq!(error.hint_text(), Some("Path must be less than 108 bytes"));
    }
}
