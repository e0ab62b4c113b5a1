//! The node: requests cut into pieces that every server takes, several under way.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use block_core::{
    BoxFuture, LeafStatus, Limits, Preallocation, Protocol, ProtocolOpen, WriteFlags, ZeroFlags,
};
use qapi::{Dict, Error, Value};

use super::client::{self, Connection};
use super::options::{self, Settings};
use super::packet::{Reply, Request, open, status};
use super::session::{Broken, Pending, Session};

/// Longest read or write: what the draft wants servers to take.
const PIECE: usize = 32 << 10;
/// Pieces of one request that are under way.
const AHEAD: usize = 32;
/// Requests of this length keep a connection busy.
const BEST: u32 = 1 << 20;
/// Of files that are made.
const PERMISSIONS: u32 = 0o644;
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const ENOTSUP: i32 = 95;

/// Opens a file.
pub(super) async fn open(request: ProtocolOpen<'_>) -> qapi::Result<Box<dyn Protocol>> {
    let settings = Settings::take(request.options)?;
    let connection = client::connect(&settings).await?;
    let flags = if request.read_write {
        open::READ | open::WRITE
    } else {
        open::READ
    };
    let file = File::open(&connection.session, &settings.path, flags).await?;
    Ok(Box::new(Disk {
        no_flush: request.cache.no_flush(),
        warned: AtomicBool::new(false),
        file,
        connection,
    }))
}

/// Makes a file of the asked length; what was there is gone.
pub(super) async fn create(name: &str, create: &Dict) -> qapi::Result<()> {
    let mut named = Dict::new();
    options::parse_filename(name, &mut named)?;
    let settings = Settings::take(&mut named)?;
    let size = match create.get("size") {
        Some(Value::Uint(n)) => *n,
        Some(Value::Int(n)) => u64::try_from(*n).unwrap_or(0),
        _ => 0,
    };
    let connection = client::connect(&settings).await?;
    let flags = open::READ | open::WRITE | open::CREATE | open::TRUNCATE;
    let file = File::open(&connection.session, &settings.path, flags).await?;
    if size > 0 {
        file.resize(&connection.session, size).await?;
    }
    Ok(())
}

/// An open file, as its server names it.
pub(super) struct File {
    handle: Vec<u8>,
    end: AtomicU64,
}

/// A refusal of the server's, as an error of this host.
fn refusal(code: u32) -> io::Error {
    io::Error::from_raw_os_error(match code {
        status::NO_SUCH_FILE => ENOENT,
        status::PERMISSION_DENIED => EACCES,
        status::OP_UNSUPPORTED => ENOTSUP,
        _ => EIO,
    })
}

/// An error of opening, in QEMU's words.
fn failed(what: &str, broken: Broken) -> Error {
    match broken {
        Broken::Lost(why) | Broken::Lied(why) => Error::new(format!("{what}: {why}")),
    }
}

fn refused(what: &str, code: u32, message: &str) -> Error {
    Error::new(format!(
        "{what}: SFTP server: {message} (sftp error code: {code})"
    ))
    .errno(refusal(code).raw_os_error().unwrap_or(EIO))
}

/// A piece of a read under way.
struct Piece {
    /// Where in the buffer it goes.
    start: usize,
    len: usize,
    pending: Pending,
}

impl File {
    /// Opens it and asks for its length.
    pub(super) async fn open(session: &Session, path: &str, flags: u32) -> qapi::Result<Self> {
        let what = format!("failed to open remote file '{path}'");
        let opening = Request::Open {
            path,
            flags,
            permissions: PERMISSIONS,
        };
        let handle = match session.ask(opening).await {
            Ok(Reply::Handle(handle)) => handle,
            Ok(Reply::Status { code, message }) if code != status::OK => {
                return Err(refused(&what, code, &message));
            }
            Ok(_) => return Err(failed(&what, session.leave("opens without a handle"))),
            Err(broken) => return Err(failed(&what, broken)),
        };
        let what = "failed to read file attributes";
        let end = match session.ask(Request::Fstat { handle: &handle }).await {
            Ok(Reply::Attrs(Some(end))) if i64::try_from(end).is_ok() => end,
            Ok(Reply::Status { code, message }) if code != status::OK => {
                return Err(refused(what, code, &message));
            }
            Ok(_) => return Err(failed(what, session.leave("tells no length of a file"))),
            Err(broken) => return Err(failed(what, broken)),
        };
        Ok(Self {
            handle,
            end: AtomicU64::new(end),
        })
    }

    /// Fills `buf`; what is past the end is zeroes.
    pub(super) async fn read(
        &self,
        session: &Session,
        offset: u64,
        buf: &mut [u8],
    ) -> io::Result<()> {
        let mut asked = 0;
        // Rests of pieces that came short.
        let mut again = Vec::new();
        let mut under_way: VecDeque<Piece> = VecDeque::new();
        loop {
            while under_way.len() < AHEAD {
                let (start, len) = match again.pop() {
                    Some(rest) => rest,
                    None if asked < buf.len() => (asked, PIECE.min(buf.len() - asked)),
                    None => break,
                };
                asked = asked.max(start + len);
                let request = Request::Read {
                    handle: &self.handle,
                    offset: offset + start as u64,
                    len: u32::try_from(len).unwrap_or(u32::MAX),
                };
                let pending = session.begin(request).await?;
                under_way.push_back(Piece {
                    start,
                    len,
                    pending,
                });
            }
            let Some(piece) = under_way.pop_front() else {
                return Ok(());
            };
            let into = &mut buf[piece.start..piece.start + piece.len];
            match piece.pending.reply().await? {
                Reply::Data(data) if data.is_empty() || data.len() > into.len() => {
                    return Err(session.leave("reads another length than asked").into());
                }
                Reply::Data(data) => {
                    into[..data.len()].copy_from_slice(&data);
                    if data.len() < piece.len {
                        again.push((piece.start + data.len(), piece.len - data.len()));
                    }
                }
                Reply::Status { code, .. } if code == status::EOF => into.fill(0),
                other => return Err(unexpected(session, &other)),
            }
        }
    }

    pub(super) async fn write(&self, session: &Session, offset: u64, buf: &[u8]) -> io::Result<()> {
        let mut under_way: VecDeque<Pending> = VecDeque::new();
        let mut at = offset;
        for data in buf.chunks(PIECE) {
            if under_way.len() >= AHEAD
                && let Some(first) = under_way.pop_front()
            {
                accepted(session, first.reply().await?)?;
            }
            let request = Request::Write {
                handle: &self.handle,
                offset: at,
                data,
            };
            under_way.push_back(session.begin(request).await?);
            at += data.len() as u64;
        }
        for pending in under_way {
            accepted(session, pending.reply().await?)?;
        }
        self.end.fetch_max(at, Ordering::AcqRel);
        Ok(())
    }

    pub(super) async fn sync(&self, session: &Session) -> io::Result<()> {
        let handle = &self.handle;
        accepted(session, session.ask(Request::Fsync { handle }).await?)
    }

    async fn resize(&self, session: &Session, size: u64) -> qapi::Result<()> {
        let what = "Failed to resize file";
        let request = Request::Fsetstat {
            handle: &self.handle,
            size,
        };
        match session.ask(request).await {
            Ok(Reply::Status { code, .. }) if code == status::OK => {
                self.end.store(size, Ordering::Release);
                Ok(())
            }
            Ok(Reply::Status { code, message }) => Err(refused(what, code, &message)),
            Ok(_) => Err(failed(what, session.leave("answers something else"))),
            Err(broken) => Err(failed(what, broken)),
        }
    }
}

/// A reply that has no bytes: a refusal, or a lie.
fn unexpected(session: &Session, reply: &Reply) -> io::Error {
    match reply {
        Reply::Status { code, .. } if *code != status::OK => refusal(*code),
        _ => session.leave("answers something else than asked").into(),
    }
}

fn accepted(session: &Session, reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Status { code, .. } if code == status::OK => Ok(()),
        other => Err(unexpected(session, &other)),
    }
}

struct Disk {
    file: File,
    /// `cache=unsafe`
    no_flush: bool,
    /// That the server cannot flush has been said.
    warned: AtomicBool,
    connection: Connection,
}

impl Disk {
    fn session(&self) -> &Session {
        &self.connection.session
    }

    async fn flush_all(&self) -> io::Result<()> {
        if self.no_flush {
            return Ok(());
        }
        if self.session().fsync {
            return self.file.sync(self.session()).await;
        }
        if !self.warned.swap(true, Ordering::AcqRel) {
            qapi::warn("ssh server does not support fsync");
        }
        Ok(())
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Protocol for Disk {
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.file.read(self.session(), offset, buf))
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.file.write(self.session(), offset, buf).await?;
            if flags.fua {
                self.flush_all().await?;
            }
            Ok(())
        })
    }

    fn write_zeroes(
        &self,
        _offset: u64,
        _len: u64,
        _flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        ready(Err(io::Error::from_raw_os_error(ENOTSUP)))
    }

    fn discard(&self, _offset: u64, _len: u64) -> BoxFuture<'_, io::Result<()>> {
        ready(Ok(()))
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.flush_all())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.end.load(Ordering::Acquire))
    }

    fn truncate(&self, len: u64, preallocation: Preallocation) -> BoxFuture<'_, qapi::Result<()>> {
        if preallocation != Preallocation::Off {
            let error = format!("Unsupported preallocation mode '{}'", preallocation.name());
            return ready(Err(Error::new(error).errno(ENOTSUP)));
        }
        Box::pin(self.file.resize(self.session(), len))
    }

    fn status(&self, _offset: u64, len: u64) -> BoxFuture<'_, io::Result<LeafStatus>> {
        ready(Ok(LeafStatus::data(len)))
    }

    fn limits(&self) -> Limits {
        Limits {
            best_transfer: BEST,
            ..Limits::default()
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
