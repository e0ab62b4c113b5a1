//! The text that names a backend in `-serial`, `-monitor` and `-debugcon`.
//! ```text
//!   none | null | stdio | pty | mon:X | file:PATH | /dev/X
//!   unix:PATH[,server[=on|off]][,wait=on|off][,nowait]
//!   tcp:[HOST]:PORT[,the same]
//! ```

use std::fmt;
use std::path::PathBuf;

/// A backend to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// Drops everything.
    Null,
    /// Standard input and output; whether Ctrl-C still ends the program.
    Stdio {
        /// Keys that send signals do so.
        signal: bool,
    },
    /// A file.
    File {
        /// Its name.
        path: PathBuf,
        /// What is in it stays.
        append: bool,
    },
    /// A new pseudo-terminal.
    Pty,
    /// A stream socket.
    Socket {
        /// Where.
        address: Address,
        /// Wait for others to connect.
        server: bool,
        /// Do not start before someone did.
        wait: bool,
    },
    /// Shared between a device and the monitor.
    Mux(Box<Spec>),
}

/// Where a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A path.
    Unix(PathBuf),
    /// Host and port.
    Tcp(String, String),
}

/// Why a text names no backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpecError {
    /// No backend has this name.
    Unknown(String),
    /// It is known and not built.
    Missing(String),
    /// Something in it is wrong.
    Invalid(String),
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => write!(f, "'{text}' is not a valid char driver"),
            Self::Missing(name) => write!(f, "character backend '{name}' is not there yet"),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for SpecError {}

impl Spec {
    /// Reads the text; `Ok(None)` for `none`, which asks that there be no such device.
    ///
    /// # Errors
    /// See [`SpecError`].
    pub fn parse(text: &str) -> Result<Option<Self>, SpecError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        Ok(Some(match (kind, rest) {
            ("none", "") => return Ok(None),
            ("null", "") => Self::Null,
            ("stdio", "") => Self::Stdio { signal: true },
            ("pty", "") => Self::Pty,
            // GAP: a virtual console needs a display; without one it shows nothing.
            ("vc", _) => Self::Null,
            ("mon", below) => match Self::parse(below)? {
                Some(Self::Stdio { .. }) => Self::Mux(Box::new(Self::Stdio { signal: false })),
                Some(below) => Self::Mux(Box::new(below)),
                None => return Err(SpecError::Unknown(below.to_owned())),
            },
            ("file", path) if !path.is_empty() => Self::File {
                path: path.into(),
                append: false,
            },
            ("unix" | "tcp", _) => Self::socket(kind, rest)?,
            ("telnet" | "websocket" | "udp" | "pipe" | "chardev" | "braille" | "msmouse", _) => {
                return Err(SpecError::Missing(kind.to_owned()));
            }
            _ if text.starts_with("/dev/") => Self::File {
                path: text.into(),
                append: true,
            },
            _ => return Err(SpecError::Unknown(text.to_owned())),
        }))
    }

    fn socket(kind: &str, rest: &str) -> Result<Self, SpecError> {
        let mut parts = rest.split(',');
        let place = parts.next().unwrap_or("");
        let (mut server, mut wait) = (false, None);
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, "on"));
            let on = match value {
                "on" | "yes" | "true" | "y" => true,
                "off" | "no" | "false" | "n" => false,
                _ => {
                    let text = format!("Parameter '{name}' expects 'on' or 'off'");
                    return Err(SpecError::Invalid(text));
                }
            };
            match name {
                "server" => server = on,
                "wait" => wait = Some(on),
                "nowait" => wait = Some(!on),
                // Small packets are sent at once in any case.
                "nodelay" | "delay" => {}
                _ => {
                    let text = format!("Invalid parameter '{name}'");
                    return Err(SpecError::Invalid(text));
                }
            }
        }
        let address = if kind == "unix" {
            Address::Unix(place.into())
        } else {
            let (host, port) = place
                .rsplit_once(':')
                .ok_or_else(|| SpecError::Invalid(format!("error parsing address '{place}'")))?;
            Address::Tcp(host.to_owned(), port.to_owned())
        };
        if wait.is_some() && !server {
            let text = "'wait' option is incompatible with socket in client connect mode";
            return Err(SpecError::Invalid(text.to_owned()));
        }
        Ok(Self::Socket {
            address,
            server,
            wait: server && wait.unwrap_or(true),
        })
    }

    /// Whether it uses the standard streams.
    pub fn uses_stdio(&self) -> bool {
        match self {
            Self::Stdio { .. } => true,
            Self::Mux(below) => below.uses_stdio(),
            _ => false,
        }
    }
}
