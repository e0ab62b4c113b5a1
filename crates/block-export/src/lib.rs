//! Serving disks to others: the server's end of the NBD protocol, over any stream.
//!
//! ```text
//! serve: greeting -> (TLS) -> options (until GO, EXPORT_NAME or the end) -> requests, up to 16 at a time, answered as they end
//! ```
//! What a client sends is hostile: lengths are checked before anything is allocated by them, buffers grow with what
//! really comes, and every wait of the handshake is under one time limit.
#![forbid(unsafe_code)]

mod export;
mod handshake;
mod outbox;
mod reply;
mod requests;
mod status;
#[cfg(test)]
mod tests;

pub use export::{Bitmap, Export};

use std::sync::Arc;
use std::time::Duration;

use crypto::authz::Authorization;
use crypto::tls::{self, Secure, TlsCreds};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::handshake::{Agreed, End, Shaken};

/// A client's connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// How far a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It never chose an export.
    Refused,
    /// It could send requests.
    Negotiated,
}

/// TLS and who may come in by it.
pub struct Tls {
    /// Of a server.
    pub creds: Arc<TlsCreds>,
    /// Looks at the name in a client's certificate; `None`: all whose certificate is believed.
    pub authz: Option<Arc<Authorization>>,
}

/// A client that has chosen its export.
enum Ready<S> {
    Plain(S, Agreed),
    Secure(Secure, Agreed),
}

/// A server.
pub struct Server {
    /// What can be chosen.
    pub exports: Vec<Arc<Export>>,
    /// Time that a client has for the whole handshake; `None`: any.
    pub handshake_limit: Option<Duration>,
    /// What clients must prove before they see anything.
    pub tls: Option<Tls>,
    /// Becomes true when clients are to end after their requests under way.
    pub stop: watch::Receiver<bool>,
}

impl Server {
    /// Serves one client to its end.
    pub async fn serve<S: Stream>(&self, stream: S) -> Outcome {
        let mut stop = self.stop.clone();
        let handshake = async {
            match self.handshake_limit {
                Some(limit) => tokio::time::timeout(limit, self.shake(stream))
                    .await
                    .unwrap_or_else(|_| Err(End::late())),
                None => self.shake(stream).await,
            }
        };
        let ready = tokio::select! {
            ready = handshake => ready,
            _ = stop.wait_for(|stop| *stop) => return Outcome::Refused,
        };
        match ready {
            Ok(Ready::Plain(stream, agreed)) => requests::run(stream, agreed, stop).await,
            Ok(Ready::Secure(stream, agreed)) => requests::run(stream, agreed, stop).await,
            Err(end) => {
                tracing::debug!(%end, "a client left in the handshake");
                return Outcome::Refused;
            }
        }
        Outcome::Negotiated
    }

    async fn shake<S: Stream>(&self, mut stream: S) -> Result<Ready<S>, End> {
        let client = match handshake::run(&mut stream, self).await? {
            Shaken::Agreed(agreed) => return Ok(Ready::Plain(stream, agreed)),
            Shaken::Secure(client) => client,
        };
        let tls = self
            .tls
            .as_ref()
            .ok_or_else(|| End("TLS not configured".to_owned()))?;
        let (mut stream, peer) = tls::accept(stream, &tls.creds)
            .await
            .map_err(|e| End(e.message().to_owned()))?;
        if let Some(authz) = &tls.authz {
            let name = peer.name.unwrap_or_default();
            if !authz.allows(&name) {
                return Err(End(format!("TLS x509 authz check for {name} is denied")));
            }
        }
        let agreed = handshake::resume(&mut stream, self, client).await?;
        Ok(Ready::Secure(stream, agreed))
    }
}
