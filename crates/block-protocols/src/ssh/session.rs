//! One session with a server: many requests at a time, replies in any order.
//!
//! ```text
//! begin: permit -> id, place to answer to -> writer task -> server -> reader task -> Pending
//! ```
//! A request may be given up at any await: its packet still goes out whole, and its permit comes back when the reply does,
//! so that what is under way stays bounded. Both tasks end with the session.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::packet::{self, MAX_PACKET, Reply, Request};

/// Requests under way.
const MOST: usize = 64;
const EIO: i32 = 5;

/// Why a session cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// It ended.
    Lost(Arc<str>),
    /// The server does not keep to the protocol.
    Lied(Arc<str>),
}

impl Broken {
    pub(super) fn lied(why: &str) -> Self {
        Self::Lied(format!("the SFTP server {why}").into())
    }

    fn of(error: &io::Error) -> Self {
        Self::Lost(match error.kind() {
            io::ErrorKind::UnexpectedEof => "the connection ended".into(),
            _ => error.to_string().into(),
        })
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Lost(why) => {
                tracing::debug!(%why, "session lost");
                Self::from_raw_os_error(EIO)
            }
            Broken::Lied(why) => Self::other(why.to_string()),
        }
    }
}

/// Who waits for what.
struct Desk {
    broken: Option<Broken>,
    waiting: HashMap<u32, Waiting>,
    next: u32,
}

struct Waiting {
    answer: oneshot::Sender<Reply>,
    _room: OwnedSemaphorePermit,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Desk>>);

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it; the first reason stays.
    fn end(&self, why: Broken) -> Broken {
        let mut desk = self.desk();
        desk.waiting.clear();
        desk.broken.get_or_insert(why).clone()
    }
}

/// A session.
pub(super) struct Session {
    shared: Shared,
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    room: Arc<Semaphore>,
    /// The server can flush.
    pub(super) fsync: bool,
    tasks: [reactor::JoinHandle<()>; 2],
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A request under way.
pub(super) struct Pending {
    shared: Shared,
    answer: oneshot::Receiver<Reply>,
}

impl Pending {
    /// Waits for the reply.
    pub(super) async fn reply(self) -> Result<Reply, Broken> {
        self.answer.await.map_err(|_| {
            // A place to answer to goes without an answer only when the session ends.
            self.shared.end(Broken::lied("left a request out"))
        })
    }
}

impl Session {
    /// Agrees on the version.
    pub(super) async fn start(
        mut reader: impl AsyncRead + Unpin + Send + 'static,
        mut writer: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, Broken> {
        let sent = async {
            writer.write_all(&packet::init()).await?;
            writer.flush().await
        };
        sent.await.map_err(|e| Broken::of(&e))?;
        let hello = packet::parse_hello(&receive(&mut reader).await?)
            .map_err(|_| Broken::lied("does not begin with a version"))?;
        if hello.version < packet::VERSION {
            return Err(Broken::lied("is of an older version than 3"));
        }
        let shared = Shared(Arc::new(Mutex::new(Desk {
            broken: None,
            waiting: HashMap::new(),
            next: 0,
        })));
        let (outgoing, queue) = mpsc::unbounded_channel();
        let tasks = [
            reactor::spawn(send_all(writer, queue, shared.clone())),
            reactor::spawn(receive_all(reader, shared.clone())),
        ];
        Ok(Self {
            shared,
            outgoing,
            room: Arc::new(Semaphore::new(MOST)),
            fsync: hello.fsync,
            tasks,
        })
    }

    /// Sends a request once there is room for it.
    pub(super) async fn begin(&self, request: Request<'_>) -> Result<Pending, Broken> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.expect("the semaphore is never closed");
        let (answer, pending) = oneshot::channel();
        let id = {
            let mut desk = self.shared.desk();
            if let Some(broken) = &desk.broken {
                return Err(broken.clone());
            }
            let id = desk.next;
            desk.next = id.wrapping_add(1);
            let waiting = Waiting {
                answer,
                _room: room,
            };
            desk.waiting.insert(id, waiting);
            id
        };
        // When the writer has ended, the desk has been cleared, which is what the request hears.
        let _ = self.outgoing.send(request.encode(id));
        Ok(Pending {
            shared: self.shared.clone(),
            answer: pending,
        })
    }

    /// Sends a request and waits for the reply.
    pub(super) async fn ask(&self, request: Request<'_>) -> Result<Reply, Broken> {
        self.begin(request).await?.reply().await
    }

    /// Leaves a server that answered something else than it was asked.
    pub(super) fn leave(&self, why: &str) -> Broken {
        self.shared.end(Broken::lied(why))
    }
}

async fn send_all(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    shared: Shared,
) {
    while let Some(packet) = queue.recv().await {
        let mut sent = writer.write_all(&packet).await;
        if sent.is_ok() && queue.is_empty() {
            sent = writer.flush().await;
        }
        if let Err(error) = sent {
            shared.end(Broken::of(&error));
            return;
        }
    }
}

async fn receive_all(mut reader: impl AsyncRead + Unpin, shared: Shared) {
    loop {
        if let Err(broken) = receive_one(&mut reader, &shared).await {
            shared.end(broken);
            return;
        }
    }
}

async fn receive_one(reader: &mut (impl AsyncRead + Unpin), shared: &Shared) -> Result<(), Broken> {
    let packet = receive(reader).await?;
    let (id, reply) = packet::parse_reply(&packet)
        .map_err(|_| Broken::lied("sent a packet that is malformed"))?;
    let waiting = shared.desk().waiting.remove(&id);
    let waiting = waiting.ok_or_else(|| Broken::lied("answered what it was not asked"))?;
    // The request may have been given up.
    let _ = waiting.answer.send(reply);
    Ok(())
}

/// One packet, without its length.
async fn receive(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Broken> {
    let failed = |e: io::Error| Broken::of(&e);
    let len = reader.read_u32().await.map_err(failed)?;
    if len == 0 || len > MAX_PACKET {
        return Err(Broken::lied(&format!("sent a packet of {len} bytes")));
    }
    let len = usize::try_from(len).expect("checked above");
    let mut packet = vec![0; len];
    reader.read_exact(&mut packet).await.map_err(failed)?;
    Ok(packet)
}

#[cfg(test)]
mod tests;
