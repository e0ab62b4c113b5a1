//! Bytes in and out of an open host file.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use block_core::{LeafStatus, Preallocation, ZeroFlags};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use sys::aligned::AlignedStore;

use super::create::{preallocate, set_len};
use super::locks::Locks;

pub(super) const ENOTSUP: i32 = 95;
const EIO: i32 = 5;
const EINVAL: i32 = 22;

/// Kinds of host file that behave differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Regular,
    Device,
}

/// An open host file.
pub(crate) struct HostFile {
    /// Its own count keeps the descriptor open for requests that the kernel has.
    pub(super) file: Arc<File>,
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
    /// Aligned memory for requests whose own is not, or that the kernel is to keep.
    pub(super) memory: AlignedStore,
}

pub(super) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl HostFile {
    /// Fills `buf`; past the end of the file there are zeroes.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.direct_align <= 1 || self.is_aligned(buf) {
            return self.read_at(offset, buf);
        }
        let mut bounce = self.memory.take(buf.len());
        let result = self.read_at(offset, bounce.bytes_mut());
        buf.copy_from_slice(bounce.bytes());
        self.memory.give(bounce);
        result
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.file.read_at(buf, offset) {
                Ok(n) if self.is_end(n) => {
                    buf[n..].fill(0);
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

    /// Whether a read of so many bytes met the end of the file: around the page cache only there a part of a unit is read.
    pub(super) fn is_end(&self, read: usize) -> bool {
        read == 0 || !read.is_multiple_of(self.direct_align as usize)
    }

    fn is_aligned(&self, buf: &[u8]) -> bool {
        buf.as_ptr()
            .addr()
            .is_multiple_of(self.direct_align as usize)
    }

    pub(super) fn write(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if self.direct_align <= 1 || self.is_aligned(buf) {
            self.file.write_all_at(buf, offset)?;
        } else {
            let mut bounce = self.memory.take(buf.len());
            bounce.bytes_mut().copy_from_slice(buf);
            let written = self.file.write_all_at(bounce.bytes(), offset);
            self.memory.give(bounce);
            written?;
        }
        self.wrote(offset, buf.len());
        Ok(())
    }

    /// The file is at least so long now.
    pub(super) fn wrote(&self, offset: u64, len: usize) {
        self.end.fetch_max(offset + len as u64, Ordering::AcqRel);
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        if !self.must_sync()? {
            return Ok(());
        }
        self.synced(self.file.sync_data())
    }

    /// Whether a flush is to reach the disk.
    pub(super) fn must_sync(&self) -> io::Result<bool> {
        if !self.no_flush && self.lost.load(Ordering::Acquire) {
            return Err(errno(EIO));
        }
        Ok(!self.no_flush)
    }

    /// Remembers a flush that failed.
    pub(super) fn synced(&self, result: io::Result<()>) -> io::Result<()> {
        result.inspect_err(|_| self.lost.store(true, Ordering::Release))
    }

    pub(super) fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        match self.kind {
            FileKind::Device => sys::blkdev::discard(&self.file, offset, len),
            FileKind::Regular => self.punch(offset, len),
        }
    }

    pub(super) fn truncate(&self, len: u64, preallocation: Preallocation) -> qapi::Result<()> {
        let old = self.end.load(Ordering::Acquire);
        if self.kind == FileKind::Device {
            if len > old {
                return Err(qapi::Error::new("Cannot grow device files").errno(EINVAL));
            }
            return Ok(());
        }
        preallocate(&self.file, old, len, preallocation)?;
        self.end.store(len, Ordering::Release);
        Ok(())
    }

    pub(super) fn zero(&self, offset: u64, len: u64, flags: ZeroFlags) -> io::Result<()> {
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

    pub(super) fn hole(&self, offset: u64, len: u64) -> io::Result<LeafStatus> {
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

    pub(super) fn copy(
        &self,
        source: &Self,
        mut from: u64,
        mut to: u64,
        mut len: u64,
    ) -> io::Result<()> {
        while len > 0 {
            let now = usize::try_from(len.min(1 << 30)).unwrap_or(1 << 30);
            let (mut at, mut into) = (from, to);
            let done = rustix::fs::copy_file_range(
                &*source.file,
                Some(&mut at),
                &*self.file,
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
