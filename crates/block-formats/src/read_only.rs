//! What formats have in common that can only be read: of their mapping, only the looking up.

use std::io;

use block_core::{BoxFuture, Extent, Format, FormatInfo, Geometry, Node, Placement};
use qapi::{Error, Result};

/// Longest disk in bytes: the largest multiple of 1 GiB that 63 bits hold.
const MAX_LENGTH: u64 = (i64::MAX as u64) & !((1 << 30) - 1);

/// The unit in which requests are told apart; writes would need one.
const UNIT: u32 = 65536;

/// A format that can only be read.
pub(crate) trait Lookup: Send + Sync + 'static {
    /// Length of the disk in bytes.
    fn size(&self) -> u64;

    /// As [`Format::map`].
    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>>;

    /// As [`Format::map_cached`].
    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent>;

    /// As [`Format::decompress_at`].
    fn unpack(&self, _start: u64, _packed: &[u8], _cluster: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`Format::opaque`].
    fn opaque(&self) -> bool {
        true
    }

    /// What `info` shows.
    fn info(&self) -> FormatInfo {
        FormatInfo::default()
    }

    /// As [`Format::backing_opened`].
    fn backing_opened<'a>(&'a self, _backing: &'a Node) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The rest of a format over a lookup.
pub(crate) struct ReadOnly<L>(pub(crate) L);

impl<L: Lookup> Format for ReadOnly<L> {
    fn geometry(&self) -> Geometry {
        Geometry {
            size: self.0.size(),
            cluster_size: UNIT,
            zero_granularity: UNIT,
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        self.0.map(offset, len)
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent> {
        self.0.map_cached(offset, len)
    }

    fn prepare(&self, _offset: u64, _len: u64) -> BoxFuture<'_, io::Result<Placement>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }

    fn commit<'a>(&'a self, _placement: &'a Placement) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }

    fn cancel<'a>(&'a self, _placement: &'a Placement) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn decompress_at(&self, start: u64, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        self.0.unpack(start, packed, cluster)
    }

    fn opaque(&self) -> bool {
        self.0.opaque()
    }

    fn backing_opened<'a>(&'a self, backing: &'a Node) -> BoxFuture<'a, ()> {
        self.0.backing_opened(backing)
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn info(&self) -> BoxFuture<'_, Result<FormatInfo>> {
        Box::pin(std::future::ready(Ok(self.0.info())))
    }
}

/// The length of a disk of so many sectors.
///
/// # Errors
/// When no disk can be so long.
pub(crate) fn disk_size(sectors: u64) -> Result<u64> {
    match sectors.checked_mul(512).filter(|size| *size <= MAX_LENGTH) {
        Some(size) => Ok(size),
        None => Err(Error::with_errno(
            "Could not refresh total sector count",
            27,
        )),
    }
}

/// The error of an open that has no words of its own.
pub(crate) fn could_not_open(name: &str, errno: i32) -> Error {
    Error::with_errno(format!("Could not open '{name}'"), errno)
}

/// [`could_not_open`] for a read that failed.
pub(crate) fn could_not_read(name: &str, error: &io::Error) -> Error {
    could_not_open(name, error.raw_os_error().unwrap_or(5))
}
