//! A root: how tools, devices, exports and jobs hold a tree and send it requests.
//!
//! Drain works here: a drained root lets requests that are under way finish and holds new ones back, so
//! that nothing moves below while the graph changes. Inner nodes need no counters of their own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::range_lock::{RangeGuard, RangeLock};
use crate::{Edge, Node, Perms, Preallocation, Role, Status, WriteFlags, ZeroFlags};

/// A user's hold on a node; requests are bounds-checked here.
pub struct Root {
    edge: Arc<Edge>,
    in_flight: AtomicUsize,
    drained: AtomicUsize,
    /// No request is under way any more.
    idle: Notify,
    /// Requests may come in again.
    resumed: Notify,
    writethrough: AtomicBool,
    copy_on_read: AtomicBool,
    /// Reads that copy, exclusive, and writes, shared, while there is copy-on-read.
    copies: RangeLock,
    keep_space: AtomicBool,
}

/// One request under way.
struct Ticket<'a>(&'a Root);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1
            && self.0.drained.load(Ordering::SeqCst) > 0
        {
            self.0.idle.notify_waiters();
        }
    }
}

/// Keeps a root drained while it lives.
pub struct Drained<'a>(&'a Root);

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        self.0.drained.fetch_sub(1, Ordering::SeqCst);
        self.0.resumed.notify_waiters();
    }
}

impl Root {
    /// Holds `node`, needing `used` and letting others do `shared`.
    ///
    /// # Errors
    /// When the permissions do not fit; see [`Edge::attach`].
    pub fn attach(node: Arc<Node>, used: Perms, shared: Perms) -> qapi::Result<Self> {
        Ok(Self {
            edge: Edge::attach("root", Role::Root, node, used, shared)?,
            in_flight: AtomicUsize::new(0),
            drained: AtomicUsize::new(0),
            idle: Notify::new(),
            resumed: Notify::new(),
            writethrough: AtomicBool::new(false),
            copy_on_read: AtomicBool::new(false),
            copies: RangeLock::default(),
            keep_space: AtomicBool::new(false),
        })
    }

    /// The node behind it.
    pub fn node(&self) -> Arc<Node> {
        self.edge.node()
    }

    /// The edge, to change permissions or to put another node behind it.
    pub fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// Whether every write is on stable storage before it is reported done (`cache=writethrough`,
    /// `cache=directsync`).
    pub fn set_writethrough(&self, on: bool) {
        self.writethrough.store(on, Ordering::Relaxed);
    }

    /// Whether what a read gets from a backing file is kept in the disk (`copy-on-read`).
    pub fn set_copy_on_read(&self, on: bool) {
        self.copy_on_read.store(on, Ordering::Relaxed);
    }

    /// Keeps reads that copy away from a range that is about to be written.
    async fn no_copies(&self, offset: u64, len: u64) -> Option<RangeGuard<'_>> {
        if self.copy_on_read.load(Ordering::Relaxed) && len > 0 {
            return Some(self.copies.shared(offset, offset.saturating_add(len)).await);
        }
        None
    }

    /// Whether discards from this user do nothing and zeroes keep their space (`discard=ignore`).
    pub fn set_keep_space(&self, on: bool) {
        self.keep_space.store(on, Ordering::Relaxed);
    }

    fn fua(&self, asked: bool) -> bool {
        asked || self.writethrough.load(Ordering::Relaxed)
    }

    /// Length of the disk in bytes.
    ///
    /// # Errors
    /// What the leaf says.
    pub fn length(&self) -> io::Result<u64> {
        self.node().length()
    }

    /// Waits for requests under way and holds back new ones while the guard lives.
    pub async fn drain(&self) -> Drained<'_> {
        self.drained.fetch_add(1, Ordering::SeqCst);
        loop {
            let idle = self.idle.notified();
            if self.in_flight.load(Ordering::SeqCst) == 0 {
                return Drained(self);
            }
            idle.await;
        }
    }

    async fn enter(&self) -> Ticket<'_> {
        loop {
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            let ticket = Ticket(self);
            if self.drained.load(Ordering::SeqCst) == 0 {
                return ticket;
            }
            let resumed = self.resumed.notified();
            drop(ticket);
            if self.drained.load(Ordering::SeqCst) > 0 {
                resumed.await;
            }
        }
    }

    fn check(&self, offset: u64, len: u64) -> io::Result<Arc<Node>> {
        let node = self.node();
        let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        if end > node.length()? {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(node)
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// `EIO` out of bounds, else what the layers below say.
    pub async fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let _ticket = self.enter().await;
        let node = self.check(offset, buf.len() as u64)?;
        if self.copy_on_read.load(Ordering::Relaxed) {
            return node.read_copying(&self.copies, offset, buf).await;
        }
        node.read(offset, buf).await
    }

    /// Writes `buf` at `offset`.
    ///
    /// # Errors
    /// `EIO` out of bounds, `EPERM` when read-only, else what the layers below say.
    pub async fn write(&self, offset: u64, buf: &[u8], flags: WriteFlags) -> io::Result<()> {
        let _ticket = self.enter().await;
        let flags = WriteFlags {
            fua: self.fua(flags.fua),
            ..flags
        };
        let _kept = self.no_copies(offset, buf.len() as u64).await;
        self.check(offset, buf.len() as u64)?
            .write(offset, buf, flags)
            .await
    }

    /// Makes a range read as zeroes.
    ///
    /// # Errors
    /// As [`Root::write`]; `ENOTSUP` only with `no_fallback`.
    pub async fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> io::Result<()> {
        let _ticket = self.enter().await;
        let flags = ZeroFlags {
            fua: self.fua(flags.fua),
            may_unmap: flags.may_unmap && !self.keep_space.load(Ordering::Relaxed),
            ..flags
        };
        let _kept = self.no_copies(offset, len).await;
        self.check(offset, len)?
            .write_zeroes(offset, len, flags)
            .await
    }

    /// Tells that a range is no longer needed.
    ///
    /// # Errors
    /// As [`Root::write`].
    pub async fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let _ticket = self.enter().await;
        let _kept = self.no_copies(offset, len).await;
        let node = self.check(offset, len)?;
        if self.keep_space.load(Ordering::Relaxed) {
            return Ok(());
        }
        node.discard(offset, len).await
    }

    /// Writes one packed cluster (or what is left of the disk).
    ///
    /// # Errors
    /// `ENOTSUP` when the format cannot, else as [`Root::write`].
    pub async fn write_compressed(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let _ticket = self.enter().await;
        let _kept = self.no_copies(offset, buf.len() as u64).await;
        self.check(offset, buf.len() as u64)?
            .write_compressed(offset, buf)
            .await
    }

    /// Fills `buf` from `position` in the area for VM state.
    ///
    /// # Errors
    /// `ENOTSUP` when the format has none, else what the layers below say.
    pub async fn read_vm_state(&self, position: u64, buf: &mut [u8]) -> io::Result<()> {
        let _ticket = self.enter().await;
        self.node().read_vm_state(position, buf).await
    }

    /// Writes `buf` at `position` in the area for VM state.
    ///
    /// # Errors
    /// As [`Root::read_vm_state`].
    pub async fn write_vm_state(&self, position: u64, buf: &[u8]) -> io::Result<()> {
        let _ticket = self.enter().await;
        self.node().write_vm_state(position, buf).await?;
        if self.fua(false) {
            self.node().flush().await?;
        }
        Ok(())
    }

    /// Packs one whole cluster (or what is left of the disk) onto the end of `out`, for [`Root::store_packed`]: CPU
    /// work only, from any thread. `false`: it does not get smaller, write it plain.
    ///
    /// # Errors
    /// `ENOTSUP` when the node cannot (filters: use [`Root::write_compressed`]), `EINVAL` when it is no cluster.
    pub fn pack(&self, offset: u64, buf: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        self.check(offset, buf.len() as u64)?.pack(offset, buf, out)
    }

    /// Stores a cluster that [`Root::pack`] packed. Room is handed out in the order of calls.
    ///
    /// # Errors
    /// As [`Root::write`].
    pub async fn store_packed(&self, offset: u64, packed: &[u8]) -> io::Result<()> {
        let _ticket = self.enter().await;
        self.check(offset, 1)?.store_packed(offset, packed).await
    }

    /// Whether [`Root::encipher`] works.
    pub fn enciphers_ahead(&self) -> bool {
        self.node().cipher_ahead().is_some()
    }

    /// Enciphers whole units in place, for [`Root::write_enciphered`]: CPU work only, from any thread.
    ///
    /// # Errors
    /// `ENOTSUP` when the node does not encipher, or not before it knows the place.
    pub fn encipher(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let node = self.check(offset, buf.len() as u64)?;
        let cipher = node.cipher_ahead().ok_or(io::ErrorKind::Unsupported)?;
        cipher.encrypt(offset, 0, buf)
    }

    /// Writes what [`Root::encipher`] made.
    ///
    /// # Errors
    /// As [`Root::write`].
    pub async fn write_enciphered(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let _ticket = self.enter().await;
        let flags = WriteFlags {
            fua: self.fua(false),
            ..WriteFlags::default()
        };
        let _kept = self.no_copies(offset, buf.len() as u64).await;
        self.check(offset, buf.len() as u64)?
            .write_enciphered(offset, buf, flags)
            .await
    }

    /// Copies from another disk without moving the bytes through this process, as many of `len` as lie together
    /// as plain data there. Gives back how many.
    ///
    /// # Errors
    /// `ENOTSUP` when the two leaves do not fit or the bytes are not plain, else as [`Root::write`].
    pub async fn copy_from(
        &self,
        offset: u64,
        source: &Root,
        from: u64,
        len: u64,
    ) -> io::Result<u64> {
        let _ticket = self.enter().await;
        let status = source.status(from, len).await?;
        let Some((at, leaf)) = status.at.filter(|_| status.data) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.check(offset, status.len)?
            .copy_from(offset, &leaf, at, status.len)
            .await?;
        Ok(status.len)
    }

    /// Everything written before is on stable storage after.
    ///
    /// # Errors
    /// What the layers below say.
    pub async fn flush(&self) -> io::Result<()> {
        let _ticket = self.enter().await;
        self.node().flush().await
    }

    /// Block status of this layer.
    ///
    /// # Errors
    /// What the layers below say.
    pub async fn status(&self, offset: u64, len: u64) -> io::Result<Status> {
        let _ticket = self.enter().await;
        self.check(offset, len)?.status(offset, len).await
    }

    /// Changes the length.
    ///
    /// # Errors
    /// In QEMU's words.
    pub async fn truncate(&self, len: u64, preallocation: Preallocation) -> qapi::Result<()> {
        let _ticket = self.enter().await;
        self.node().truncate(len, preallocation).await
    }

    /// Closes the tree from the top: formats store what they keep in memory.
    ///
    /// # Errors
    /// The first error; everything is closed nevertheless.
    pub async fn close(self) -> qapi::Result<()> {
        let drained = self.drain().await;
        let node = self.node();
        let result = node.close().await;
        drop(drained);
        drop(self);
        result
    }
}
