//! One connection past its handshake: requests go out whole, one after another; replies come in any order.
//!
//! There is no task that reads. The reader is one thing that is handed around: a request that waits for its reply takes
//! it when it is free, reads the next head, and keeps it if the reply is its own, else hands it to the one that it is for.
//! So a reply's bytes go straight to where they belong, and a lone request is not woken twice.
//!
//! ```text
//! ask: slot -> send -> [ turn -> head -> mine? payload | another's? hand over | given up? skip ]... -> done
//! ```
//! A request may be given up at any await. Between its bytes going out that breaks the connection; later its slot stays
//! until the reply has been skipped, so that the number under way stays bounded.

mod answer;
mod reader;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use nbd_proto::flags::command;
use nbd_proto::{Command, Request};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::answer::Answer;
pub(super) use self::answer::Sink;
use self::reader::{Head, Kind, Reader};
use super::handshake::Mode;
use super::wire::{Outgoing, Wire};

/// Requests under way on one connection.
pub(super) const MOST: usize = 16;
/// Longest chunk that is skipped for a request that was given up.
const MOST_SKIPPED: u64 = 64 << 20;
const EINVAL: i32 = 22;
const ENOTSUP: i32 = 95;

/// Why a connection cannot be used any more.
#[derive(Debug, Clone)]
pub(super) enum Broken {
    /// It ended; another one may do.
    Lost(Arc<str>),
    /// The server does not keep to the protocol.
    Lied(Arc<str>),
}

impl Broken {
    pub(super) fn lost(why: impl Into<String>) -> Self {
        Self::Lost(why.into().into())
    }

    pub(super) fn lied(why: impl Into<String>) -> Self {
        Self::Lied(why.into().into())
    }

    fn of(error: &io::Error) -> Self {
        Self::lost(match error.kind() {
            io::ErrorKind::UnexpectedEof => "server dropped connection".to_owned(),
            _ => error.to_string(),
        })
    }
}

impl From<nbd_proto::ProtoError> for Broken {
    fn from(error: nbd_proto::ProtoError) -> Self {
        Self::lied(error.0)
    }
}

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection is of no use.
    Broken(Broken),
    /// The server says so: the number of an error of this host.
    Refused(i32),
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// What is asked of the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) command: Command,
    pub(super) flags: u16,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// The bytes of a write.
    pub(super) payload: &'a [u8],
}

/// A connection.
pub(super) struct Connection {
    mode: Mode,
    /// The number of the metadata context that block status tells.
    context: Option<u32>,
    writer: tokio::sync::Mutex<Outgoing>,
    desk: Mutex<Desk>,
    room: Arc<Semaphore>,
}

/// Who waits for what.
struct Desk {
    broken: Option<Broken>,
    /// The reader, when nobody has it.
    reader: Option<Box<Reader>>,
    slots: Vec<Slot>,
    cookie: u64,
}

/// A request under way.
struct Slot {
    cookie: u64,
    /// Bytes that follow a simple reply to it.
    bytes: u64,
    waker: Option<Waker>,
    /// The reader, handed over.
    reader: Option<Box<Reader>>,
    /// Nobody waits for the reply any more.
    given_up: bool,
    _room: OwnedSemaphorePermit,
}

impl Desk {
    fn slot(&mut self, cookie: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.cookie == cookie)
    }

    fn retire(&mut self, cookie: u64) -> Option<Slot> {
        let at = self.slots.iter().position(|s| s.cookie == cookie)?;
        Some(self.slots.swap_remove(at))
    }

    /// Gives the reader to the one whose reply comes next, else to anyone who waits.
    fn pass(&mut self, reader: Box<Reader>) {
        let next = reader.head.as_ref().map(|head| head.cookie);
        let owner = |s: &&mut Slot| !s.given_up && Some(s.cookie) == next;
        let waits = |s: &&mut Slot| !s.given_up && s.waker.is_some();
        let slot = match self.slots.iter_mut().find(owner) {
            Some(slot) => Some(slot),
            None => self.slots.iter_mut().find(waits),
        };
        match slot {
            Some(slot) => {
                slot.reader = Some(reader);
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
            }
            None => self.reader = Some(reader),
        }
    }
}

/// The reader, in the hands of one request.
struct Turn<'a> {
    connection: &'a Connection,
    reader: Option<Box<Reader>>,
}

impl Turn<'_> {
    fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.connection.desk().pass(reader);
        }
    }
}

/// How far a request came.
#[derive(PartialEq, Eq)]
enum Stage {
    Waiting,
    Sending,
    Sent,
    Done,
}

/// A slot's owner.
struct Ticket<'a> {
    connection: &'a Connection,
    cookie: u64,
    stage: Stage,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.stage == Stage::Sending {
            let why = "a request was given up on its way out";
            self.connection.break_off(&Broken::lost(why));
        }
        let mut desk = self.connection.desk();
        let reader = if self.stage == Stage::Sent {
            let Some(slot) = desk.slot(self.cookie) else {
                return;
            };
            slot.given_up = true;
            slot.waker = None;
            slot.reader.take()
        } else {
            desk.retire(self.cookie).and_then(|slot| slot.reader)
        };
        if let Some(reader) = reader {
            desk.pass(reader);
        }
    }
}

/// Whose the head is that was read.
enum Owner {
    Me,
    Other,
    Nobody,
}

impl Connection {
    pub(super) fn new(wire: Wire, mode: Mode, context: Option<u32>) -> Self {
        let (incoming, outgoing) = wire.split();
        Self {
            mode,
            context,
            writer: tokio::sync::Mutex::new(outgoing),
            desk: Mutex::new(Desk {
                broken: None,
                reader: Some(Box::new(Reader::new(incoming))),
                slots: Vec::new(),
                cookie: 0,
            }),
            room: Arc::new(Semaphore::new(MOST)),
        }
    }

    /// Why it cannot be used any more, if so.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.desk().broken.clone()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody uses it any more.
    pub(super) fn break_off(&self, why: &Broken) {
        let mut desk = self.desk();
        desk.broken.get_or_insert_with(|| why.clone());
        for slot in &mut desk.slots {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    /// Does one request.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    pub(super) async fn ask(&self, ask: Ask<'_>, sink: Sink<'_>) -> Result<(), Failure> {
        let extended = self.mode == Mode::Extended;
        if !extended && u32::try_from(ask.len).is_err() {
            return Err(Failure::Refused(EINVAL));
        }
        if ask.command == Command::BlockStatus && self.context.is_none() {
            return Err(Failure::Refused(ENOTSUP));
        }
        let with_payload = extended && ask.command == Command::Write;
        let mut ticket = self.enter(&sink).await?;
        let request = Request {
            command: ask.command,
            flags: ask.flags
                | if with_payload {
                    command::PAYLOAD_LEN
                } else {
                    0
                },
            cookie: ticket.cookie,
            offset: ask.offset,
            len: ask.len,
        };
        self.send(&mut ticket, &request, ask.payload).await?;
        let mut answer = Answer::new(sink, self.mode, self.context);
        let received = self.receive(ticket.cookie, &mut answer).await;
        ticket.stage = Stage::Done;
        if let Err(broken) = received {
            self.break_off(&broken);
            return Err(broken.into());
        }
        answer.result()
    }

    async fn enter(&self, sink: &Sink<'_>) -> Result<Ticket<'_>, Broken> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(|_| Broken::lost("closed"))?;
        let mut desk = self.desk();
        if let Some(broken) = &desk.broken {
            return Err(broken.clone());
        }
        desk.cookie += 1;
        let cookie = desk.cookie;
        desk.slots.push(Slot {
            cookie,
            bytes: sink.bytes(),
            waker: None,
            reader: None,
            given_up: false,
            _room: room,
        });
        Ok(Ticket {
            connection: self,
            cookie,
            stage: Stage::Waiting,
        })
    }

    async fn send(
        &self,
        ticket: &mut Ticket<'_>,
        request: &Request,
        payload: &[u8],
    ) -> Result<(), Broken> {
        let mut head = Vec::with_capacity(Request::EXTENDED_HEAD);
        request.encode(self.mode == Mode::Extended, &mut head);
        let mut writer = self.writer.lock().await;
        ticket.stage = Stage::Sending;
        let sent = send_all(&mut **writer, &head, payload).await;
        drop(writer);
        if let Err(error) = sent {
            let broken = Broken::of(&error);
            self.break_off(&broken);
            return Err(broken);
        }
        ticket.stage = Stage::Sent;
        Ok(())
    }

    async fn receive(&self, cookie: u64, answer: &mut Answer<'_>) -> Result<(), Broken> {
        let mut turn = self.turn(cookie).await?;
        loop {
            if turn.reader().head.is_none() {
                turn.reader().read_head(self.mode).await?;
                self.check_head(turn.reader())?;
            }
            match self.owner(turn.reader(), cookie) {
                Owner::Me => {
                    if answer.take(turn.reader()).await? {
                        self.desk().retire(cookie);
                        return Ok(());
                    }
                }
                Owner::Other => {
                    drop(turn);
                    turn = self.turn(cookie).await?;
                }
                Owner::Nobody => {
                    turn.reader().skip().await?;
                    if let Some(head) = turn.reader().head.take()
                        && head.last()
                    {
                        self.desk().retire(head.cookie);
                    }
                }
            }
        }
    }

    /// Waits until the reader is free or handed over.
    async fn turn(&self, cookie: u64) -> Result<Turn<'_>, Broken> {
        let reader = std::future::poll_fn(|cx| {
            let mut desk = self.desk();
            if let Some(broken) = &desk.broken {
                return Poll::Ready(Err(broken.clone()));
            }
            let handed = desk.slot(cookie).and_then(|slot| slot.reader.take());
            if let Some(reader) = handed.or_else(|| desk.reader.take()) {
                return Poll::Ready(Ok(reader));
            }
            if let Some(slot) = desk.slot(cookie) {
                slot.waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await?;
        Ok(Turn {
            connection: self,
            reader: Some(reader),
        })
    }

    /// Looks at a head that was just read, and says how many bytes follow a simple reply.
    fn check_head(&self, reader: &mut Reader) -> Result<(), Broken> {
        let Some(head) = &reader.head else {
            return Ok(());
        };
        let mut desk = self.desk();
        let Some(slot) = desk.slot(head.cookie) else {
            return Err(Broken::lied("unexpected cookie value"));
        };
        match head.kind {
            Kind::Simple(_) if slot.bytes > 0 && self.mode >= Mode::Structured => {
                Err(Broken::lied(
                    "Protocol error: simple reply when structured reply chunk was expected",
                ))
            }
            Kind::Simple(error) => {
                reader.owed = if error == 0 { slot.bytes } else { 0 };
                Ok(())
            }
            Kind::Chunk { len, .. } if slot.given_up && len > MOST_SKIPPED => {
                Err(Broken::lied("Payload too large"))
            }
            Kind::Chunk { .. } => Ok(()),
        }
    }

    fn owner(&self, reader: &Reader, cookie: u64) -> Owner {
        let Some(Head { cookie: of, .. }) = reader.head else {
            return Owner::Nobody;
        };
        if of == cookie {
            return Owner::Me;
        }
        match self.desk().slot(of) {
            Some(slot) if !slot.given_up => Owner::Other,
            _ => Owner::Nobody,
        }
    }
}

impl Drop for Connection {
    /// Says good-bye as far as that goes without waiting.
    fn drop(&mut self) {
        if self.desk().broken.is_some() {
            return;
        }
        let request = Request {
            command: Command::Disconnect,
            flags: 0,
            cookie: 0,
            offset: 0,
            len: 0,
        };
        let mut bytes = Vec::new();
        request.encode(self.mode == Mode::Extended, &mut bytes);
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let writer = self.writer.get_mut();
        // A server that does not hear it sees the end of the connection.
        let _ = std::pin::Pin::new(&mut *writer).poll_write(&mut cx, &bytes);
        let _ = std::pin::Pin::new(&mut *writer).poll_flush(&mut cx);
        let _ = std::pin::Pin::new(writer).poll_shutdown(&mut cx);
    }
}

async fn send_all<W: AsyncWrite + Unpin + ?Sized>(
    writer: &mut W,
    head: &[u8],
    payload: &[u8],
) -> io::Result<()> {
    if payload.is_empty() {
        writer.write_all(head).await?;
        return writer.flush().await;
    }
    let mut sent = 0;
    while sent < head.len() {
        let parts = [io::IoSlice::new(&head[sent..]), io::IoSlice::new(payload)];
        let now = writer.write_vectored(&parts).await?;
        if now == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        sent += now;
    }
    writer.write_all(&payload[sent - head.len()..]).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests;
