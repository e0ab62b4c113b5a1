//! Replies on their way to a client: several go out in one write, in the order in which they were put in.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex as StdMutex, MutexGuard, PoisonError};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// Buffers that are kept for later replies, and the longest of these.
const KEPT: usize = 4;
const LONGEST_KEPT: usize = (1 << 20) + 4096;
/// Pieces that one write takes.
const PIECES: usize = 64;

/// Bytes put one behind the other in memory that may have been used before: what lies behind the end is whatever was
/// there, and is written over before it counts.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    memory: Vec<u8>,
    end: usize,
}

impl Buffer {
    /// What was put in.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[..self.end]
    }

    pub(crate) fn len(&self) -> usize {
        self.end
    }

    /// Takes away what was put in last.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.end = self.end.min(len);
    }

    /// The next `len` bytes, which the caller fills.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        let (start, end) = (self.end, self.end + len);
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        self.end = end;
        &mut self.memory[start..end]
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }
}

/// A reply, and the room that it takes among those under way until it is sent.
struct Waiting {
    reply: Buffer,
    _room: OwnedSemaphorePermit,
}

/// All replies that are not sent yet.
pub(crate) struct Outbox<W> {
    waiting: StdMutex<VecDeque<Waiting>>,
    /// Bytes of these.
    len: AtomicUsize,
    spare: StdMutex<Vec<Buffer>>,
    writer: Mutex<W>,
    /// Never has room; that it is closed wakes whoever waits for the client.
    given_up: Semaphore,
}

fn lock<T>(mutex: &StdMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self {
            waiting: StdMutex::default(),
            len: AtomicUsize::new(0),
            spare: StdMutex::default(),
            writer: Mutex::new(writer),
            given_up: Semaphore::new(0),
        }
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Buffer {
        lock(&self.spare).pop().unwrap_or_default()
    }

    /// Puts a reply in; it is sent by the next [`Outbox::flush`], from wherever that comes.
    pub(crate) fn put(&self, reply: Buffer, room: OwnedSemaphorePermit) {
        self.len.fetch_add(reply.len(), Ordering::Relaxed);
        lock(&self.waiting).push_back(Waiting { reply, _room: room });
    }

    /// Bytes that are not sent yet.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Sends all that was put in before.
    ///
    /// # Errors
    /// When the client does not take it. What was not sent then is gone, and so is the client.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        if lock(&self.waiting).is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            sent = self.send_all() => sent,
            _ = self.given_up.acquire() => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Sends nothing more: who waits for the client to take something is told that it is gone.
    pub(crate) fn give_up(&self) {
        self.given_up.close();
    }

    async fn send_all(&self) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        loop {
            let now: Vec<Waiting> = {
                let mut waiting = lock(&self.waiting);
                let count = waiting.len().min(PIECES);
                waiting.drain(..count).collect()
            };
            if now.is_empty() {
                return Ok(());
            }
            let len = now.iter().map(|w| w.reply.len()).sum();
            self.len.fetch_sub(len, Ordering::Relaxed);
            send(&mut *writer, &now).await?;
            self.keep(now);
        }
    }

    fn keep(&self, sent: Vec<Waiting>) {
        let mut spare = lock(&self.spare);
        for Waiting { mut reply, .. } in sent {
            if spare.len() < KEPT && reply.memory.len() <= LONGEST_KEPT {
                reply.end = 0;
                spare.push(reply);
            }
        }
    }

    /// Sends what is left, if anybody still listens, and says that no more comes.
    pub(crate) async fn close(&self) {
        // The client may be gone, and that is no matter any more.
        let _ = self.flush().await;
        tokio::select! {
            biased;
            _ = async { self.writer.lock().await.shutdown().await } => {}
            _ = self.given_up.acquire() => {}
        }
    }
}

async fn send<W: AsyncWrite + Unpin>(writer: &mut W, replies: &[Waiting]) -> io::Result<()> {
    if let [one] = replies {
        writer.write_all(one.reply.bytes()).await?;
        return writer.flush().await;
    }
    let mut pieces: Vec<IoSlice<'_>> = replies
        .iter()
        .map(|w| IoSlice::new(w.reply.bytes()))
        .collect();
    let mut left = &mut pieces[..];
    while !left.is_empty() {
        let sent = writer.write_vectored(left).await?;
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut left, sent);
    }
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn a_used_buffer_shows_only_what_is_put_in() {
        let mut buffer = Buffer::default();
        buffer.put(b"secret");
        buffer.end = 0;
        buffer.put(b"ab");
        buffer.room(1)[0] = b'c';
        assert_eq!((buffer.bytes(), buffer.len()), (&b"abc"[..], 3));
        buffer.truncate(1);
        assert_eq!(buffer.bytes(), b"a");
    }

    #[test]
    fn replies_leave_in_their_order_and_give_their_room_back() {
        let received = reactor::run_light(async {
            let (near, mut far) = tokio::io::duplex(7);
            let outbox = Arc::new(Outbox::new(near));
            let room = Arc::new(Semaphore::new(3));
            for word in ["first ", "second ", "third"] {
                let mut buffer = outbox.buffer();
                buffer.put(word.as_bytes());
                let permit = Arc::clone(&room).acquire_owned().await.unwrap();
                outbox.put(buffer, permit);
            }
            assert_eq!(room.available_permits(), 0);
            let sender = Arc::clone(&outbox);
            let sending = tokio::spawn(async move { sender.close().await });
            let mut received = String::new();
            far.read_to_string(&mut received).await.unwrap();
            sending.await.unwrap();
            assert_eq!(room.available_permits(), 3);
            assert_eq!(lock(&outbox.spare).len(), 3);
            received
        });
        assert_eq!(received.unwrap(), "first second third");
    }
}
