//! For tests of everything above: a leaf in memory that can fail where it is told to.

mod toy;

pub use toy::ToyFormat;

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    BoxFuture, Edge, Kind, LeafStatus, Limits, Node, NodeSpec, Perms, Preallocation, Protocol,
    Role, WriteFlags, ZeroFlags,
};

/// Longest file in bytes: what is behind it fails as on a full file system.
const MAX_LEN: usize = 512 << 20;
const EFBIG: i32 = 27;

/// A file in memory. Clones share the bytes, so that a test can "crash" one user and open the file again.
#[derive(Clone)]
pub struct MemoryFile {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Writes still to succeed before every write fails; negative: no limit.
    writes_left: Arc<AtomicI64>,
    errno: i32,
}

impl MemoryFile {
    /// A file with this content.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Arc::new(Mutex::new(bytes)),
            writes_left: Arc::new(AtomicI64::new(-1)),
            errno: 28,
        }
    }

    /// After `writes` more writes (zeroes, truncates and flushes count too) every one fails with ENOSPC.
    pub fn fail_after(&self, writes: i64) {
        self.writes_left.store(writes, Ordering::SeqCst);
    }

    /// The bytes, now.
    pub fn snapshot(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// A node over it, with this name.
    pub fn node(&self, name: &str, read_only: bool) -> Arc<Node> {
        let spec = NodeSpec {
            read_only,
            ..NodeSpec::new(name, "memory")
        };
        Node::new(spec, Kind::Protocol(Box::new(self.clone())))
    }

    /// An edge called `file` over a new node, with all permissions a writer needs.
    ///
    /// # Panics
    /// Never for a new node.
    pub fn edge(&self, read_only: bool) -> Arc<Edge> {
        let used = if read_only {
            Perms::CONSISTENT_READ
        } else {
            Perms::CONSISTENT_READ | Perms::WRITE | Perms::RESIZE
        };
        Edge::attach(
            "file",
            Role::File,
            self.node("memory", read_only),
            used,
            Perms::ALL,
        )
        .expect("a new node has no other parent")
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spend(&self) -> io::Result<()> {
        let left = self.writes_left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        if left > 0 {
            self.writes_left.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn put(&self, offset: u64, bytes: &mut dyn Iterator<Item = u8>, len: usize) -> io::Result<()> {
        self.spend()?;
        let start = usize::try_from(offset).map_err(|_| io::Error::from_raw_os_error(27))?;
        let mut file = self.lock();
        if start.saturating_add(len) > MAX_LEN {
            return Err(io::Error::from_raw_os_error(EFBIG));
        }
        if file.len() < start + len {
            file.resize(start + len, 0);
        }
        for (to, from) in file[start..start + len].iter_mut().zip(bytes) {
            *to = from;
        }
        Ok(())
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Protocol for MemoryFile {
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        let file = self.lock();
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(file.len());
        let have = buf.len().min(file.len() - start);
        buf[..have].copy_from_slice(&file[start..start + have]);
        buf[have..].fill(0);
        ready(Ok(()))
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        _flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        ready(self.put(offset, &mut buf.iter().copied(), buf.len()))
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        _flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        ready(self.put(offset, &mut std::iter::repeat_n(0, len), len))
    }

    fn discard(&self, _offset: u64, _len: u64) -> BoxFuture<'_, io::Result<()>> {
        ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        ready(self.spend())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.lock().len() as u64)
    }

    fn truncate(&self, len: u64, _preallocation: Preallocation) -> BoxFuture<'_, qapi::Result<()>> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let result = self.spend().and_then(|()| {
            if len > MAX_LEN {
                return Err(io::Error::from_raw_os_error(EFBIG));
            }
            self.lock().resize(len, 0);
            Ok(())
        });
        ready(result.map_err(|e| qapi::Error::from_io("Failed to resize", &e)))
    }

    fn status(&self, _offset: u64, len: u64) -> BoxFuture<'_, io::Result<LeafStatus>> {
        ready(Ok(LeafStatus::data(len)))
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
