//! The transmission phase: requests come in one after another, are worked on side by side, and are answered as they end.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use block_core::{Root, WriteFlags, ZeroFlags};
use nbd_proto::flags::command;
use nbd_proto::{Command, MAX_REQUEST, Request, errno};
use tokio::io::{AsyncReadExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::handshake::{Agreed, Contexts, Mode};
use crate::outbox::Outbox;
use crate::reply::{Failure, Reply};
use crate::status::{self, List};
use crate::{Export, Stream};

/// Requests under way for one client.
const MOST: u32 = 16;
/// Room for heads and small writes that come together.
const BUFFER: usize = 64 << 10;
/// Buffers grow in such steps while a payload comes in.
const STEP: usize = 1 << 20;
/// Unit of reading ahead.
const PREFETCH: usize = 256 << 10;
/// Replies wait for others until they are so many bytes.
const TOGETHER: usize = 256 << 10;
/// Longest payload of a block status that is looked at.
const MAX_IDS: u64 = 64 << 10;
/// How long a client may take for its last replies when the server stops.
const LAST: Duration = Duration::from_secs(1);

/// What all requests of a client need.
struct Client<S> {
    export: Arc<Export>,
    size: u64,
    mode: Mode,
    contexts: Contexts,
    outbox: Outbox<WriteHalf<S>>,
    /// Memory of the last write's bytes.
    spare: Mutex<Vec<u8>>,
}

/// One request, whole.
struct Job {
    request: Request,
    /// The bytes of a write.
    payload: Vec<u8>,
    /// Contexts that a block status asks for.
    contexts: Contexts,
    /// It cannot be done, as is known already.
    refused: Option<Failure>,
}

/// What came in.
enum Came {
    Job(Job),
    /// The last one: its payload cannot be followed.
    Last(Job),
    End,
}

/// Serves requests until the client leaves, breaks the protocol, or `stop` becomes true.
pub(crate) async fn run<S: Stream>(stream: S, agreed: Agreed, mut stop: watch::Receiver<bool>) {
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let Ok(size) = agreed.export.size() else {
        return;
    };
    let client = Arc::new(Client {
        size,
        export: agreed.export,
        mode: agreed.mode,
        contexts: agreed.contexts,
        outbox: Outbox::new(writer),
        spare: Mutex::default(),
    });
    let work = work(&client, &mut reader, stop.clone());
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => return,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    if tokio::time::timeout(LAST, &mut work).await.is_err() {
        // What was asked for is still done, but nobody waits for the client to hear of it.
        client.outbox.give_up();
        work.await;
    }
}

/// Takes requests in until the end, and waits for those under way.
async fn work<S: Stream>(
    client: &Arc<Client<S>>,
    reader: &mut BufReader<ReadHalf<S>>,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(MOST as usize));
    loop {
        let came = tokio::select! {
            came = receive(client, reader) => came,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (job, last) = match came {
            Ok(Came::Job(job)) => (job, false),
            Ok(Came::Last(job)) => (job, true),
            Ok(Came::End) => break,
            Err(error) => {
                tracing::debug!(%error, "a client broke off");
                break;
            }
        };
        let Some(permit) = client.permit(&room).await else {
            break;
        };
        begin(client, job, permit);
        // Replies to requests that came together leave together.
        let more = has_whole(reader.buffer(), client.mode == Mode::Extended);
        let leave = last || !more || client.outbox.len() >= TOGETHER;
        if leave && client.outbox.flush().await.is_err() || last {
            break;
        }
    }
    // Requests under way are finished, and answered if anybody still listens.
    client.outbox.close().await;
    let _all = room.acquire_many(MOST).await;
    client.outbox.close().await;
}

/// Does a request: what does not have to wait is done now, what does goes on beside what comes next.
fn begin<S: Stream>(client: &Arc<Client<S>>, job: Job, room: OwnedSemaphorePermit) {
    let mut work = Box::pin(Arc::clone(client).answer(job, room));
    // The task polls it again, which enters the task's own waker.
    let mut context = Context::from_waker(Waker::noop());
    if work.as_mut().poll(&mut context).is_pending() {
        let client = Arc::clone(client);
        tokio::spawn(async move {
            work.await;
            // A client that does not take it is seen by whoever reads from it.
            let _ = client.outbox.flush().await;
        });
    }
}

/// Whether a whole request is there already, so that receiving it does not wait.
fn has_whole(bytes: &[u8], extended: bool) -> bool {
    let head = if extended {
        Request::EXTENDED_HEAD
    } else {
        Request::HEAD
    };
    let request = bytes.get(..head).map(|b| Request::decode(b, extended));
    let Some(Ok(request)) = request else {
        return false;
    };
    payload_of(&request, extended) <= (bytes.len() - head) as u64
}

/// Bytes that come with a request.
fn payload_of(request: &Request, extended: bool) -> u64 {
    match request.command {
        Command::Write => request.len,
        _ => request.payload_len(extended),
    }
}

/// The next request with its payload.
async fn receive<S: Stream>(
    client: &Client<S>,
    reader: &mut BufReader<ReadHalf<S>>,
) -> io::Result<Came> {
    let extended = client.mode == Mode::Extended;
    let mut head = [0; Request::EXTENDED_HEAD];
    let head = if extended {
        &mut head[..]
    } else {
        &mut head[..Request::HEAD]
    };
    reader.read_exact(head).await?;
    let broken = |e: nbd_proto::ProtoError| io::Error::other(e.0);
    let request = Request::decode(head, extended).map_err(broken)?;
    if request.command == Command::Disconnect {
        return Ok(Came::End);
    }
    let mut job = Job {
        request,
        payload: Vec::new(),
        contexts: Contexts::default(),
        refused: None,
    };
    let payload = payload_of(&request, extended);
    if payload > u64::from(MAX_REQUEST) {
        let words = format!("len ({payload}) is larger than max len ({MAX_REQUEST})");
        job.refused = Some(Failure::new(errno::EINVAL, words));
        return Ok(Came::Last(job));
    }
    match request.command {
        Command::Write => {
            job.payload = client.spare();
            take(reader, payload, &mut job.payload).await?;
        }
        Command::BlockStatus if payload > 0 && payload <= MAX_IDS => {
            let mut ids = Vec::new();
            take(reader, payload, &mut ids).await?;
            client.choose(&ids, &mut job);
        }
        Command::BlockStatus => {
            skip(reader, payload).await?;
            job.contexts = client.contexts.clone();
        }
        _ => skip(reader, payload).await?,
    }
    if job.refused.is_none() {
        job.refused = client.check(&job.request, payload).err();
    }
    Ok(Came::Job(job))
}

/// Reads a payload into a buffer that grows with what comes.
async fn take<R: tokio::io::AsyncRead + Unpin>(
    reader: &mut R,
    len: u64,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    let mut part = reader.take(len);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    while into.len() < len {
        into.reserve_exact((len - into.len()).min(STEP));
        if part.read_buf(into).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

async fn skip<R: tokio::io::AsyncRead + Unpin>(reader: &mut R, len: u64) -> io::Result<()> {
    let mut rest = reader.take(len);
    if tokio::io::copy(&mut rest, &mut tokio::io::sink()).await? != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

impl<S: Stream> Client<S> {
    /// Reads the payload of a block status: a length and numbers of contexts.
    fn choose(&self, payload: &[u8], job: &mut Job) {
        let invalid = || Failure::new(errno::EINVAL, "CMD_BLOCK_STATUS payload not valid");
        let Some((len, ids)) = payload.split_first_chunk::<8>() else {
            job.refused = Some(invalid());
            return;
        };
        job.request.len = u64::from_be_bytes(*len);
        let mut chosen = Contexts {
            bitmaps: vec![false; self.contexts.bitmaps.len()],
            ..Contexts::default()
        };
        let (ids, rest) = ids.as_chunks::<4>();
        let mut fits = rest.is_empty() && !ids.is_empty();
        for id in ids {
            match u32::from_be_bytes(*id) {
                0 => chosen.base = true,
                1 => chosen.depth = true,
                id => {
                    let at = usize::try_from(id - 2).unwrap_or(usize::MAX);
                    match chosen.bitmaps.get_mut(at) {
                        Some(bitmap) => *bitmap = true,
                        None => fits = false,
                    }
                }
            }
        }
        let known = &self.contexts;
        fits &= (!chosen.base || known.base) && (!chosen.depth || known.depth);
        fits &= chosen
            .bitmaps
            .iter()
            .zip(&known.bitmaps)
            .all(|(c, k)| !c || *k);
        if fits {
            job.contexts = chosen;
        } else {
            job.refused = Some(invalid());
        }
    }

    /// Whether a request may be tried. `payload`: bytes that came with it.
    fn check(&self, request: &Request, payload: u64) -> Result<(), Failure> {
        let mut known = command::FUA;
        let mut writes = false;
        let mut limited = false;
        match request.command {
            Command::Read => {
                limited = true;
                if self.mode >= Mode::Structured {
                    known |= command::DF;
                }
            }
            Command::Write => {
                writes = true;
                if self.mode == Mode::Extended {
                    known |= command::PAYLOAD_LEN;
                }
            }
            Command::Trim => writes = true,
            Command::Cache => limited = true,
            Command::WriteZeroes => {
                writes = true;
                known |= command::NO_HOLE | command::FAST_ZERO;
            }
            Command::BlockStatus => {
                known |= command::REQ_ONE;
                if payload > 0 {
                    known |= command::PAYLOAD_LEN;
                }
            }
            Command::Flush | Command::Disconnect => {}
            Command::Other(number) => {
                let words = format!("invalid request type ({number}) received");
                return Err(Failure::new(errno::EINVAL, words));
            }
        }
        let (offset, len) = (request.offset, request.len);
        if limited && len > u64::from(MAX_REQUEST) {
            let words = format!("len ({len}) is larger than max len ({MAX_REQUEST})");
            return Err(Failure::new(errno::EINVAL, words));
        }
        if writes && !self.export.writable {
            return Err(Failure::new(errno::EPERM, "Export is read-only"));
        }
        if offset > self.size || len > self.size - offset {
            let words = format!(
                "operation past EOF; From: {offset}, Len: {len}, Size: {}",
                self.size
            );
            let full = matches!(request.command, Command::Write | Command::WriteZeroes);
            let number = if full { errno::ENOSPC } else { errno::EINVAL };
            return Err(Failure::new(number, words));
        }
        if request.flags & !known != 0 {
            let words = format!("unsupported flags (got {:#x})", request.flags);
            return Err(Failure::new(errno::EINVAL, words));
        }
        Ok(())
    }

    /// Room for one more request. Replies that only wait to be sent make room.
    async fn permit(&self, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        if room.available_permits() == 0 {
            self.outbox.flush().await.ok()?;
        }
        Arc::clone(room).acquire_owned().await.ok()
    }

    /// Does a request. Its reply is sent with the next flush, which comes from here if the request had to wait.
    async fn answer(self: Arc<Self>, job: Job, room: OwnedSemaphorePermit) {
        let (cookie, offset) = (job.request.cookie, job.request.offset);
        let mut reply = Reply::new(self.mode, cookie, offset, self.outbox.buffer());
        let done = match &job.refused {
            Some(failure) => Err(failure.clone()),
            None => self.work(&job, &mut reply).await,
        };
        if let Err(failure) = done {
            reply.failed(&failure);
        }
        self.outbox.put(reply.bytes, room);
        self.keep(job.payload);
    }

    /// Memory for the bytes of a write.
    fn spare(&self) -> Vec<u8> {
        std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, mut payload: Vec<u8>) {
        if (1..=STEP).contains(&payload.capacity()) {
            payload.clear();
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = payload;
        }
    }

    async fn work(&self, job: &Job, reply: &mut Reply) -> Result<(), Failure> {
        let request = &job.request;
        let root = &self.export.root;
        let fua = request.flags & command::FUA != 0;
        let failed = |doing: &'static str| move |e: io::Error| Failure::of(&e, doing);
        match request.command {
            Command::Read => {
                if fua {
                    root.flush().await.map_err(failed("flush failed"))?;
                }
                return self.read(request, reply).await;
            }
            Command::BlockStatus => return self.block_status(job, reply).await,
            Command::Write => {
                let flags = WriteFlags {
                    fua,
                    ..WriteFlags::default()
                };
                let written = root.write(request.offset, &job.payload, flags).await;
                written.map_err(failed("writing to file failed"))?;
            }
            Command::WriteZeroes => {
                let flags = ZeroFlags {
                    may_unmap: request.flags & command::NO_HOLE == 0,
                    no_fallback: request.flags & command::FAST_ZERO != 0,
                    fua,
                };
                let written = root.write_zeroes(request.offset, request.len, flags).await;
                written.map_err(failed("writing to file failed"))?;
            }
            Command::Trim => {
                let trimmed = root.discard(request.offset, request.len).await;
                trimmed.map_err(failed("discard failed"))?;
                if fua {
                    root.flush().await.map_err(failed("discard failed"))?;
                }
            }
            Command::Flush => root.flush().await.map_err(failed("flush failed"))?,
            Command::Cache => prefetch(root, request.offset, request.len)
                .await
                .map_err(failed("caching data failed"))?,
            Command::Disconnect | Command::Other(_) => {}
        }
        reply.done();
        Ok(())
    }

    async fn read(&self, request: &Request, reply: &mut Reply) -> Result<(), Failure> {
        let mut offset = request.offset;
        let mut left = request.len;
        if left == 0 {
            if self.mode == Mode::Simple {
                reply.done();
            } else {
                reply.end();
            }
            return Ok(());
        }
        let whole = self.mode == Mode::Simple || request.flags & command::DF != 0;
        while left > 0 {
            let (mut len, mut zero) = (left, false);
            if !whole {
                let found = status::look(&self.export.root, offset, left).await;
                let found = found.map_err(|e| Failure::of(&e, "unable to check for holes"))?;
                (len, zero) = (found.len, found.zero);
            }
            let done = len == left;
            if zero {
                reply.hole(offset, u32::try_from(len).unwrap_or(0), done);
            } else {
                let start = reply.bytes.len();
                // At most what `check` let through.
                let count = usize::try_from(len).unwrap_or(0);
                let into = reply.data(offset, count, done);
                if let Err(error) = self.export.root.read(offset, into).await {
                    reply.bytes.truncate(start);
                    return Err(Failure::of(&error, "reading from file failed"));
                }
            }
            offset += len;
            left -= len;
        }
        Ok(())
    }

    async fn block_status(&self, job: &Job, reply: &mut Reply) -> Result<(), Failure> {
        let request = &job.request;
        let mut left = job.contexts.count();
        if left == 0 {
            let words = "CMD_BLOCK_STATUS not negotiated";
            return Err(Failure::new(errno::EINVAL, words));
        }
        if request.len == 0 {
            return Err(Failure::new(errno::EINVAL, "need non-zero length"));
        }
        let (offset, len) = (request.offset, request.len);
        let one = request.flags & command::REQ_ONE != 0;
        let failed = |e: io::Error| Failure::of(&e, "can't get block status");
        let root = &self.export.root;
        for (id, depth) in [(0, false), (1, true)] {
            let chosen = if depth {
                job.contexts.depth
            } else {
                job.contexts.base
            };
            if chosen {
                let list = List::new(one);
                let extents = status::allocation(root, offset, len, depth, list).await;
                left -= 1;
                reply.extents(id, &extents.map_err(failed)?, left == 0);
            }
        }
        let bitmaps = job.contexts.bitmaps.iter().zip(&self.export.bitmaps);
        for (id, (chosen, bitmap)) in (2..).zip(bitmaps) {
            if *chosen {
                let extents = status::dirty(bitmap, offset, len, List::new(one)).await;
                left -= 1;
                reply.extents(id, &extents.map_err(failed)?, left == 0);
            }
        }
        Ok(())
    }
}

/// Reads a range for nobody but the host's cache.
async fn prefetch(root: &Root, mut offset: u64, mut len: u64) -> io::Result<()> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(PREFETCH).min(PREFETCH)];
    while len > 0 {
        let now = usize::try_from(len).unwrap_or(PREFETCH).min(PREFETCH);
        root.read(offset, &mut buffer[..now]).await?;
        offset += now as u64;
        len -= now as u64;
    }
    Ok(())
}
