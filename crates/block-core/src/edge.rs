//! An edge: how a parent holds a child. The node behind it can be replaced while the parent keeps the edge, which
//! is how filters and jobs are put into a live graph.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::{
    BoxFuture, Event, Node, Perms, Preallocation, RangeLock, Status, WriteFlags, ZeroFlags,
};

/// What the child is to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Held by a tool, a device, an export or a job.
    Root,
    /// Holds metadata, and data where there is no data child.
    File,
    /// Holds only data.
    Data,
    /// Shows through where the parent has nothing.
    Backing,
    /// All content, seen through a filter.
    Filtered,
}

/// A parent's hold on a node.
pub struct Edge {
    name: &'static str,
    role: Role,
    node: ArcSwap<Node>,
    perms: Mutex<(Perms, Perms)>,
}

impl Edge {
    /// Attaches to `node`, needing `used` and letting others do `shared`.
    ///
    /// # Errors
    /// When another parent of the node does not share what is needed, or needs what is not shared, in QEMU's words;
    /// or when the leaf cannot take its locks.
    pub fn attach(
        name: &'static str,
        role: Role,
        node: Arc<Node>,
        used: Perms,
        shared: Perms,
    ) -> qapi::Result<Arc<Self>> {
        let edge = Arc::new(Self {
            name,
            role,
            node: ArcSwap::from(node),
            perms: Mutex::new((Perms::NONE, Perms::ALL)),
        });
        edge.node().add_parent(&edge);
        edge.set_perms(used, shared)?;
        Ok(edge)
    }

    /// The child's name in its parent: `file`, `backing`, `data-file`, `root`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What the child is to its parent.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The node, now.
    pub fn node(&self) -> Arc<Node> {
        self.node.load_full()
    }

    /// Used and shared permissions.
    pub fn perms(&self) -> (Perms, Perms) {
        *self.perms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the parent needs and shares; on failure nothing changes.
    ///
    /// # Errors
    /// As [`Edge::attach`].
    pub fn set_perms(&self, used: Perms, shared: Perms) -> qapi::Result<()> {
        let old = std::mem::replace(
            &mut *self.perms.lock().unwrap_or_else(PoisonError::into_inner),
            (used, shared),
        );
        let result = self.node().refresh_perms();
        if result.is_err() {
            *self.perms.lock().unwrap_or_else(PoisonError::into_inner) = old;
        }
        result
    }

    /// Puts another node behind the edge. The caller has drained the graph above it.
    ///
    /// # Errors
    /// When the new node's parents do not fit together; the edge then still holds the old node.
    pub fn replace(self: &Arc<Self>, node: Arc<Node>) -> qapi::Result<()> {
        node.add_parent(self);
        let old = self.node.swap(node);
        if let Err(error) = self.node().refresh_perms() {
            self.node.swap(old).forget_parent(self);
            return Err(error);
        }
        old.forget_parent(self);
        old.refresh_perms()
    }

    /// Whether anybody hears of events raised here.
    pub fn hears(&self) -> bool {
        self.node.load().hears()
    }

    /// Tells the node what its parent is about to do; ends when the parent may go on.
    pub async fn event(&self, event: Event) {
        if self.hears() {
            self.node().raise(event).await;
        }
    }

    /// As [`Edge::read`]; what the node does not hold itself is written to it on the way, while `ranges` is held.
    pub fn read_copying<'a>(
        &'a self,
        ranges: &'a RangeLock,
        offset: u64,
        buf: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.node().read_copying(ranges, offset, buf).await })
    }

    /// As `Root::read`, without bounds.
    pub fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.node().read(offset, buf).await })
    }

    /// As `Root::write`, without bounds.
    pub fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.node().write(offset, buf, flags).await })
    }

    /// As `Root::write_zeroes`, without bounds.
    pub fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { self.node().write_zeroes(offset, len, flags).await })
    }

    /// As `Root::discard`, without bounds.
    pub fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { self.node().discard(offset, len).await })
    }

    /// As `Root::flush`, without bounds.
    pub fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { self.node().flush().await })
    }

    /// As `Root::truncate`, without bounds.
    pub fn truncate(
        &self,
        len: u64,
        preallocation: Preallocation,
    ) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move { self.node().truncate(len, preallocation).await })
    }

    /// As `Root::status`, without bounds.
    pub fn status(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Status>> {
        Box::pin(async move { self.node().status(offset, len).await })
    }

    /// As `Root::write_compressed`, without bounds.
    pub fn write_compressed<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.node().write_compressed(offset, buf).await })
    }
}
