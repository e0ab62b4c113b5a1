//! The open door: takes connections in, and is gone with the server.

use std::time::Duration;

use qapi::{Error, Result};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::listen::Listener;

/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A client's connection.
pub(crate) enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A door with the name it has in the file system, if any.
pub(crate) struct Door {
    state: State,
    path: Option<String>,
}

enum State {
    Made(Listener),
    Unix(UnixListener),
    Tcp(TcpListener),
    Closed,
}

impl Door {
    pub(crate) fn new(listener: Listener, path: Option<String>) -> Self {
        Self {
            state: State::Made(listener),
            path,
        }
    }

    /// Hands the listener to the runtime that this runs in.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub(crate) fn open(mut self) -> Result<Self> {
        let failed = |e: std::io::Error| Error::from_io("Could not use the socket", &e);
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Made(Listener::Unix(listener)) => {
                listener.set_nonblocking(true).map_err(failed)?;
                State::Unix(UnixListener::from_std(listener).map_err(failed)?)
            }
            State::Made(Listener::Tcp(listener)) => {
                listener.set_nonblocking(true).map_err(failed)?;
                State::Tcp(TcpListener::from_std(listener).map_err(failed)?)
            }
            other => other,
        };
        Ok(self)
    }

    /// The next connection; a door that is closed has none, ever.
    pub(crate) async fn accept(&self) -> Connection {
        loop {
            let accepted = match &self.state {
                State::Unix(listener) => listener.accept().await.map(|(s, _)| Connection::Unix(s)),
                State::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    // Small replies are waited for. A socket that cannot do that is slower, not wrong.
                    let _ = stream.set_nodelay(true);
                    Connection::Tcp(stream)
                }),
                State::Made(_) | State::Closed => std::future::pending().await,
            };
            match accepted {
                Ok(connection) => return connection,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not taken in");
                    reactor::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        if let Some(path) = self.path.take() {
            // Somebody may have taken it away already.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}
