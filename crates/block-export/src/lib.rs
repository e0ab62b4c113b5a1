//! Serving disks to others: the server's end of the NBD protocol, over any stream.
//!
//! ```text
//! serve: greeting -> options (until GO, EXPORT_NAME or the end) -> requests, up to 16 at a time, answered as they end
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

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

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

/// A server.
pub struct Server {
    /// What can be chosen.
    pub exports: Vec<Arc<Export>>,
    /// Time that a client has for the whole handshake; `None`: any.
    pub handshake_limit: Option<Duration>,
    /// Becomes true when clients are to end after their requests under way.
    pub stop: watch::Receiver<bool>,
}

impl Server {
    /// Serves one client to its end.
    pub async fn serve<S: Stream>(&self, mut stream: S) -> Outcome {
        let mut stop = self.stop.clone();
        let handshake = async {
            match self.handshake_limit {
                Some(limit) => tokio::time::timeout(limit, handshake::run(&mut stream, self))
                    .await
                    .unwrap_or_else(|_| Err(handshake::End::late())),
                None => handshake::run(&mut stream, self).await,
            }
        };
        let agreed = tokio::select! {
            agreed = handshake => agreed,
            _ = stop.wait_for(|stop| *stop) => return Outcome::Refused,
        };
        match agreed {
            Ok(agreed) => {
                requests::run(stream, agreed, stop).await;
                Outcome::Negotiated
            }
            Err(end) => {
                tracing::debug!(%end, "a client left in the handshake");
                Outcome::Refused
            }
        }
    }
}
