//! A connection that comes back: one at a time, made anew after it was lost.
//!
//! ```text
//! up --lost--> down, requests wait --reconnect-delay--> down, requests fail, each starts an attempt at most
//!  ^               |                                       |
//!  +---connected---+---------------------------------------+
//! up --protocol broken--> ended: every request fails with the reason
//! ```

use std::io;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crypto::tls::TlsCreds;
use nbd_proto::flags::export;
use qapi::{Error, Result};
use tokio::time::Instant;

use super::connection::{Broken, Connection};
use super::handshake::{Chosen, Client, Mode};
use super::options::Settings;
use super::wire::Wire;

/// The first pause between attempts; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Time that a server has for the whole handshake.
const PATIENCE: Duration = Duration::from_secs(60);
const EIO: i32 = 5;

/// A server's export, connected or not.
pub(super) struct Link {
    settings: Settings,
    creds: Option<Arc<TlsCreds>>,
    read_write: bool,
    state: Mutex<State>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
    size: AtomicU64,
    flags: AtomicU16,
}

enum State {
    Up(Arc<Connection>),
    Down { since: Instant },
    Ended(Arc<str>),
}

/// What a server may be asked from now on.
enum Next {
    Use(Arc<Connection>),
    WaitUntil(Instant),
    Fail(io::Error),
}

impl Link {
    /// Connects for the first time; gives back what the server told too.
    ///
    /// # Errors
    /// In QEMU's words, after the time that the settings allow.
    pub(super) async fn open(
        settings: Settings,
        creds: Option<Arc<TlsCreds>>,
        read_write: bool,
    ) -> Result<(Arc<Self>, Chosen)> {
        let until = Instant::now() + settings.open_timeout;
        let mut pause = PAUSE;
        let (connection, chosen) = loop {
            match connect(&settings, creds.as_deref()).await {
                Ok(connected) => break connected,
                Err(error) if Instant::now() + pause >= until => return Err(error),
                Err(error) => tracing::debug!(%error, "no connection yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        let link = Arc::new(Self {
            settings,
            creds,
            read_write,
            state: Mutex::new(State::Up(Arc::new(connection))),
            connecting: tokio::sync::Mutex::default(),
            size: AtomicU64::new(chosen.info.size),
            flags: AtomicU16::new(chosen.info.flags),
        });
        Ok((link, chosen))
    }

    /// Length in bytes, as the server told last.
    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Whether the server has a flag.
    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Whether a request that was under way on a lost connection is sent again.
    pub(super) fn comes_back(&self) -> bool {
        !self.settings.reconnect_delay.is_zero()
    }

    /// Looks at a connection that failed.
    pub(super) fn notice(&self) {
        self.next();
    }

    fn next(&self) -> Next {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Up(connection) = &*state {
            match connection.broken() {
                None => return Next::Use(Arc::clone(connection)),
                Some(Broken::Lied(why)) => {
                    // Most requests can only say that they failed: the reason is said here, once.
                    qapi::warn(&format!(
                        "NBD server at '{}' is left: {why}",
                        self.settings.address.shown()
                    ));
                    *state = State::Ended(why);
                }
                Some(Broken::Lost(why)) => {
                    tracing::debug!(%why, "connection lost");
                    *state = State::Down {
                        since: Instant::now(),
                    };
                }
            }
        }
        match &*state {
            State::Ended(why) => Next::Fail(io::Error::other(why.to_string())),
            State::Down { since } => {
                let until = *since + self.settings.reconnect_delay;
                if Instant::now() < until {
                    Next::WaitUntil(until)
                } else {
                    Next::Fail(io::Error::from_raw_os_error(EIO))
                }
            }
            State::Up(connection) => Next::Use(Arc::clone(connection)),
        }
    }

    /// The connection, waited for as long as the settings say.
    ///
    /// # Errors
    /// `EIO` while there is none; the reason when there will be none.
    pub(super) async fn connection(self: &Arc<Self>) -> io::Result<Arc<Connection>> {
        loop {
            match self.next() {
                Next::Use(connection) => return Ok(connection),
                Next::Fail(error) => {
                    self.try_beside();
                    return Err(error);
                }
                Next::WaitUntil(until) => {
                    // When the time is up, the next turn says so.
                    let _late = tokio::time::timeout_at(until, self.reconnect()).await;
                }
            }
        }
    }

    /// Connects, however often it takes.
    async fn reconnect(&self) {
        let _one = self.connecting.lock().await;
        let mut pause = PAUSE;
        while matches!(self.next(), Next::WaitUntil(_)) && !self.attempt().await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One attempt that nobody waits for, unless one is under way.
    fn try_beside(self: &Arc<Self>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(&*state, State::Down { .. }) {
            return;
        }
        let link = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(_one) = link.connecting.try_lock() {
                link.attempt().await;
            }
        });
    }

    async fn attempt(&self) -> bool {
        let (connection, chosen) = match connect(&self.settings, self.creds.as_deref()).await {
            Ok(connected) => connected,
            Err(error) => {
                tracing::debug!(%error, "no connection yet");
                return false;
            }
        };
        if self.read_write && chosen.info.flags & export::READ_ONLY != 0 {
            tracing::warn!("the server came back read-only");
            return false;
        }
        // A server may come back with another length: that is how a resize is noticed.
        self.size.store(chosen.info.size, Ordering::Release);
        self.flags.store(chosen.info.flags, Ordering::Release);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::Up(Arc::new(connection));
        true
    }
}

async fn connect(settings: &Settings, creds: Option<&TlsCreds>) -> Result<(Connection, Chosen)> {
    let wire = settings.address.connect().await?;
    let shaken = tokio::time::timeout(PATIENCE, shake(wire, settings, creds)).await;
    shaken.map_err(|_| {
        Error::new(format!(
            "server at '{}' does not finish the handshake",
            settings.address.shown()
        ))
    })?
}

async fn shake(
    wire: Wire,
    settings: &Settings,
    creds: Option<&TlsCreds>,
) -> Result<(Connection, Chosen)> {
    let mut client = Client::start(wire).await?;
    if let Some(creds) = creds {
        client = client.secure(creds, settings.tls_name()).await?;
    }
    client.upgrade().await?;
    let chosen = client.choose(settings.export(), settings.context()).await?;
    if i64::try_from(chosen.info.size).is_err() {
        return Err(Error::new(format!(
            "export size {} is too large",
            chosen.info.size
        )));
    }
    if let (Some(bitmap), None) = (&settings.bitmap, chosen.context) {
        return Err(Error::new(format!(
            "requested x-dirty-bitmap {bitmap} not found"
        )));
    }
    let mode = chosen.mode.max(Mode::Simple);
    let connection = Connection::new(client.into_inner(), mode, chosen.context);
    Ok((connection, chosen))
}
