//! For this crate's tests: a format that keeps its cluster map in memory over a file in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use block_core::testing::MemoryFile;
use block_core::{
    BoxFuture, Compress, Edge, Empty, Extent, ExtentKind, Format, FormatInfo, Geometry, Kind, Node,
    NodeSpec, Perms, Place, Placement, Resize, ResizeRequest, Role, Root, Slot,
};

/// Cluster size of the fake.
pub(crate) const CLUSTER: u64 = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cluster {
    Data(u64),
    Zero,
    /// All bytes equal: one byte at this offset.
    Packed(u64),
}

#[derive(Default)]
struct State {
    map: BTreeMap<u64, Cluster>,
    end: u64,
    size: u64,
}

/// The format; clones share everything.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// The clusters in the order of the disk: index, kind letter and host offset.
    pub(crate) fn layout(&self) -> Vec<(u64, char, u64)> {
        let state = self.state.lock().unwrap();
        state
            .map
            .iter()
            .map(|(index, cluster)| match cluster {
                Cluster::Data(at) => (*index, 'd', *at),
                Cluster::Zero => (*index, 'z', 0),
                Cluster::Packed(at) => (*index, 'c', *at),
            })
            .collect()
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Format for Fake {
    fn geometry(&self) -> Geometry {
        Geometry {
            size: self.state.lock().unwrap().size,
            cluster_size: 4096,
            zero_granularity: 4096,
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        let state = self.state.lock().unwrap();
        let inside = offset % CLUSTER;
        let kind = match state.map.get(&(offset / CLUSTER)) {
            None => ExtentKind::Backing { at: None },
            Some(Cluster::Zero) => ExtentKind::Zero { at: None },
            Some(Cluster::Data(at)) => ExtentKind::Data {
                at: Place {
                    slot: Slot::FILE,
                    offset: at + inside,
                },
                recurse: false,
            },
            Some(Cluster::Packed(at)) => ExtentKind::Compressed {
                at: Place {
                    slot: Slot::FILE,
                    offset: *at,
                },
                packed_len: 1,
                cluster_start: offset - inside,
                cluster_len: 4096,
            },
        };
        let len = len.min(CLUSTER - inside);
        ready(Ok(Extent { len, kind }))
    }

    fn prepare(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Placement>> {
        let mut state = self.state.lock().unwrap();
        let inside = offset % CLUSTER;
        let len = len.min(CLUSTER - inside);
        let (host, fresh) = match state.map.get(&(offset / CLUSTER)) {
            Some(Cluster::Data(at)) => (*at, false),
            _ => {
                let host = state.end.next_multiple_of(CLUSTER);
                state.end = host + CLUSTER;
                (host, true)
            }
        };
        ready(Ok(Placement {
            guest: offset,
            len,
            at: Place {
                slot: Slot::FILE,
                offset: host + inside,
            },
            cow_head: if fresh { inside } else { 0 },
            cow_tail: if fresh { CLUSTER - inside - len } else { 0 },
            fresh,
            zeroed: fresh,
        }))
    }

    fn commit<'a>(&'a self, placement: &'a Placement) -> BoxFuture<'a, io::Result<()>> {
        let host = placement.at.offset - placement.cow_head;
        let mut state = self.state.lock().unwrap();
        let index = placement.guest / CLUSTER;
        state.map.insert(index, Cluster::Data(host));
        ready(Ok(()))
    }

    fn cancel<'a>(&'a self, _placement: &'a Placement) -> BoxFuture<'a, ()> {
        ready(())
    }

    fn zero(&self, offset: u64, len: u64, _may_unmap: bool) -> BoxFuture<'_, io::Result<()>> {
        let mut state = self.state.lock().unwrap();
        for index in offset / CLUSTER..(offset + len).div_ceil(CLUSTER) {
            state.map.insert(index, Cluster::Zero);
        }
        ready(Ok(()))
    }

    fn decompress(&self, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        cluster.fill(packed[0]);
        Ok(())
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        ready(Ok(()))
    }

    fn info(&self) -> BoxFuture<'_, qapi::Result<FormatInfo>> {
        ready(Ok(FormatInfo::default()))
    }

    fn compress(&self) -> Option<&dyn Compress> {
        Some(self)
    }

    fn resize(&self) -> Option<&dyn Resize> {
        Some(self)
    }

    fn empty(&self) -> Option<&dyn Empty> {
        Some(self)
    }
}

impl Compress for Fake {
    fn pack(&self, cluster: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        let alike = cluster.iter().all(|b| *b == cluster[0]);
        if alike {
            out.push(cluster[0]);
        }
        Ok(alike)
    }

    fn place(&self, _guest: u64, packed_len: u32) -> BoxFuture<'_, io::Result<Place>> {
        let mut state = self.state.lock().unwrap();
        let offset = state.end;
        state.end += u64::from(packed_len);
        let slot = Slot::FILE;
        ready(Ok(Place { slot, offset }))
    }

    fn commit_packed(
        &self,
        guest: u64,
        at: Place,
        _packed_len: u32,
    ) -> BoxFuture<'_, io::Result<()>> {
        let mut state = self.state.lock().unwrap();
        state
            .map
            .insert(guest / CLUSTER, Cluster::Packed(at.offset));
        ready(Ok(()))
    }
}

impl Resize for Fake {
    fn resize(&self, request: ResizeRequest) -> BoxFuture<'_, qapi::Result<()>> {
        self.state.lock().unwrap().size = request.size;
        ready(Ok(()))
    }
}

impl Empty for Fake {
    fn make_empty(&self) -> BoxFuture<'_, qapi::Result<()>> {
        self.state.lock().unwrap().map.clear();
        ready(Ok(()))
    }
}

/// A disk in memory with this backing file, and what it is made of.
pub(crate) struct Disk {
    pub(crate) root: Arc<Root>,
    pub(crate) fake: Fake,
    pub(crate) file: MemoryFile,
}

/// A new, empty disk of `size` bytes.
pub(crate) fn disk(name: &str, size: u64, backing: Option<&Disk>) -> Disk {
    let fake = Fake::default();
    fake.state.lock().unwrap().size = size;
    let file = MemoryFile::new(Vec::new());
    let backing = backing.map(|below| {
        let all = Perms::ALL;
        Edge::attach(
            "backing",
            Role::Backing,
            below.root.node(),
            Perms::NONE,
            all,
        )
        .unwrap()
    });
    let kind = Kind::format(Box::new(fake.clone()), vec![file.edge(false)], backing);
    let spec = NodeSpec::new(name, "fake");
    let root = Root::attach(Node::new(spec, kind), Perms::NONE, Perms::ALL).unwrap();
    let root = Arc::new(root);
    Disk { root, fake, file }
}
