//! Blank images, made by hand.

use std::sync::Arc;

use block_core::testing::MemoryFile;
use block_core::{BoxFuture, Edge, Gate, Kind, Node, NodeSpec, OpenRequest, Perms, Role, Root};
use qapi::{Dict, Value};

use crate::qcow2::DRIVER;
use crate::qcow2::header::{CompressionType, Header, compatible, incompatible, l1_entries};
use crate::qcow2::refcount::set;

#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) cluster_bits: u32,
    pub(super) order: u32,
    pub(super) version: u32,
    pub(super) extended: bool,
    pub(super) lazy: bool,
}

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    reactor::run_light(future).unwrap()
}

/// Header, refcount table, one refcount block, L1 table.
pub(super) fn blank(shape: Shape, size: u64) -> MemoryFile {
    let cluster = 1_usize << shape.cluster_bits;
    let entries = l1_entries(size, shape.cluster_bits, shape.extended);
    let l1_clusters = (usize::try_from(entries).unwrap() * 8).div_ceil(cluster);
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    let header = Header {
        version: shape.version,
        cluster_bits: shape.cluster_bits,
        size,
        crypt_method: 0,
        l1_size: u32::try_from(entries).unwrap(),
        l1_offset: 3 * cluster as u64,
        refcount_table_offset: cluster as u64,
        refcount_table_clusters: 1,
        nb_snapshots: 0,
        snapshots_offset: 0,
        incompatible: flag(shape.extended, incompatible::EXTENDED_L2),
        compatible: flag(shape.lazy, compatible::LAZY_REFCOUNTS),
        autoclear: 0,
        refcount_order: shape.order,
        compression: CompressionType::Zlib,
        extensions: Vec::new(),
        unknown_fields: Vec::new(),
        backing: None,
    };
    let mut bytes = header.encode().unwrap_or_else(|_| {
        // Feature names do not fit the smallest clusters.
        panic!("header does not fit")
    });
    bytes.resize((3 + l1_clusters) * cluster, 0);
    bytes[cluster..cluster + 8].copy_from_slice(&(2 * cluster as u64).to_be_bytes());
    for n in 0..3 + l1_clusters {
        set(&mut bytes[2 * cluster..3 * cluster], n, shape.order, 1);
    }
    MemoryFile::new(bytes)
}

struct NoGate;

impl Gate for NoGate {
    fn open_child<'a>(
        &'a self,
        _role: Role,
        name: &'static str,
        _options: Option<Value>,
        _named_by_image: Option<&'a str>,
    ) -> BoxFuture<'a, qapi::Result<Arc<Edge>>> {
        Box::pin(async move { Err(qapi::Error::new(format!("no {name}"))) })
    }

    fn create_file<'a>(
        &'a self,
        filename: &'a str,
        _options: &'a Dict,
    ) -> BoxFuture<'a, qapi::Result<Arc<Node>>> {
        Box::pin(async move { Err(qapi::Error::new(format!("no {filename}"))) })
    }
}

pub(super) async fn open(file: &MemoryFile, read_write: bool) -> qapi::Result<Root> {
    let opened = (DRIVER.open)(OpenRequest {
        file: file.edge(!read_write),
        options: &mut Dict::new(),
        read_write,
        check_only: false,
        no_io: false,
        unmap: false,
        gate: &NoGate,
    })
    .await?;
    let spec = NodeSpec {
        read_only: !read_write,
        ..NodeSpec::new("disk", "qcow2")
    };
    let node = Node::new(spec, Kind::format(opened.format, opened.edges, None));
    let used = if read_write {
        Perms::CONSISTENT_READ | Perms::WRITE | Perms::RESIZE
    } else {
        Perms::CONSISTENT_READ
    };
    Root::attach(node, used, Perms::ALL)
}
