//! The leaf over an open host file: gives each request to the engine.

use std::any::Any;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use block_core::{
    BoxFuture, LeafStatus, Limits, Perms, Preallocation, Protocol, WriteFlags, ZeroFlags,
};

use super::engine::Engine;
use super::io::{ENOTSUP, FileKind, HostFile, errno};

/// A host file with its engine.
pub(super) struct OpenFile {
    host: Arc<HostFile>,
    engine: Engine,
}

impl OpenFile {
    pub(super) fn new(host: Arc<HostFile>, engine: Engine) -> Self {
        Self { host, engine }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // Requests that were given up may hold it open for a while.
        if !self.engine.is_inline() {
            self.host.locks.release(&self.host.file);
        }
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Protocol for OpenFile {
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        if self.engine.is_inline() {
            return ready(self.host.read(offset, buf));
        }
        Box::pin(self.engine.read(&self.host, offset, buf))
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        if self.engine.is_inline() {
            let written = self.host.write(offset, buf);
            return ready(match flags.fua {
                true => written.and_then(|()| self.host.sync()),
                false => written,
            });
        }
        Box::pin(async move {
            self.engine.write(&self.host, offset, buf).await?;
            match flags.fua {
                true => self.engine.sync(&self.host).await,
                false => Ok(()),
            }
        })
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.engine
                .run(&self.host, move |host| host.zero(offset, len, flags))
                .await?;
            match flags.fua {
                true => self.engine.sync(&self.host).await,
                false => Ok(()),
            }
        })
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        if !self.host.unmap {
            return ready(Ok(()));
        }
        Box::pin(
            self.engine
                .run(&self.host, move |host| host.discard(offset, len)),
        )
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.engine.sync(&self.host))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.host.end.load(Ordering::Acquire))
    }

    fn truncate(&self, len: u64, preallocation: Preallocation) -> BoxFuture<'_, qapi::Result<()>> {
        ready(self.host.truncate(len, preallocation))
    }

    fn status(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<LeafStatus>> {
        ready(match self.host.kind {
            FileKind::Device => Ok(LeafStatus::data(len)),
            FileKind::Regular => self.host.hole(offset, len),
        })
    }

    fn limits(&self) -> Limits {
        let regular = self.host.kind == FileKind::Regular;
        Limits {
            request_alignment: self.host.direct_align,
            max_transfer: 0,
            zero_beyond_end: regular,
            growable: regular,
            best_transfer: 0,
        }
    }

    fn set_permissions(&self, used: Perms, shared: Perms) -> qapi::Result<()> {
        let host = &self.host;
        host.locks.set(&host.file, &host.name, used, shared)
    }

    fn allocated(&self) -> Option<u64> {
        self.host.file.metadata().ok().map(|m| m.blocks() * 512)
    }

    fn copy_from<'a>(
        &'a self,
        source: &'a dyn Protocol,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> BoxFuture<'a, io::Result<()>> {
        ready(match source.as_any().downcast_ref::<Self>() {
            Some(source) => self.host.copy(&source.host, source_offset, offset, len),
            None => Err(errno(ENOTSUP)),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
