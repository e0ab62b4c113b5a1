//! OpenSSH's client as a child: it connects, proves who both ends are, and passes on what the SFTP server says.
//!
//! It may not ask anybody anything, share a connection (which would skip the check of the host's key), run what its
//! configuration wants to be run, or forward anything. A digest of a host's key is compared by a command that OpenSSH asks
//! for the keys of a host (`KnownHostsCommand`, since 8.5): it is given the key and says that it is known, or does not.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use qapi::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::options::{Digest, HostKeyCheck, Settings};
use super::packet::shown;
use super::session::{Broken, Session};
use crate::nbd::address::{Address, service};

/// A server that says nothing at all is given up after this, a host that cannot be reached earlier.
const PATIENCE: Duration = Duration::from_secs(120);
/// The client's last words are waited for no longer than this, as others may hold its standard error.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What is kept of its standard error.
const KEPT: usize = 8 << 10;

/// Always; what the user's configuration says of these does not count.
const RULES: &[&str] = &[
    "BatchMode=yes",
    "NumberOfPasswordPrompts=0",
    "LogLevel=ERROR",
    "ConnectTimeout=60",
    "ServerAliveInterval=30",
    "ServerAliveCountMax=4",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
];
/// No keys are known but those that are said below.
const NO_FILES: &[&str] = &[
    "UserKnownHostsFile=/dev/null",
    "GlobalKnownHostsFile=/dev/null",
];

/// A session over a child, which ends with it.
pub(super) struct Connection {
    pub(super) session: Session,
    _client: Client,
}

/// A child that is not left behind.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The child's input, output and errors.
struct Pipes(Sender, Receiver, Receiver);

fn start(words: Vec<String>) -> io::Result<(Client, Pipes)> {
    let mut child = Command::new("ssh")
        .args(words)
        // Its messages are read.
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for the tool, which may have something to write before it ends.
        .process_group(0)
        .spawn()?;
    let input = child.stdin.take().map(OwnedFd::from);
    let output = child.stdout.take().map(OwnedFd::from);
    let errors = child.stderr.take().map(OwnedFd::from);
    let client = Client(child);
    let (Some(input), Some(output), Some(errors)) = (input, output, errors) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let output = Receiver::from_owned_fd(output)?;
    let errors = Receiver::from_owned_fd(errors)?;
    let pipes = Pipes(Sender::from_owned_fd(input)?, output, errors);
    Ok((client, pipes))
}

/// Connects.
///
/// # Errors
/// In QEMU's words, as far as the client's can be told apart.
pub(super) async fn connect(settings: &Settings) -> Result<Connection> {
    let words = words(settings).await?;
    let (client, pipes) = start(words)
        .map_err(|e| Error::from_io("Could not start 'ssh', the client of OpenSSH", &e))?;
    let Pipes(input, output, errors) = pipes;
    let said = reactor::spawn(listen(errors));
    match tokio::time::timeout(PATIENCE, Session::start(output, input)).await {
        Ok(Ok(session)) => Ok(Connection {
            session,
            _client: client,
        }),
        Ok(Err(broken)) => {
            // What it said counts once it has ended.
            let said = tokio::time::timeout(LAST_WORDS, said).await;
            let said = said.ok().and_then(std::result::Result::ok);
            Err(explain(&said.unwrap_or_default(), &broken, settings))
        }
        Err(_) => Err(Error::new(
            "failed to initialize sftp handle: the server does not answer",
        )),
    }
}

/// The end of what is said, to its end.
async fn listen(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = VecDeque::with_capacity(KEPT);
    let mut buf = [0; 1024];
    while let Ok(len @ 1..) = stderr.read(&mut buf).await {
        tracing::debug!(words = %shown(&buf[..len]), "ssh says");
        kept.extend(&buf[..len]);
        kept.drain(..kept.len().saturating_sub(KEPT));
    }
    String::from_utf8_lossy(kept.make_contiguous()).into_owned()
}

/// The command line. Nothing in it that a stranger may have said can be taken for an option, or by a shell that the user's
/// configuration may run.
async fn words(settings: &Settings) -> Result<Vec<String>> {
    let Settings { host, port, .. } = settings;
    check_word("host", host, ".:_%")?;
    let user = settings.user.as_deref();
    if let Some(user) = user {
        check_word("user", user, ".:_@+")?;
    }
    let number = port_number(host, port).await?;
    let mut words = vec!["-s".to_owned()];
    let mut add = |option: &str| words.extend(["-o".to_owned(), option.to_owned()]);
    RULES.iter().for_each(|rule| add(rule));
    match &settings.check {
        HostKeyCheck::None => {
            NO_FILES.iter().for_each(|option| add(option));
            add("StrictHostKeyChecking=no");
        }
        HostKeyCheck::KnownHosts => add("StrictHostKeyChecking=yes"),
        HostKeyCheck::Hash(digest, hash) => {
            NO_FILES.iter().for_each(|option| add(option));
            add("StrictHostKeyChecking=yes");
            add("CheckHostIP=no");
            add(&comparing(*digest, hash));
        }
    }
    if let Some(user) = user {
        words.extend(["-l".to_owned(), user.to_owned()]);
    }
    words.extend(["-p".to_owned(), number.to_string()]);
    words.extend(["--".to_owned(), host.to_owned(), "sftp".to_owned()]);
    Ok(words)
}

/// Names are letters and digits, `-` where it does not begin one, and a few signs.
fn check_word(what: &str, word: &str, signs: &str) -> Result<()> {
    let fine = |c: char| c.is_alphanumeric() || c == '-' || signs.contains(c);
    if word.is_empty() || word.starts_with('-') || !word.chars().all(fine) {
        return Err(Error::new(format!("Invalid SSH {what} name '{word}'")).errno(22));
    }
    Ok(())
}

/// The port; 0, which OpenSSH would not try, fails as every connection to it does.
async fn port_number(host: &str, port: &str) -> Result<u16> {
    let address = Address::Inet {
        host: host.to_owned(),
        port: port.to_owned(),
    };
    match service(port) {
        Some(number @ 1..) => Ok(number),
        _ => Err(match address.connect().await {
            Err(error) => error,
            Ok(_) => Error::new(format!("Failed to connect to '{}'", address.shown())),
        }),
    }
}

/// The command that says whether a key has a digest.
fn comparing(digest: Digest, hash: &str) -> String {
    let hash = plain_hash(hash);
    let name = digest.name();
    // Whether a key has been chosen yet, the host's name, the key's kind and bytes, the digest.
    format!(
        "KnownHostsCommand=/bin/sh -c 'test $1 = ORDER && exit; \
         h=$(echo $4 | base64 -d | {name}sum | cut -d \" \" -f 1); \
         if test $h = $5; then echo $2 $3 $4; else echo {MARK} $3 $h >&2; fi' sh %I %H %t %K {hash}"
    )
}

/// Begins the line that tells the digest of a key that is not the one.
const MARK: &str = "fingerprint";

/// A digest as the tools print it. Colons and case do not matter; what is no digest is like no key's.
fn plain_hash(hash: &str) -> String {
    let plain: String = hash.chars().filter(|c| *c != ':').collect();
    if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_hexdigit()) {
        return "none".to_owned();
    }
    plain.to_ascii_lowercase()
}

/// What the client's last words mean.
fn explain(said: &str, broken: &Broken, settings: &Settings) -> Error {
    let place = format!("{}:{}", settings.host, settings.port);
    let lines = || said.lines().map(|line| shown(line.as_bytes()));
    if let Some(line) = lines().find(|line| line.starts_with("ssh: Could not resolve hostname ")) {
        let why = line.rsplit_once(": ").map_or("", |(_, why)| why);
        return Error::new(format!("address resolution failed for {place}: {why}"));
    }
    if let Some(line) = lines().find(|line| line.starts_with("ssh: connect to host ")) {
        let why = line.rsplit_once(": ").map_or("", |(_, why)| why);
        return Error::new(format!("Failed to connect to '{place}': {why}"));
    }
    if said.contains("Host key verification failed") {
        return wrong_key(said, settings);
    }
    if said.contains(": Permission denied (") {
        return Error::new(
            "failed to authenticate using publickey authentication and the identities held by your ssh-agent",
        );
    }
    if said.contains("subsystem request failed") {
        return Error::new("failed to initialize sftp handle: the host has no SFTP server");
    }
    if let Broken::Lied(why) = broken {
        return Error::new(format!("failed to initialize sftp handle: {why}"));
    }
    let (Broken::Lost(why) | Broken::Lied(why)) = broken;
    let last = lines().rfind(|line| !line.is_empty());
    let why = last.unwrap_or_else(|| why.to_string());
    Error::new(format!("failed to establish SSH session: {why}"))
}

/// A host's key is not one that it should be.
fn wrong_key(said: &str, settings: &Settings) -> Error {
    if let HostKeyCheck::Hash(digest, hash) = &settings.check {
        let told = said.lines().find_map(|line| {
            let mut words = line.strip_prefix(MARK)?.split_whitespace();
            Some((words.next()?, words.next()?))
        });
        let Some((kind, found)) = told else {
            return Error::new("failed to read remote host key: nothing could make a digest of it");
        };
        let (name, kind, found) = (
            digest.name(),
            shown(kind.as_bytes()),
            shown(found.as_bytes()),
        );
        return Error::new(format!(
            "remote host {kind} key fingerprint '{name}:{found}' does not match host_key_check '{name}:{hash}'"
        ));
    }
    let Some((_, changed)) = said.split_once("The fingerprint for the ") else {
        return Error::new("no host key was found in known_hosts");
    };
    let kind = changed.split_whitespace().next().unwrap_or_default();
    if !changed.contains(&format!("Offending {kind} key ")) {
        return Error::new("host key for this server not found, another type exists");
    }
    let print = changed
        .split_whitespace()
        .find(|w| w.starts_with("SHA256:"));
    let print = print.map_or("", |print| print.trim_end_matches('.'));
    let kind = match kind {
        "ED25519" => "ssh-ed25519",
        "RSA" => "ssh-rsa",
        other => other,
    };
    Error::new(format!(
        "host key ({} key with fingerprint {}) does not match the one in known_hosts; this may be a possible attack",
        shown(kind.as_bytes()),
        shown(print.as_bytes())
    ))
}

#[cfg(test)]
mod tests;
