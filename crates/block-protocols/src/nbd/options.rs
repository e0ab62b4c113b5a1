//! Names and options of a node, and what they ask for.
//!
//! ```text
//! nbd://HOST[:PORT]/EXPORT            nbd+unix:///EXPORT?socket=PATH      (nbds, nbds+unix: inside TLS)
//! nbds://HOST[:PORT]/EXPORT?tls-certificates=DIR
//! nbd:HOST:PORT[:exportname=EXPORT]   nbd:unix:PATH[:exportname=EXPORT]
//! server.type=inet,server.host=,server.port=   server.type=unix,server.path=   host=,port=   path=
//! ```
//! The old form cannot say an export without `:exportname=`, and an empty one makes the whole name mean nothing.

use std::time::Duration;

use nbd_proto::MAX_STRING;
use nbd_proto::flags::BASE_ALLOCATION;
use qapi::{Dict, Error, Result, Value, opts};

use super::address::{Address, PORT};
use crate::percent::unescape;

const EXPORT_MARK: &str = ":exportname=";

/// What a node is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) address: Address,
    pub(super) export: Option<String>,
    /// The id of TLS credentials.
    pub(super) tls_creds: Option<String>,
    /// A folder with certificates, from a name: credentials of our own.
    pub(super) tls_certificates: Option<String>,
    /// It was named by `nbds`.
    pub(super) secure: bool,
    /// The name that the server's certificate is to be for, if it is another one than the address has.
    pub(super) tls_hostname: Option<String>,
    /// A context that block status shows instead of allocation.
    pub(super) bitmap: Option<String>,
    /// How long requests wait for a lost server.
    pub(super) reconnect_delay: Duration,
    /// How long opening waits for one.
    pub(super) open_timeout: Duration,
}

impl Settings {
    /// Takes the driver's options out of a node's.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(super) fn take(options: &mut Dict) -> Result<Self> {
        let address = take_address(options)?;
        let export = opts::take_str(options, "export")?;
        if export.as_ref().is_some_and(|e| e.len() > MAX_STRING) {
            return Err(Error::new("export name too long to send to server"));
        }
        let bitmap = opts::take_str(options, "x-dirty-bitmap")?;
        if bitmap.as_ref().is_some_and(|e| e.len() > MAX_STRING) {
            return Err(Error::new(
                "x-dirty-bitmap query too long to send to server",
            ));
        }
        Ok(Self {
            address,
            export,
            bitmap,
            tls_creds: opts::take_str(options, "tls-creds")?,
            tls_certificates: opts::take_str(options, "tls-certificates")?,
            secure: opts::take_bool(options, "tls")?.unwrap_or(false),
            tls_hostname: opts::take_str(options, "tls-hostname")?,
            reconnect_delay: take_seconds(options, "reconnect-delay")?,
            open_timeout: take_seconds(options, "open-timeout")?,
        })
    }

    /// The metadata context to ask for.
    pub(super) fn context(&self) -> &str {
        self.bitmap.as_deref().unwrap_or(BASE_ALLOCATION)
    }

    /// The name that a server's certificate must be for.
    pub(super) fn tls_name(&self) -> Option<&str> {
        match (&self.tls_hostname, &self.address) {
            (Some(name), _) => Some(name),
            (None, Address::Inet { host, .. }) => Some(host),
            (None, Address::Unix(_)) => None,
        }
    }

    pub(super) fn export(&self) -> &str {
        self.export.as_deref().unwrap_or_default()
    }
}

fn take_seconds(options: &mut Dict, name: &str) -> Result<Duration> {
    let wrong = || Error::new(format!("Parameter '{name}' expects a number"));
    let seconds = match options.remove(name) {
        None => 0,
        Some(Value::Uint(n)) => n,
        Some(Value::Int(n)) => u64::try_from(n).map_err(|_| wrong())?,
        Some(Value::Str(text)) => text.parse().map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
    };
    // Longer than anybody waits, and still a time that can be added to now.
    Ok(Duration::from_secs(seconds.min(u64::from(u32::MAX))))
}

fn take_text(options: &mut Dict, name: &str) -> Result<Option<String>> {
    match options.remove(name) {
        None => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text)),
        Some(Value::Int(n)) => Ok(Some(n.to_string())),
        Some(Value::Uint(n)) => Ok(Some(n.to_string())),
        Some(_) => Err(Error::new(format!(
            "Invalid parameter type for '{name}', expected: string"
        ))),
    }
}

fn take_address(options: &mut Dict) -> Result<Address> {
    let path = take_text(options, "path")?;
    let host = take_text(options, "host")?;
    let port = take_text(options, "port")?;
    let server = options.remove("server");
    if server.is_some() && (path.is_some() || host.is_some() || port.is_some()) {
        return Err(Error::new(
            "Cannot use 'server' and path/host/port at the same time",
        ));
    }
    match (path, host) {
        (Some(_), Some(_)) => Err(Error::new("path and host may not be used at the same time")),
        (Some(_), None) if port.is_some() => Err(Error::new("port may not be used without host")),
        (Some(path), None) => Ok(Address::Unix(path)),
        (None, Some(host)) => Ok(Address::Inet {
            host,
            port: port.unwrap_or_else(|| PORT.to_owned()),
        }),
        (None, None) => match server {
            Some(Value::Dict(server)) => server_address(server),
            _ => Err(Error::new("NBD server address missing")),
        },
    }
}

/// `server.*`
fn server_address(mut server: Dict) -> Result<Address> {
    let missing = |name: &str| Error::new(format!("Parameter '{name}' is missing"));
    let kind = take_text(&mut server, "type")?.ok_or_else(|| missing("type"))?;
    let address = match kind.as_str() {
        "inet" => Address::Inet {
            host: take_text(&mut server, "host")?.ok_or_else(|| missing("host"))?,
            port: take_text(&mut server, "port")?.ok_or_else(|| missing("port"))?,
        },
        "unix" => Address::Unix(take_text(&mut server, "path")?.ok_or_else(|| missing("path"))?),
        // GAP: descriptors passed by the caller, and vsock.
        "fd" | "vsock" => {
            return Err(Error::new(format!("server.type={kind} is not supported")));
        }
        other => {
            return Err(Error::new(format!(
                "Parameter 'type' does not accept value '{other}'"
            )));
        }
    };
    match server.iter().next() {
        None => Ok(address),
        // GAP: ipv4, ipv6, keep-alive, abstract and the like.
        Some((name, _)) => Err(Error::new(format!("Parameter '{name}' is unexpected"))),
    }
}

/// The name that a node of these options has.
pub(super) fn plain_name(options: &Dict) -> Option<String> {
    let settings = Settings::take(&mut options.clone()).ok()?;
    let name = match (&settings.address, &settings.export) {
        (Address::Unix(path), Some(export)) => format!("nbd+unix:///{export}?socket={path}"),
        (Address::Unix(path), None) => format!("nbd+unix://?socket={path}"),
        (Address::Inet { host, port }, Some(export)) => format!("nbd://{host}:{port}/{export}"),
        (Address::Inet { host, port }, None) => format!("nbd://{host}:{port}"),
    };
    let name = match &settings.tls_certificates {
        None => name,
        Some(dir) => {
            let mark = if name.contains('?') { '&' } else { '?' };
            format!(
                "{}{mark}tls-certificates={dir}",
                name.replacen("nbd", "nbds", 1)
            )
        }
    };
    // QEMU shows no longer ones.
    (name.len() < 1024).then_some(name)
}

/// Turns a name into options.
pub(super) fn parse_filename(name: &str, options: &mut Dict) -> Result<()> {
    for given in ["host", "port", "path", "export", "server"] {
        if options.get(given).is_some() {
            return Err(Error::new(format!(
                "Option '{given}' cannot be used with a file name"
            )));
        }
    }
    let parsed = if name.contains("://") {
        parse_uri(name).ok_or_else(|| Error::new("No valid URL specified"))?
    } else {
        match parse_old(name)? {
            Some(parsed) => parsed,
            None => return Ok(()),
        }
    };
    let Parsed {
        address,
        export,
        secure,
        certificates,
    } = parsed;
    if secure {
        options.insert("tls", true);
    }
    if let Some(dir) = certificates {
        options.insert("tls-certificates", dir);
    }
    let mut server = Dict::new();
    match address {
        Address::Unix(path) => {
            server.insert("type", "unix");
            server.insert("path", path);
        }
        Address::Inet { host, port } => {
            server.insert("type", "inet");
            server.insert("host", host);
            server.insert("port", port);
        }
    }
    options.insert("server", server);
    if let Some(export) = export {
        options.insert("export", export);
    }
    Ok(())
}

/// What a name says.
struct Parsed {
    address: Address,
    export: Option<String>,
    secure: bool,
    certificates: Option<String>,
}

impl Parsed {
    fn plain(address: Address, export: Option<String>) -> Self {
        Self {
            address,
            export,
            secure: false,
            certificates: None,
        }
    }
}

fn parse_uri(name: &str) -> Option<Parsed> {
    let (scheme, rest) = name.split_once("://")?;
    let secure = scheme.starts_with("nbds");
    let unix = match scheme {
        "nbd" | "nbd+tcp" | "nbds" | "nbds+tcp" => false,
        "nbd+unix" | "nbds+unix" => true,
        _ => return None,
    };
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let export = unescape(path.strip_prefix('/').unwrap_or(path))?;
    let export = Some(export).filter(|e| !e.is_empty());
    let (mut socket, mut certificates) = (None, None);
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty())
    {
        match pair.split_once('=')? {
            ("socket", path) if unix && socket.is_none() => socket = Some(unescape(path)?),
            ("tls-certificates", dir) if secure => certificates = Some(unescape(dir)?),
            _ => return None,
        }
    }
    let parsed = |address| {
        Some(Parsed {
            address,
            export,
            secure,
            certificates,
        })
    };
    if unix {
        return parsed(Address::Unix(socket.filter(|_| place.is_empty())?));
    }
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        None => return None,
        Some("" | "0") => PORT,
        Some(port) => {
            port.parse::<u16>().ok()?;
            port
        }
    };
    let host = Some(unescape(host)?).filter(|h| !h.is_empty())?;
    let port = port.to_owned();
    parsed(Address::Inet { host, port })
}

/// The form without slashes. `None`: it says nothing.
fn parse_old(name: &str) -> Result<Option<Parsed>> {
    let (place, export) = match name.split_once(EXPORT_MARK) {
        Some((_, "")) => return Ok(None),
        Some((place, export)) => (place, Some(export.to_owned())),
        None => (name, None),
    };
    let place = place
        .strip_prefix("nbd:")
        .ok_or_else(|| Error::new("File name string for NBD must start with 'nbd:'"))?;
    if place.is_empty() {
        return Ok(None);
    }
    if let Some(path) = place.strip_prefix("unix:") {
        return Ok(Some(Parsed::plain(Address::Unix(path.to_owned()), export)));
    }
    let wrong = |kind: &str| Error::new(format!("error parsing {kind}address '{place}'"));
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or_else(|| wrong("IPv6 "))?,
        None => place.split_once(':').ok_or_else(|| wrong(""))?,
    };
    if port.is_empty() || port.contains([':', ',']) {
        return Err(wrong(""));
    }
    let (host, port) = (host.to_owned(), port.to_owned());
    Ok(Some(Parsed::plain(Address::Inet { host, port }, export)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Result<String> {
        let mut options = Dict::new();
        parse_filename(name, &mut options)?;
        Settings::take(&mut options.clone())?;
        Ok(plain_name(&options).unwrap_or_default())
    }

    #[test]
    fn names_come_back_in_their_full_form() {
        for (given, full) in [
            ("nbd://host", "nbd://host:10809"),
            ("nbd://host/", "nbd://host:10809"),
            ("nbd+tcp://host:1/a/b", "nbd://host:1/a/b"),
            ("nbd://[::1]:5/%41", "nbd://::1:5/A"),
            ("nbd+unix:///e?socket=/s", "nbd+unix:///e?socket=/s"),
            ("nbd+unix://?socket=/s", "nbd+unix://?socket=/s"),
            ("nbd:host:1", "nbd://host:1"),
            ("nbd:host:1:exportname=e", "nbd://host:1/e"),
            ("nbd:unix:/s:exportname=e", "nbd+unix:///e?socket=/s"),
            ("nbd:[::1]:5", "nbd://::1:5"),
            (
                "nbds+unix:///e?socket=/s&tls-certificates=/d",
                "nbds+unix:///e?socket=/s&tls-certificates=/d",
            ),
            (
                "nbds://h/?tls-certificates=/d",
                "nbds://h:10809?tls-certificates=/d",
            ),
        ] {
            assert_eq!(parsed(given).unwrap(), full, "{given}");
        }
    }

    #[test]
    fn wrong_names_are_refused_in_known_words() {
        for (given, words) in [
            ("nbd://", "No valid URL specified"),
            ("nbd://h/?socket=x", "No valid URL specified"),
            ("nbd+unix:///x", "No valid URL specified"),
            ("nbd+unix://h/x?socket=/s", "No valid URL specified"),
            ("nbd://h/?tls-certificates=/d", "No valid URL specified"),
            ("nbd://h:99999", "No valid URL specified"),
            ("nbd:", "NBD server address missing"),
            ("nbd:h:1:exportname=", "NBD server address missing"),
            ("nbd:foo", "error parsing address 'foo'"),
            ("nbd://h/%0", "No valid URL specified"),
        ] {
            assert_eq!(parsed(given).unwrap_err().message(), words, "{given}");
        }
        let long = format!("nbd://host/{}", "x".repeat(4097));
        assert_eq!(
            parsed(&long).unwrap_err().message(),
            "export name too long to send to server"
        );
    }

    #[test]
    fn options_that_do_not_fit_together_are_refused() {
        let refusal = |pairs: &[(&str, &str)]| {
            let mut flat = Dict::new();
            for (name, value) in pairs {
                flat.insert(*name, *value);
            }
            let mut options = opts::nest(flat).unwrap();
            Settings::take(&mut options)
                .unwrap_err()
                .message()
                .to_owned()
        };
        assert_eq!(
            refusal(&[("host", "a"), ("path", "b")]),
            "path and host may not be used at the same time"
        );
        assert_eq!(
            refusal(&[("path", "/x"), ("server.type", "unix")]),
            "Cannot use 'server' and path/host/port at the same time"
        );
        assert_eq!(
            refusal(&[("path", "/x"), ("port", "1")]),
            "port may not be used without host"
        );
        assert_eq!(
            refusal(&[("server.type", "unix")]),
            "Parameter 'path' is missing"
        );
        assert_eq!(
            refusal(&[("host", "a"), ("reconnect-delay", "x")]),
            "Parameter 'reconnect-delay' expects a number"
        );
    }
}
