//! The simplest format there can be: a map from guest clusters to places, kept in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::MemoryFile;
use crate::{
    BoxFuture, CIPHER_UNIT, Cipher, Edge, Extent, ExtentKind, Format, FormatInfo, Geometry, Kind,
    Node, NodeSpec, Place, Placement, Resize, ResizeRequest, Role, Slot,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cluster {
    Data(u64),
    Zero,
}

/// Maps clusters of [`ToyFormat::CLUSTER`] bytes; forgets everything when dropped.
pub struct ToyFormat {
    size: AtomicU64,
    next: AtomicU64,
    clusters: Arc<Mutex<BTreeMap<u64, Cluster>>>,
    cipher: Option<ToyCipher>,
}

/// Turns the bits of each unit by a number made of where it is.
struct ToyCipher {
    by_place: bool,
}

impl Cipher for ToyCipher {
    fn encrypt(&self, guest: u64, host: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = if self.by_place { host } else { guest };
        assert!((start | buf.len() as u64).is_multiple_of(CIPHER_UNIT));
        for (byte, at) in buf.iter_mut().zip(start..) {
            *byte ^= 0x55 ^ (at / CIPHER_UNIT).to_le_bytes()[0];
        }
        Ok(())
    }

    fn decrypt(&self, guest: u64, host: u64, buf: &mut [u8]) -> io::Result<()> {
        self.encrypt(guest, host, buf)
    }

    fn ignores_place(&self) -> bool {
        !self.by_place
    }
}

impl ToyFormat {
    /// Unit of allocation in bytes.
    pub const CLUSTER: u64 = 4096;

    /// A node of this size over a new file in memory, with this backing file.
    pub fn node(name: &str, size: u64, backing: Option<Arc<Edge>>) -> (Arc<Node>, MemoryFile) {
        Self::build(name, size, backing, None)
    }

    /// The same with data that is enciphered, by where it is in the file or on the disk.
    pub fn enciphered(
        name: &str,
        size: u64,
        backing: Option<Arc<Edge>>,
        by_place: bool,
    ) -> (Arc<Node>, MemoryFile) {
        Self::build(name, size, backing, Some(ToyCipher { by_place }))
    }

    fn build(
        name: &str,
        size: u64,
        backing: Option<Arc<Edge>>,
        cipher: Option<ToyCipher>,
    ) -> (Arc<Node>, MemoryFile) {
        let file = MemoryFile::new(Vec::new());
        let format = Self {
            size: AtomicU64::new(size),
            next: AtomicU64::new(0),
            clusters: Arc::default(),
            cipher,
        };
        let spec = NodeSpec::new(name, "toy");
        let kind = Kind::format(Box::new(format), vec![file.edge(false)], backing);
        (Node::new(spec, kind), file)
    }

    /// An edge called `backing` to a node.
    ///
    /// # Panics
    /// When another user of the node does not share reads.
    pub fn backing(node: Arc<Node>) -> Arc<Edge> {
        let read = crate::Perms::CONSISTENT_READ;
        Edge::attach("backing", Role::Backing, node, read, crate::Perms::ALL)
            .expect("tests give nodes that share reads")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Cluster>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lookup(&self, offset: u64, len: u64) -> Extent {
        let inside = offset % Self::CLUSTER;
        let kind = match self.lock().get(&(offset / Self::CLUSTER)) {
            Some(Cluster::Data(host)) => ExtentKind::Data {
                at: Place {
                    slot: Slot::FILE,
                    offset: host + inside,
                },
                recurse: false,
            },
            Some(Cluster::Zero) => ExtentKind::Zero { at: None },
            None => ExtentKind::Backing { at: None },
        };
        Extent {
            len: len.min(Self::CLUSTER - inside),
            kind,
        }
    }

    fn set(&self, offset: u64, len: u64, to: Option<Cluster>) {
        let mut clusters = self.lock();
        for n in offset / Self::CLUSTER..(offset + len).div_ceil(Self::CLUSTER) {
            match to {
                Some(cluster) => clusters.insert(n, cluster),
                None => clusters.remove(&n),
            };
        }
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Format for ToyFormat {
    fn cipher(&self) -> Option<&dyn Cipher> {
        let cipher = self.cipher.as_ref()?;
        Some(cipher)
    }

    fn geometry(&self) -> Geometry {
        Geometry {
            size: self.size.load(Ordering::Relaxed),
            cluster_size: 4096,
            zero_granularity: 4096,
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        ready(Ok(self.lookup(offset, len)))
    }

    fn prepare(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Placement>> {
        let inside = offset % Self::CLUSTER;
        let len = len.min(Self::CLUSTER - inside);
        let old = self.lock().get(&(offset / Self::CLUSTER)).copied();
        let (host, fresh) = match old {
            Some(Cluster::Data(host)) => (host, false),
            _ => (self.next.fetch_add(Self::CLUSTER, Ordering::Relaxed), true),
        };
        ready(Ok(Placement {
            guest: offset,
            len,
            at: Place {
                slot: Slot::FILE,
                offset: host + inside,
            },
            cow_head: if fresh { inside } else { 0 },
            cow_tail: if fresh {
                Self::CLUSTER - inside - len
            } else {
                0
            },
            fresh,
            zeroed: fresh,
        }))
    }

    fn commit<'a>(&'a self, place: &'a Placement) -> BoxFuture<'a, io::Result<()>> {
        let host = place.at.offset - place.cow_head;
        self.set(place.guest - place.cow_head, 1, Some(Cluster::Data(host)));
        ready(Ok(()))
    }

    fn cancel<'a>(&'a self, _place: &'a Placement) -> BoxFuture<'a, ()> {
        ready(())
    }

    fn zero(&self, offset: u64, len: u64, _may_unmap: bool) -> BoxFuture<'_, io::Result<()>> {
        self.set(offset, len, Some(Cluster::Zero));
        ready(Ok(()))
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        self.set(offset, len, Some(Cluster::Zero));
        ready(Ok(()))
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        ready(Ok(()))
    }

    fn info(&self) -> BoxFuture<'_, qapi::Result<FormatInfo>> {
        ready(Ok(FormatInfo::default()))
    }

    fn resize(&self) -> Option<&dyn Resize> {
        Some(self)
    }
}

impl Resize for ToyFormat {
    fn resize(&self, request: ResizeRequest) -> BoxFuture<'_, qapi::Result<()>> {
        let kept = request.size.div_ceil(Self::CLUSTER);
        self.lock().retain(|n, _| *n < kept);
        self.size.store(request.size, Ordering::Relaxed);
        ready(Ok(()))
    }
}
