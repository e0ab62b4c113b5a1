//! What a backend is to be: from the text of `-serial`, `-monitor` and the like, or from the options of `-chardev`.
//!
//! ```text
//!   none | null | vc[:SIZE] | stdio | pty | mon:X | file:PATH | pipe:PATH | /dev/X
//!   unix:PATH[,server[=on|off]][,wait=on|off][,nowait][,reconnect-ms=N]
//!   tcp:[HOST]:PORT[,the same] | telnet:[HOST]:PORT[,the same]
//! ```
//! The text is turned into the options, so that both refuse in the same words.

use std::path::PathBuf;

use qapi::{Error, Result, opts};

/// A backend to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// What is below.
    pub kind: Kind,
    /// Several fronts share it.
    pub mux: bool,
    /// A copy of what the guest sends goes here; whether what is in it stays.
    pub log: Option<(PathBuf, bool)>,
}

/// The kinds of backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Drops everything.
    Null,
    /// A text console on the screen.
    Vc,
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
        /// Where what is read comes from.
        input: Option<PathBuf>,
    },
    /// A named pipe, or two called `PATH.in` and `PATH.out`.
    Pipe(PathBuf),
    /// A new pseudo-terminal.
    Pty,
    /// The last bytes sent, kept in memory.
    Ringbuf(usize),
    /// A stream socket.
    Socket(SocketSpec),
}

/// A stream socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSpec {
    /// Where.
    pub address: Address,
    /// Wait for others to connect.
    pub server: bool,
    /// Do not start before someone did.
    pub wait: bool,
    /// The peer is a telnet client.
    pub telnet: bool,
    /// A client that lost its server tries again after so many milliseconds; zero for never.
    pub reconnect_ms: u64,
}

/// Where a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A path.
    Unix(PathBuf),
    /// Host and port.
    Tcp(String, String),
    /// A descriptor that the program was started with.
    Fd(i32),
}

/// All kinds by their names.
pub const BACKENDS: &[&str] = &[
    "file", "vc", "socket", "null", "pty", "pipe", "mux", "ringbuf", "stdio",
];

/// Kinds of the reference that are not built.
const MISSING: &[&str] = &[
    "udp",
    "hub",
    "msmouse",
    "serial",
    "parallel",
    "braille",
    "spicevmc",
    "spiceport",
    "testdev",
    "wctablet",
    "memory",
    "qemu-vdagent",
    "websocket",
    "dbus",
];

/// Largest ring.
const MOST_RING: u64 = 64 << 20;

type Pairs = Vec<(String, String)>;

impl Spec {
    /// A backend with nothing special about it.
    #[must_use]
    pub fn plain(kind: Kind) -> Self {
        Self {
            kind,
            mux: false,
            log: None,
        }
    }

    /// Reads the text; `Ok(None)` for `none`, which asks that there be no such device.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        if text == "none" {
            return Ok(None);
        }
        let (kind, pairs) = legacy(text)?;
        Self::from_options(&kind, pairs).map(Some)
    }

    /// Reads the options of `-chardev`, without `id`.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn from_options(kind: &str, pairs: Pairs) -> Result<Self> {
        let mut given = Given(pairs);
        let mux = given.switch("mux")?.unwrap_or(false);
        let append = given.switch("logappend")?.unwrap_or(false);
        let log = given.take("logfile").map(|path| (path.into(), append));
        let kind = match kind {
            "null" => Kind::Null,
            "vc" => {
                // GAP: a text console needs a display; without one it shows nothing, so its size is nobody's business.
                for name in ["width", "height", "cols", "rows"] {
                    given.take(name);
                }
                Kind::Vc
            }
            "stdio" => Kind::Stdio {
                signal: given.switch("signal")?.unwrap_or(true),
            },
            "pty" => {
                if given.take("path").is_some() {
                    return Err(Error::new("pty: 'path' is not supported yet"));
                }
                Kind::Pty
            }
            "file" => Kind::File {
                path: given.path("file", "filename")?,
                append: given.switch("append")?.unwrap_or(false),
                input: given.take("input-path").map(PathBuf::from),
            },
            "pipe" => Kind::Pipe(given.path("pipe", "device")?),
            "ringbuf" => Kind::Ringbuf(given.ring()?),
            "socket" => Kind::Socket(given.socket()?),
            name if MISSING.contains(&name) => {
                let text = format!("character backend '{name}' is not supported yet");
                return Err(Error::new(text));
            }
            name => {
                let text = format!("'{name}' is not a valid char driver name");
                return Err(Error::new(text));
            }
        };
        given.done()?;
        Ok(Self { kind, mux, log })
    }

    /// Whether it uses the standard streams.
    pub fn uses_stdio(&self) -> bool {
        matches!(self.kind, Kind::Stdio { .. })
    }
}

/// The kind and the options that a short text stands for.
fn legacy(text: &str) -> Result<(String, Pairs)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    if let Some(below) = text.strip_prefix("mon:") {
        let (kind, mut pairs) = legacy(below)?;
        pairs.push(pair("mux", "on"));
        if below == "stdio" {
            pairs.push(pair("signal", "off"));
        }
        return Ok((kind, pairs));
    }
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let unknown = || Error::new(format!("'{text}' is not a valid char driver"));
    let named = |kind: &str, pairs| Ok((kind.to_owned(), pairs));
    match (kind, rest) {
        ("null" | "pty" | "stdio" | "vc", "") => named(kind, Vec::new()),
        ("vc", _) => named(kind, Vec::new()),
        ("file" | "pipe", path) if !path.is_empty() => named(kind, vec![pair("path", path)]),
        ("unix", _) => named("socket", opts::split(rest, Some("path"))),
        ("tcp" | "telnet", _) => {
            let end = rest.find(',').unwrap_or(rest.len());
            let (place, more) = rest.split_at(end);
            let (host, port) = place.rsplit_once(':').ok_or_else(unknown)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let mut pairs = vec![pair("host", host), pair("port", port)];
            pairs.extend(opts::split(more.trim_start_matches(','), None));
            if kind == "telnet" {
                pairs.push(pair("telnet", "on"));
            }
            named("socket", pairs)
        }
        _ if text.starts_with("/dev/") => {
            named("file", vec![pair("path", text), pair("append", "on")])
        }
        ("udp" | "websocket" | "braille" | "msmouse" | "wctablet", _) => named(kind, Vec::new()),
        _ => Err(unknown()),
    }
}

/// Options that nobody has taken yet.
struct Given(Pairs);

impl Given {
    fn take(&mut self, name: &str) -> Option<String> {
        let mut found = None;
        self.0.retain(|(key, value)| {
            if key == name {
                found = Some(value.clone());
            }
            key != name
        });
        found
    }

    fn switch(&mut self, name: &str) -> Result<Option<bool>> {
        let value = self.take(name);
        value.map(|v| opts::parse_bool(name, &v)).transpose()
    }

    fn path(&mut self, kind: &str, what: &str) -> Result<PathBuf> {
        let path = self.take("path").map(PathBuf::from);
        path.ok_or_else(|| Error::new(format!("chardev: {kind}: no {what} given")))
    }

    fn ring(&mut self) -> Result<usize> {
        let size = match self.take("size") {
            None => 64 << 10,
            Some(text) => qapi::parse_size(&text).map_err(|_| {
                Error::new("Parameter 'size' expects a non-negative number below 2^64")
            })?,
        };
        if !size.is_power_of_two() {
            let text = "size of ringbuf chardev must be power of two";
            return Err(Error::new(text));
        }
        let size = size.min(MOST_RING);
        Ok(usize::try_from(size).unwrap_or(1))
    }

    fn socket(&mut self) -> Result<SocketSpec> {
        let address = match (self.take("path"), self.take("fd"), self.take("host")) {
            (Some(path), ..) => Address::Unix(path.into()),
            (None, None, Some(host)) => {
                let port = self.take("port");
                let port = port.ok_or_else(|| Error::new("chardev: socket: no port given"))?;
                Address::Tcp(host, port)
            }
            (None, fd, _) => {
                let fd = fd.unwrap_or_default();
                let number = fd.parse();
                Address::Fd(
                    number.map_err(|_| Error::new(format!("Unable to parse FD number {fd}")))?,
                )
            }
        };
        let server = self.switch("server")?.unwrap_or(false);
        let wait = self.switch("wait")?;
        if wait.is_some() && !server {
            let text = "'wait' option is incompatible with socket in client connect mode";
            return Err(Error::new(text));
        }
        let telnet = self.switch("telnet")?.unwrap_or(false);
        for name in ["websocket", "tn3270", "tls-creds", "tls-authz", "to"] {
            if self.take(name).is_some_and(|value| value != "off") {
                let text = format!("'{name}' of socket backends is not supported yet");
                return Err(Error::new(text));
            }
        }
        // Small packets are sent at once in any case, and names are looked up for whatever they have.
        for name in ["delay", "nodelay", "ipv4", "ipv6", "abstract", "tight"] {
            self.switch(name)?;
        }
        let ms = self.number("reconnect-ms")?;
        let seconds = self.number("reconnect")?;
        let reconnect_ms = ms.or(seconds.map(|s| s.saturating_mul(1000))).unwrap_or(0);
        if reconnect_ms > 0 && server {
            let text = "'reconnect' option is incompatible with socket in server listen mode";
            return Err(Error::new(text));
        }
        Ok(SocketSpec {
            address,
            server,
            wait: server && wait.unwrap_or(true),
            telnet,
            reconnect_ms,
        })
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>> {
        let parse = |text: String| {
            text.parse()
                .map_err(|_| Error::new(format!("Parameter '{name}' expects a number")))
        };
        self.take(name).map(parse).transpose()
    }

    fn done(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::new(format!("Invalid parameter '{name}'"))),
        }
    }
}
