//! Bytes in and out of an open host file.

use std::any::Any;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use block_core::{
    BoxFuture, LeafStatus, Limits, Perms, Preallocation, Protocol, WriteFlags, ZeroFlags,
};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};

use super::create::{preallocate, set_len};
use super::locks::Locks;

const ENOTSUP: i32 = 95;
const EIO: i32 = 5;

/// Kinds of host file that behave differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Regular,
    Device,
}

/// An open host file.
pub(crate) struct HostFile {
    pub(super) file: File,
    pub(super) name: String,
    pub(super) kind: FileKind,
    /// Alignment that O_DIRECT wants of offsets, lengths and memory; 1 without.
    pub(super) direct_align: u32,
    pub(super) no_flush: bool,
    pub(super) unmap: bool,
    pub(super) locks: Locks,
    /// Length in bytes as we know it; others may not resize what we write.
    pub(super) end: AtomicU64,
    /// The file system cannot punch holes or zero ranges.
    pub(super) no_punch: AtomicBool,
    pub(super) no_zero: AtomicBool,
    /// A flush failed: what the kernel dropped will not come back, so later ones fail too.
    pub(super) lost: AtomicBool,
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl HostFile {
    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.file.read_at(buf, offset) {
                Ok(0) => {
                    buf.fill(0);
                    return Ok(());
                }
                Ok(n) => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_direct(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.is_aligned(buf) {
            return self.read_at(offset, buf);
        }
        let mut bounce = Bounce::new(buf.len(), self.direct_align);
        self.read_at(offset, bounce.bytes())?;
        buf.copy_from_slice(bounce.bytes());
        Ok(())
    }

    fn is_aligned(&self, buf: &[u8]) -> bool {
        buf.as_ptr()
            .addr()
            .is_multiple_of(self.direct_align as usize)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if self.direct_align <= 1 || self.is_aligned(buf) {
            self.file.write_all_at(buf, offset)?;
        } else {
            let mut bounce = Bounce::new(buf.len(), self.direct_align);
            bounce.bytes().copy_from_slice(buf);
            self.file.write_all_at(bounce.bytes(), offset)?;
        }
        self.end
            .fetch_max(offset + buf.len() as u64, Ordering::AcqRel);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.no_flush {
            return Ok(());
        }
        if self.lost.load(Ordering::Acquire) {
            return Err(errno(EIO));
        }
        self.file
            .sync_data()
            .inspect_err(|_| self.lost.store(true, Ordering::Release))
    }

    fn zero(&self, offset: u64, len: u64, flags: ZeroFlags) -> io::Result<()> {
        if self.kind == FileKind::Device {
            return sys::blkdev::zero(&self.file, offset, len);
        }
        let end = self.end.load(Ordering::Acquire);
        if offset >= end {
            // Nothing is there yet: growing makes zeroes.
            set_len(&self.file, offset + len)?;
            self.end.fetch_max(offset + len, Ordering::AcqRel);
            return Ok(());
        }
        if flags.may_unmap && self.unmap {
            match self.punch(offset, len) {
                Err(error) if error.raw_os_error() == Some(ENOTSUP) => {}
                other => {
                    other?;
                    return self.grow_to(offset + len);
                }
            }
        }
        self.zero_range(offset, len)
    }

    fn grow_to(&self, end: u64) -> io::Result<()> {
        if end > self.end.load(Ordering::Acquire) {
            set_len(&self.file, end)?;
            self.end.fetch_max(end, Ordering::AcqRel);
        }
        Ok(())
    }

    fn zero_range(&self, offset: u64, len: u64) -> io::Result<()> {
        if self.no_zero.load(Ordering::Relaxed) {
            return Err(errno(ENOTSUP));
        }
        match fallocate(&self.file, FallocateFlags::ZERO_RANGE, offset, len) {
            Ok(()) => {
                self.end.fetch_max(offset + len, Ordering::AcqRel);
                Ok(())
            }
            Err(error) => Err(self.unsupported(error, &self.no_zero)),
        }
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        if self.no_punch.load(Ordering::Relaxed) {
            return Err(errno(ENOTSUP));
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.file, flags, offset, len).map_err(|e| self.unsupported(e, &self.no_punch))
    }

    /// Remembers that the file system cannot do something.
    #[expect(clippy::unused_self, reason = "reads as a property of the file")]
    fn unsupported(&self, error: rustix::io::Errno, memory: &AtomicBool) -> io::Error {
        if matches!(
            error,
            rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS
        ) {
            memory.store(true, Ordering::Relaxed);
            return errno(ENOTSUP);
        }
        error.into()
    }

    fn hole(&self, offset: u64, len: u64) -> io::Result<LeafStatus> {
        let end = self.end.load(Ordering::Acquire);
        if offset >= end {
            return Ok(LeafStatus::hole(len));
        }
        match seek(self.file.as_fd(), SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Ok(LeafStatus::hole(len.min(data - offset))),
            Ok(_) => {
                let hole = seek(self.file.as_fd(), SeekFrom::Hole(offset)).unwrap_or(end);
                if hole <= offset {
                    return Ok(LeafStatus::data(len));
                }
                Ok(LeafStatus::data(len.min(hole - offset)))
            }
            Err(rustix::io::Errno::NXIO) => Ok(LeafStatus::hole(len)),
            Err(_) => Ok(LeafStatus::data(len)),
        }
    }

    fn copy(&self, source: &Self, mut from: u64, mut to: u64, mut len: u64) -> io::Result<()> {
        while len > 0 {
            let now = usize::try_from(len.min(1 << 30)).unwrap_or(1 << 30);
            let (mut at, mut into) = (from, to);
            let done = rustix::fs::copy_file_range(
                &source.file,
                Some(&mut at),
                &self.file,
                Some(&mut into),
                now,
            )?;
            if done == 0 {
                return Err(errno(ENOTSUP));
            }
            let done = done as u64;
            (from, to, len) = (from + done, to + done, len - done);
            self.end.fetch_max(to, Ordering::AcqRel);
        }
        Ok(())
    }
}

/// Memory aligned for O_DIRECT.
struct Bounce {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Bounce {
    fn new(len: usize, align: u32) -> Self {
        let align = align as usize;
        let memory = vec![0; len + align];
        let start = memory.as_ptr().addr().next_multiple_of(align) - memory.as_ptr().addr();
        Self { memory, start, len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl Protocol for HostFile {
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        ready(if self.direct_align > 1 {
            self.read_direct(offset, buf)
        } else {
            self.read_at(offset, buf)
        })
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        let written = self.write_at(offset, buf);
        ready(if flags.fua {
            written.and_then(|()| self.sync())
        } else {
            written
        })
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        let done = self.zero(offset, len, flags);
        ready(if flags.fua {
            done.and_then(|()| self.sync())
        } else {
            done
        })
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        ready(match self.kind {
            _ if !self.unmap => Ok(()),
            FileKind::Device => sys::blkdev::discard(&self.file, offset, len),
            FileKind::Regular => self.punch(offset, len),
        })
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        ready(self.sync())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.end.load(Ordering::Acquire))
    }

    fn truncate(&self, len: u64, preallocation: Preallocation) -> BoxFuture<'_, qapi::Result<()>> {
        let old = self.end.load(Ordering::Acquire);
        let result = if self.kind == FileKind::Device {
            if len > old {
                Err(qapi::Error::new("Cannot grow device files").errno(22))
            } else {
                Ok(())
            }
        } else {
            preallocate(&self.file, old, len, preallocation)
        };
        if result.is_ok() && self.kind == FileKind::Regular {
            self.end.store(len, Ordering::Release);
        }
        ready(result)
    }

    fn status(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<LeafStatus>> {
        ready(match self.kind {
            FileKind::Device => Ok(LeafStatus::data(len)),
            FileKind::Regular => self.hole(offset, len),
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            request_alignment: self.direct_align,
            max_transfer: 0,
            zero_beyond_end: self.kind == FileKind::Regular,
            growable: self.kind == FileKind::Regular,
        }
    }

    fn set_permissions(&self, used: Perms, shared: Perms) -> qapi::Result<()> {
        self.locks.set(&self.file, &self.name, used, shared)
    }

    fn allocated(&self) -> Option<u64> {
        self.file.metadata().ok().map(|m| m.blocks() * 512)
    }

    fn copy_from<'a>(
        &'a self,
        source: &'a dyn Protocol,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> BoxFuture<'a, io::Result<()>> {
        ready(match source.as_any().downcast_ref::<Self>() {
            Some(source) => self.copy(source, source_offset, offset, len),
            None => Err(errno(ENOTSUP)),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
