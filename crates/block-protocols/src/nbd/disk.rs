//! The node: requests cut to what the server takes, and block status.

use std::any::Any;
use std::io;
use std::sync::Arc;

use block_core::{
    BoxFuture, CacheMode, LeafStatus, Limits, Preallocation, Protocol, ProtocolOpen, WriteFlags,
    ZeroFlags,
};
use crypto::tls::{self, Endpoint, TlsCreds};
use nbd_proto::flags::{ALLOCATION_DEPTH, allocation, command, export};
use nbd_proto::{Command, Extent, MAX_REQUEST};
use qapi::{Dict, Error, Value};

use super::ahead::{Ahead, RANGE};
use super::connection::{Ask, Broken, Failure, Sink};
use super::handshake::{Chosen, Mode};
use super::link::Link;
use super::options::Settings;

/// Unit of requests for a server that does not tell its own.
const SECTOR: u32 = 512;
/// Bytes of a new image that are cleared.
const FIRST: usize = 512;
/// Requests of this length keep a connection busy: each costs the server a wake-up or more.
const BEST: u32 = 1 << 20;
const ENOTSUP: i32 = 95;
const EINVAL: i32 = 22;
const EACCES: i32 = 13;

/// Opens a server's export.
pub(super) async fn open(request: ProtocolOpen<'_>) -> qapi::Result<Box<dyn Protocol>> {
    let settings = Settings::take(request.options)?;
    let creds = match (&settings.tls_creds, &settings.tls_certificates) {
        (Some(id), _) => Some(tls::credentials(
            (request.object)(id),
            id,
            Endpoint::Client,
        )?),
        (None, Some(dir)) => Some(Arc::new(TlsCreds::of_client(dir)?)),
        (None, None) if settings.secure => {
            return Err(Error::new(
                "TLS needs credentials: tls-certificates=DIR in the name, or the option tls-creds",
            ));
        }
        (None, None) => None,
    };
    let depth = settings.bitmap.as_deref() == Some(ALLOCATION_DEPTH);
    let (link, chosen) = Link::open(settings, creds, request.read_write).await?;
    let read_only = request.read_write && link.has(export::READ_ONLY);
    if read_only && !request.auto_read_only {
        return Err(Error::with_errno("Could not open image", EACCES));
    }
    Ok(Box::new(Disk {
        sizes: Sizes::of(&chosen),
        context: chosen.context.is_some(),
        depth,
        read_only,
        link,
        ahead: Ahead::default(),
    }))
}

/// "Creates" an image: the export must be there and large enough, and loses its first sector, so that what it held is
/// not taken for an image any more.
pub(super) async fn create(name: &str, options: &Dict) -> qapi::Result<()> {
    let mut named = Dict::new();
    super::options::parse_filename(name, &mut named)?;
    let request = ProtocolOpen {
        options: &mut named,
        read_write: true,
        cache: CacheMode::default(),
        aio: None,
        force_share: false,
        auto_read_only: false,
        unmap: true,
        object: &|_| None,
    };
    let disk = open(request).await?;
    let failed = |e: io::Error| Error::from_io("Failed to clear the new image's first sector", &e);
    let length = disk.length().map_err(failed)?;
    let size = match options.get("size") {
        Some(Value::Uint(n)) => *n,
        Some(Value::Int(n)) => u64::try_from(*n).unwrap_or(0),
        _ => 0,
    };
    fits(size, length)?;
    let first = vec![0; usize::try_from(length).unwrap_or(FIRST).min(FIRST)];
    let written = disk.write(0, &first, WriteFlags::default()).await;
    written.map_err(failed)
}

fn fits(wanted: u64, length: u64) -> qapi::Result<()> {
    if wanted > length {
        return Err(Error::new("Cannot grow NBD nodes").errno(EINVAL));
    }
    Ok(())
}

/// What requests have to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    /// Offsets and lengths are multiples of it.
    unit: u32,
    /// Longest read or write.
    most: u64,
    /// Longest write of zeroes.
    most_zeroes: u64,
    /// Longest trim.
    most_trimmed: u64,
    /// Longest range that block status is asked for.
    most_asked: u64,
}

impl Sizes {
    fn of(chosen: &Chosen) -> Self {
        let (min, _, max) = chosen.info.block_sizes.unwrap_or_default();
        let unit = match min {
            // Ragged ends, and extents of any length, can only be told by a server that takes single bytes.
            0 if chosen.context.is_some() || !chosen.info.size.is_multiple_of(SECTOR.into()) => 1,
            0 => SECTOR,
            min => min,
        };
        let down = |n: u64| n - n % u64::from(unit);
        let most = if max == 0 {
            MAX_REQUEST
        } else {
            max.min(MAX_REQUEST)
        };
        let most = down(most.into()).max(unit.into());
        // A server with extended headers takes any length of what carries no bytes.
        let any = down(i64::MAX.unsigned_abs());
        let wide = chosen.mode >= Mode::Extended;
        Self {
            unit,
            most,
            most_zeroes: if wide { any } else { most },
            most_trimmed: if wide {
                any
            } else {
                down(i32::MAX.unsigned_abs().into()).max(unit.into())
            },
            most_asked: if wide { any } else { down(u32::MAX.into()) },
        }
    }
}

struct Disk {
    link: Arc<Link>,
    sizes: Sizes,
    /// The server can be asked for block status.
    context: bool,
    /// It tells layers, not allocation.
    depth: bool,
    read_only: bool,
    /// Block status that was told, but not asked for yet.
    ahead: Ahead,
}

fn failed(broken: &Broken) -> io::Error {
    match broken {
        Broken::Lost(why) => {
            tracing::debug!(%why, "connection lost");
            io::Error::from_raw_os_error(5)
        }
        Broken::Lied(why) => io::Error::other(why.to_string()),
    }
}

impl Disk {
    /// Does one request, again on a new connection when the first one is lost and it may be.
    async fn ask(&self, ask: Ask<'_>, mut sink: Sink<'_>) -> io::Result<()> {
        loop {
            let connection = self.link.connection().await?;
            match connection.ask(ask, sink.again()).await {
                Ok(()) => return Ok(()),
                Err(Failure::Refused(number)) => {
                    return Err(io::Error::from_raw_os_error(number));
                }
                Err(Failure::Broken(Broken::Lost(_))) if self.link.comes_back() => {}
                Err(Failure::Broken(broken)) => {
                    self.link.notice();
                    return Err(failed(&broken));
                }
            }
        }
    }

    async fn plain(&self, command: Command, flags: u16, offset: u64, len: u64) -> io::Result<()> {
        let ask = Ask {
            command,
            flags,
            offset,
            len,
            payload: &[],
        };
        self.ask(ask, Sink::Nothing).await
    }

    /// A range in pieces of at most `most` bytes.
    async fn in_pieces(
        &self,
        command: Command,
        flags: u16,
        (mut offset, mut len): (u64, u64),
        most: u64,
    ) -> io::Result<()> {
        while len > 0 {
            let now = len.min(most);
            self.plain(command, flags, offset, now).await?;
            offset += now;
            len -= now;
        }
        Ok(())
    }

    async fn read_all(&self, mut offset: u64, buf: &mut [u8]) -> io::Result<()> {
        // What is past the end reads as zeroes; the server need not be asked.
        let inside = self.link.size().saturating_sub(offset);
        let inside = usize::try_from(inside).unwrap_or(usize::MAX).min(buf.len());
        let (buf, beyond) = buf.split_at_mut(inside);
        beyond.fill(0);
        let most = usize::try_from(self.sizes.most).unwrap_or(usize::MAX);
        for piece in buf.chunks_mut(most) {
            let len = piece.len() as u64;
            let ask = Ask {
                command: Command::Read,
                flags: 0,
                offset,
                len,
                payload: &[],
            };
            self.ask(ask, Sink::Data(offset, piece)).await?;
            offset += len;
        }
        Ok(())
    }

    /// The flag for a stable request, when the server knows it; else a flush has to follow.
    fn fua(&self, wanted: bool) -> (u16, bool) {
        match (wanted, self.link.has(export::SEND_FUA)) {
            (true, true) => (command::FUA, false),
            (wanted, _) => (0, wanted),
        }
    }

    async fn write_all(&self, mut offset: u64, buf: &[u8], flags: WriteFlags) -> io::Result<()> {
        let (fua, flush) = self.fua(flags.fua);
        let most = usize::try_from(self.sizes.most).unwrap_or(usize::MAX);
        for piece in buf.chunks(most) {
            let len = piece.len() as u64;
            let ask = Ask {
                command: Command::Write,
                flags: fua,
                offset,
                len,
                payload: piece,
            };
            self.ask(ask, Sink::Nothing).await?;
            offset += len;
        }
        if flush {
            self.flush_all().await?;
        }
        Ok(())
    }

    async fn zero_all(&self, offset: u64, len: u64, flags: ZeroFlags) -> io::Result<()> {
        let fast = flags.no_fallback;
        if !self.link.has(export::SEND_WRITE_ZEROES)
            || (fast && !self.link.has(export::SEND_FAST_ZERO))
        {
            return Err(io::Error::from_raw_os_error(ENOTSUP));
        }
        let (mut bits, flush) = self.fua(flags.fua);
        if !flags.may_unmap {
            bits |= command::NO_HOLE;
        }
        if fast {
            bits |= command::FAST_ZERO;
        }
        let range = (offset, len);
        self.in_pieces(Command::WriteZeroes, bits, range, self.sizes.most_zeroes)
            .await?;
        if flush {
            self.flush_all().await?;
        }
        Ok(())
    }

    async fn trim_all(&self, offset: u64, len: u64) -> io::Result<()> {
        if !self.link.has(export::SEND_TRIM) {
            return Ok(());
        }
        let range = (offset, len);
        self.in_pieces(Command::Trim, 0, range, self.sizes.most_trimmed)
            .await
    }

    /// Does something that makes the block status told so far wrong.
    async fn changing<T>(&self, work: impl Future<Output = T>) -> T {
        self.ahead.change();
        let done = work.await;
        self.ahead.change();
        done
    }

    async fn flush_all(&self) -> io::Result<()> {
        if !self.link.has(export::SEND_FLUSH) {
            return Ok(());
        }
        self.plain(Command::Flush, 0, 0, 0).await
    }

    async fn status_at(&self, offset: u64, len: u64) -> io::Result<LeafStatus> {
        let size = self.link.size();
        if !self.context || offset >= size {
            return Ok(LeafStatus::data(len));
        }
        let inside = len.min(size - offset).min(self.sizes.most_asked);
        if let Some(known) = self.ahead.find(offset) {
            return Ok(self.understand(known, inside));
        }
        // Whoever asks for much goes on from there; a short range is asked for itself.
        let (flags, asked_len) = if inside > BEST.into() {
            (0, inside.min(RANGE))
        } else {
            (command::REQ_ONE, inside)
        };
        let mut extents = Vec::new();
        let ask = Ask {
            command: Command::BlockStatus,
            flags,
            offset,
            len: asked_len,
            payload: &[],
        };
        let asked = self.ahead.asking();
        match self.ask(ask, Sink::Extents(&mut extents)).await {
            // It came back without the context.
            Err(error) if error.raw_os_error() == Some(ENOTSUP) => {}
            other => other?,
        }
        let first = extents.first().copied();
        if extents.len() > 1 && flags == 0 {
            self.ahead.keep(asked, offset, extents);
        }
        Ok(match first {
            Some(first) => self.understand(first, inside),
            None => LeafStatus::data(inside),
        })
    }

    /// What an extent says, of a range that is no longer than asked and fits the unit. A server that tells parts of
    /// units is forgiven: such a part counts as data.
    fn understand(&self, extent: Extent, asked: u64) -> LeafStatus {
        let unit = u64::from(self.sizes.unit);
        let Extent { mut len, mut flags } = extent;
        if !len.is_multiple_of(unit) {
            if len > unit {
                len -= len % unit;
            } else {
                (len, flags) = (unit, 0);
            }
        }
        if self.depth {
            flags = flags.min(2);
        }
        LeafStatus {
            len: len.min(asked),
            data: flags & u64::from(allocation::HOLE) == 0,
            zero: flags & u64::from(allocation::ZERO) != 0,
        }
    }
}

impl Protocol for Disk {
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.read_all(offset, buf))
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.changing(self.write_all(offset, buf, flags)))
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.changing(self.zero_all(offset, len, flags)))
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.changing(self.trim_all(offset, len)))
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.flush_all())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.link.size())
    }

    fn truncate(&self, len: u64, _preallocation: Preallocation) -> BoxFuture<'_, qapi::Result<()>> {
        // Less is fine: as with other disks of a fixed size, what is behind is not used.
        Box::pin(std::future::ready(fits(len, self.link.size())))
    }

    fn status(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<LeafStatus>> {
        Box::pin(self.status_at(offset, len))
    }

    fn limits(&self) -> Limits {
        Limits {
            request_alignment: self.sizes.unit,
            max_transfer: 0,
            zero_beyond_end: false,
            growable: false,
            best_transfer: BEST,
        }
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
