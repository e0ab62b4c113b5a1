//! Names and options of a node, and what they ask for.
//!
//! ```text
//! ssh://[USER@]HOST[:PORT]/PATH[?host_key_check=CHECK]       CHECK: no, yes, md5:HEX, sha1:HEX, sha256:HEX
//! server.host=,server.port=,path=,user=,host-key-check.mode=none|known_hosts|hash (with .type=, .hash=)
//! host=,port=,host_key_check=                                the same in older words
//! ```
//! Of two checks the older words count. A port that is no number in a name makes the whole name mean nothing.

use std::os::unix::fs::MetadataExt;

use qapi::{Dict, Error, Result, Value, opts};

use crate::percent::unescape;

/// The port that stands for SSH.
const PORT: &str = "22";
/// QEMU shows no longer names.
const MAX_NAME: usize = 1024;

/// How a server proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostKeyCheck {
    /// It does not.
    None,
    /// Its key is among those that the user knows.
    KnownHosts,
    /// A digest of its key, as it was given.
    Hash(Digest, String),
}

/// Digests of host keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    Md5,
    Sha1,
    Sha256,
}

impl Digest {
    const ALL: [Self; 3] = [Self::Md5, Self::Sha1, Self::Sha256];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|digest| digest.name() == name)
    }
}

/// What a node is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) host: String,
    pub(super) port: String,
    pub(super) path: String,
    /// `None`: whoever OpenSSH takes.
    pub(super) user: Option<String>,
    pub(super) check: HostKeyCheck,
    /// The check in older words, which names show.
    older_check: Option<String>,
}

impl Settings {
    /// Takes the driver's options out of a node's; others are refused.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(super) fn take(options: &mut Dict) -> Result<Self> {
        let (host, port) = take_server(options)?;
        let older_check = opts::take_str(options, "host_key_check")?;
        let newer_check = options.remove("host-key-check");
        let check = match (&older_check, newer_check) {
            (Some(text), _) => older(text)?,
            (None, Some(Value::Dict(check))) => newer(check)?,
            (None, Some(_)) => return Err(no_object("host-key-check")),
            (None, None) => HostKeyCheck::KnownHosts,
        };
        let path = opts::take_str(options, "path")?.ok_or_else(|| missing("path"))?;
        let user = opts::take_str(options, "user")?.or_else(local_user);
        if let Some((name, _)) = options.iter().find(|(name, _)| *name != "driver") {
            return Err(unexpected(name));
        }
        Ok(Self {
            host,
            port,
            path,
            user,
            check,
            older_check,
        })
    }
}

fn missing(name: &str) -> Error {
    Error::new(format!("Parameter '{name}' is missing"))
}

fn unexpected(name: &str) -> Error {
    Error::new(format!("Parameter '{name}' is unexpected"))
}

fn no_object(name: &str) -> Error {
    Error::new(format!(
        "Invalid parameter type for '{name}', expected: object"
    ))
}

fn take_server(options: &mut Dict) -> Result<(String, String)> {
    let host = opts::take_str(options, "host")?;
    let port = take_port(options)?;
    let server = options.remove("server");
    let mut server = match (host, port, server) {
        (Some(host), port, _) => return Ok((host, port.unwrap_or_else(|| PORT.to_owned()))),
        (None, Some(_), _) => return Err(Error::new("port may not be used without host")),
        (None, None, None) => return Err(missing("server")),
        (None, None, Some(Value::Dict(server))) => server,
        (None, None, Some(_)) => return Err(no_object("server")),
    };
    let host = opts::take_str(&mut server, "host")?.ok_or_else(|| missing("server.host"))?;
    let port = opts::take_str(&mut server, "port")?.ok_or_else(|| missing("server.port"))?;
    match server.iter().next() {
        None => Ok((host, port)),
        // GAP: to, ipv4, ipv6, keep-alive and the like.
        Some((name, _)) => Err(unexpected(&format!("server.{name}"))),
    }
}

/// The older `port` is a number, whatever it was written as.
fn take_port(options: &mut Dict) -> Result<Option<String>> {
    let wrong = || Error::new("Parameter 'port' expects a number");
    let text = match options.remove("port") {
        None => return Ok(None),
        Some(Value::Uint(n)) => n.to_string(),
        Some(Value::Int(n)) => n.to_string(),
        Some(Value::Str(text)) => text,
        Some(_) => return Err(wrong()),
    };
    let number: u64 = text.parse().map_err(|_| wrong())?;
    Ok(Some(number.to_string()))
}

/// `host_key_check=`
fn older(text: &str) -> Result<HostKeyCheck> {
    let digest = text
        .split_once(':')
        .and_then(|(name, hash)| Some((Digest::parse(name)?, hash)));
    match (text, digest) {
        ("no", _) => Ok(HostKeyCheck::None),
        ("yes", _) => Ok(HostKeyCheck::KnownHosts),
        (_, Some((digest, hash))) => Ok(HostKeyCheck::Hash(digest, hash.to_owned())),
        _ => Err(Error::new(format!(
            "unknown host_key_check setting ({text})"
        ))),
    }
}

/// `host-key-check.*`
fn newer(mut check: Dict) -> Result<HostKeyCheck> {
    let mut take = |name: &str| {
        let text = opts::take_str(&mut check, name)?;
        text.ok_or_else(|| missing(&format!("host-key-check.{name}")))
    };
    let refused = |name: &str, value: &str| {
        Error::new(format!(
            "Parameter '{name}' does not accept value '{value}'"
        ))
    };
    let mode = take("mode")?;
    let parsed = match mode.as_str() {
        "none" => HostKeyCheck::None,
        "known_hosts" => HostKeyCheck::KnownHosts,
        "hash" => {
            let kind = take("type")?;
            let digest = Digest::parse(&kind).ok_or_else(|| refused("type", &kind))?;
            HostKeyCheck::Hash(digest, take("hash")?)
        }
        other => return Err(refused("mode", other)),
    };
    match check.iter().next() {
        None => Ok(parsed),
        Some((name, _)) => Err(unexpected(&format!("host-key-check.{name}"))),
    }
}

/// The name of this process's user, if the host's own list has it.
fn local_user() -> Option<String> {
    let number = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let list = std::fs::read_to_string("/etc/passwd").ok()?;
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        (uid == number).then(|| name.to_owned())
    })
}

/// The name that a node of these options has.
pub(super) fn plain_name(options: &Dict) -> Option<String> {
    let settings = Settings::take(&mut options.clone()).ok()?;
    let Settings {
        host, port, path, ..
    } = &settings;
    let user = settings
        .user
        .as_ref()
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    let check = settings
        .older_check
        .as_ref()
        .map(|c| format!("?host_key_check={c}"));
    let check = check.unwrap_or_default();
    let name = format!("ssh://{user}{host}:{port}{path}{check}");
    (name.len() < MAX_NAME).then_some(name)
}

/// Turns a name into options.
pub(super) fn parse_filename(name: &str, options: &mut Dict) -> Result<()> {
    for given in ["host", "port", "path", "user", "host_key_check", "server"] {
        let inner = match options.get(given) {
            None => continue,
            Some(Value::Dict(record)) => record.iter().next().map(|(key, _)| key),
            Some(_) => None,
        };
        let inner = inner.map(|key| format!(".{key}")).unwrap_or_default();
        return Err(Error::new(format!(
            "Option '{given}{inner}' cannot be used with a file name"
        )));
    }
    let Some(parsed) = split(name) else {
        return Ok(());
    };
    if parsed.host.is_empty() {
        return Err(Error::new("missing hostname in URI"));
    }
    if parsed.path.is_empty() {
        return Err(Error::new("missing remote path in URI"));
    }
    parse_query(parsed.query, options);
    if !parsed.user.is_empty() {
        options.insert("user", parsed.user);
    }
    let mut server = Dict::new();
    server.insert("host", parsed.host);
    server.insert("port", parsed.port);
    options.insert("server", server);
    options.insert("path", parsed.path);
    Ok(())
}

/// The parts of a name; empty where there is none.
struct Parts<'a> {
    user: String,
    host: String,
    port: &'a str,
    path: String,
    query: &'a str,
}

/// `None`: the name means nothing.
fn split(name: &str) -> Option<Parts<'_>> {
    let rest = name.strip_prefix("ssh:")?;
    let rest = rest.strip_prefix("//").unwrap_or_default();
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, place) = place.rsplit_once('@').unwrap_or(("", place));
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let port = match port.strip_prefix(':') {
        None if !port.is_empty() => return None,
        None | Some("" | "0") => PORT,
        Some(port) => {
            port.parse::<u16>().ok()?;
            port
        }
    };
    Some(Parts {
        user: unescape(user)?,
        host: unescape(host)?,
        port,
        path: unescape(path)?,
        query,
    })
}

fn parse_query(query: &str, options: &mut Dict) {
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        match (name, unescape(value)) {
            ("host_key_check", Some(check)) => options.insert("host_key_check", check),
            (name, _) => qapi::warn(&format!("Unsupported parameter '{name}' in URI")),
        }
    }
}

#[cfg(test)]
mod tests;
