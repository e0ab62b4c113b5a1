//! A node: a driver with its place in the graph.

mod debug;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use qapi::{Dict, Error};

use crate::engine::{self, Mapped, Sharing, Sieve};
use crate::{
    Cipher, DetectZeroes, Edge, Event, Filter, Format, Perms, Preallocation, Protocol, RangeLock,
    ResizeRequest, WriteFlags, ZeroFlags,
};

/// What stands in a node.
pub enum Kind {
    /// A leaf.
    Protocol(Box<dyn Protocol>),
    /// A format over its children.
    Format(Mapped),
    /// A filter over its child.
    Filter(Box<dyn Filter>),
}

/// What a node is made of.
pub struct NodeSpec {
    /// Unique name.
    pub name: String,
    /// `driver=` name.
    pub driver: &'static str,
    /// The name users see: a file name, or `json:{...}`.
    pub filename: String,
    /// All options it was opened with, children nested: for `json:` names and queries.
    pub options: Dict,
    /// Not writable.
    pub read_only: bool,
    /// `detect-zeroes=`
    pub detect_zeroes: DetectZeroes,
    /// Discards do something: not `discard=ignore`.
    pub discards: bool,
    /// `force-share=` (`-U`): let others do anything. Only for read-only nodes.
    pub force_share: bool,
}

impl NodeSpec {
    /// A node that can be written, without options: its file's name is its own.
    pub fn new(name: &str, driver: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            driver,
            filename: name.to_owned(),
            options: Dict::new(),
            read_only: false,
            detect_zeroes: DetectZeroes::Off,
            discards: true,
            force_share: false,
        }
    }
}

/// Block status of one layer. `data` and `zero` may both be true (data known to be zeroes).
#[derive(Clone)]
pub struct Status {
    /// For how many bytes it holds; at least 1.
    pub len: u64,
    /// This layer decides the content, not its backing file.
    pub allocated: bool,
    /// There are bytes to read.
    pub data: bool,
    /// Reads as zeroes (through the backing chain's end, too).
    pub zero: bool,
    /// Stored packed.
    pub compressed: bool,
    /// Where in which leaf, if it is plain there.
    pub at: Option<(u64, Arc<Node>)>,
}

/// A driver with its name, parents and options.
pub struct Node {
    spec: NodeSpec,
    kind: Kind,
    read_only: AtomicBool,
    detect_zeroes: AtomicU8,
    parents: Mutex<Vec<Weak<Edge>>>,
    /// Serialises read-modify-write where the leaf wants aligned requests.
    unaligned: RangeLock,
}

impl Node {
    /// Puts a driver into a node. Formats: build `kind` with [`Kind::format`].
    pub fn new(spec: NodeSpec, kind: Kind) -> Arc<Self> {
        Arc::new(Self {
            read_only: AtomicBool::new(spec.read_only),
            detect_zeroes: AtomicU8::new(spec.detect_zeroes as u8),
            spec,
            kind,
            parents: Mutex::default(),
            unaligned: RangeLock::default(),
        })
    }

    /// The node's unique name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The driver's name.
    pub fn driver(&self) -> &'static str {
        self.spec.driver
    }

    /// The name users see.
    pub fn filename(&self) -> &str {
        &self.spec.filename
    }

    /// What names found in an image are relative to: the plain name of the leaf that holds it.
    ///
    /// # Errors
    /// In QEMU's words, when there is no such name.
    pub fn folder_of(&self) -> qapi::Result<String> {
        if let Kind::Filter(filter) = &self.kind {
            filter.keeps_folder()?;
        }
        match self.children().first() {
            Some(child) => child.node().folder_of(),
            None if self.filename().is_empty() || self.filename().starts_with("json:") => {
                Err(Error::new(format!(
                    "Cannot generate a base directory for {} nodes",
                    self.driver()
                )))
            }
            None => Ok(self.filename().to_owned()),
        }
    }

    /// Unit of requests that its driver asks for, in bytes.
    pub fn request_alignment(&self) -> u32 {
        match &self.kind {
            Kind::Protocol(protocol) => protocol.limits().request_alignment.max(1),
            Kind::Filter(filter) => filter.unit().max(1),
            Kind::Format(_) => 1,
        }
    }

    /// Options it was opened with.
    pub fn options(&self) -> &Dict {
        &self.spec.options
    }

    /// What stands in it.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether writes are refused.
    pub fn read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }

    /// The format in it, if it is one.
    pub fn format(&self) -> Option<&dyn Format> {
        match &self.kind {
            Kind::Format(mapped) => Some(&*mapped.format),
            _ => None,
        }
    }

    /// The protocol in it, if it is one.
    pub fn protocol(&self) -> Option<&dyn Protocol> {
        match &self.kind {
            Kind::Protocol(protocol) => Some(&**protocol),
            _ => None,
        }
    }

    /// The edge to the backing file, if there is one.
    pub fn backing(&self) -> Option<Arc<Edge>> {
        match &self.kind {
            Kind::Format(mapped) => mapped.backing.load_full(),
            _ => None,
        }
    }

    /// Puts in, changes or takes out the backing file. The caller has drained the graph above.
    ///
    /// # Errors
    /// When the driver has no backing files.
    pub fn set_backing(&self, edge: Option<Arc<Edge>>) -> qapi::Result<()> {
        let Kind::Format(mapped) = &self.kind else {
            return Err(Error::new(format!(
                "Driver '{}' has no backing file",
                self.driver()
            )));
        };
        mapped.backing.store(edge);
        Ok(())
    }

    /// Children in order: by slot, then backing.
    pub fn children(&self) -> Vec<Arc<Edge>> {
        match &self.kind {
            Kind::Protocol(_) => Vec::new(),
            Kind::Format(mapped) => mapped
                .edges
                .iter()
                .cloned()
                .chain(mapped.backing.load_full())
                .collect(),
            Kind::Filter(filter) => filter.children(),
        }
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// What the leaf says.
    pub fn length(&self) -> io::Result<u64> {
        match &self.kind {
            Kind::Protocol(protocol) => protocol.length(),
            Kind::Format(mapped) => Ok(mapped.format.geometry().size),
            Kind::Filter(filter) => filter.length(),
        }
    }

    /// Fills `buf` from `offset`. Past a leaf's end there are zeroes; a format's caller stays in bounds.
    pub(crate) async fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.kind {
            Kind::Protocol(protocol) => engine::leaf_read(&**protocol, offset, buf).await,
            Kind::Format(mapped) => mapped.read(offset, buf).await,
            Kind::Filter(filter) => match Sieve::of(&**filter, &self.unaligned) {
                Some(sieve) => sieve.read(offset, buf).await,
                None => filter.read(offset, buf).await,
            },
        }
    }

    /// Writes `buf` at `offset`.
    pub(crate) async fn write(&self, offset: u64, buf: &[u8], flags: WriteFlags) -> io::Result<()> {
        self.check_writable()?;
        let detect = self.detect_zeroes.load(Ordering::Relaxed);
        if detect != DetectZeroes::Off as u8 && !buf.is_empty() && engine::is_zero(buf) {
            let zero = ZeroFlags {
                may_unmap: detect == DetectZeroes::Unmap as u8,
                no_fallback: true,
                fua: flags.fua,
            };
            match self.write_zeroes(offset, buf.len() as u64, zero).await {
                Err(error) if engine::is_unsupported(&error) => {}
                other => return other,
            }
        }
        match &self.kind {
            Kind::Protocol(protocol) => {
                engine::leaf_write(&**protocol, &self.unaligned, offset, buf, flags).await
            }
            Kind::Format(mapped) => mapped.write(offset, buf, flags).await,
            Kind::Filter(filter) => match Sieve::of(&**filter, &self.unaligned) {
                Some(sieve) => sieve.write(offset, buf, flags).await,
                None => filter.write(offset, buf, flags).await,
            },
        }
    }

    /// Makes a range read as zeroes.
    pub(crate) async fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> io::Result<()> {
        self.check_writable()?;
        match &self.kind {
            Kind::Protocol(protocol) => {
                engine::leaf_zero(&**protocol, &self.unaligned, offset, len, flags).await
            }
            Kind::Format(mapped) => mapped.write_zeroes(offset, len, flags).await,
            Kind::Filter(filter) => match Sieve::of(&**filter, &self.unaligned) {
                Some(sieve) => sieve.zero(offset, len, flags).await,
                None => filter.write_zeroes(offset, len, flags).await,
            },
        }
    }

    /// Tells that a range is no longer needed; never fails for want of support.
    pub(crate) async fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_writable()?;
        if !self.spec.discards {
            return Ok(());
        }
        let result = match &self.kind {
            Kind::Protocol(protocol) => engine::leaf_discard(&**protocol, offset, len).await,
            Kind::Format(mapped) => mapped.discard(offset, len).await,
            Kind::Filter(filter) => match Sieve::of(&**filter, &self.unaligned) {
                Some(sieve) => sieve.discard(offset, len).await,
                None => filter.discard(offset, len).await,
            },
        };
        match result {
            Err(error) if engine::is_unsupported(&error) => Ok(()),
            other => other,
        }
    }

    /// Writes one packed cluster.
    pub(crate) async fn write_compressed(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        match &self.kind {
            Kind::Protocol(_) => Err(engine::unsupported()),
            Kind::Format(mapped) => mapped.write_compressed(offset, buf).await,
            Kind::Filter(filter) => filter.write_compressed(offset, buf).await,
        }
    }

    /// Packs one cluster for [`Node::store_packed`]; only a format can.
    pub(crate) fn pack(&self, offset: u64, buf: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        match &self.kind {
            Kind::Format(mapped) => mapped.pack(offset, buf, out),
            _ => Err(engine::unsupported()),
        }
    }

    /// The cipher of a format that enciphers without knowing the place.
    pub(crate) fn cipher_ahead(&self) -> Option<&dyn Cipher> {
        match &self.kind {
            Kind::Format(mapped) => mapped.cipher_ahead(),
            _ => None,
        }
    }

    /// Writes whole units that are enciphered already.
    pub(crate) async fn write_enciphered(
        &self,
        offset: u64,
        buf: &[u8],
        flags: WriteFlags,
    ) -> io::Result<()> {
        self.check_writable()?;
        match &self.kind {
            Kind::Format(mapped) => mapped.write_enciphered(offset, buf, flags).await,
            _ => Err(engine::unsupported()),
        }
    }

    /// Stores a packed cluster.
    pub(crate) async fn store_packed(&self, offset: u64, packed: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        match &self.kind {
            Kind::Format(mapped) => mapped.store_packed(offset, packed).await,
            _ => Err(engine::unsupported()),
        }
    }

    /// Copies plain bytes that lie at `from` in the leaf `source` without moving them through this process.
    pub(crate) async fn copy_from(
        self: &Arc<Self>,
        offset: u64,
        source: &Node,
        from: u64,
        len: u64,
    ) -> io::Result<()> {
        self.check_writable()?;
        let (leaf, at) = engine::shifted_leaf(self, offset);
        let (Some(target), Some(source)) = (leaf.protocol(), source.protocol()) else {
            return Err(engine::unsupported());
        };
        target.copy_from(source, from, at, len).await
    }

    /// Everything written before is on stable storage after.
    ///
    /// # Errors
    /// What the layers below say.
    pub async fn flush(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Protocol(protocol) => protocol.flush().await,
            Kind::Format(mapped) => {
                if let Some(file) = mapped.edges.first() {
                    file.event(Event::FlushToOs).await;
                }
                mapped.format.flush().await
            }
            Kind::Filter(filter) => {
                filter.child().event(Event::FlushToOs).await;
                filter.child().event(Event::FlushToDisk).await;
                filter.flush().await
            }
        }
    }

    /// Block status of this layer at `offset`, which is in bounds.
    pub(crate) async fn status(self: &Arc<Self>, offset: u64, len: u64) -> io::Result<Status> {
        match &self.kind {
            Kind::Protocol(protocol) => engine::leaf_status(self, &**protocol, offset, len).await,
            Kind::Format(mapped) => mapped.status(offset, len).await,
            Kind::Filter(filter) => match Sieve::of(&**filter, &self.unaligned) {
                Some(sieve) => sieve.status(offset, len).await,
                None => filter.status(offset, len).await,
            },
        }
    }

    /// Changes the length.
    pub(crate) async fn truncate(
        &self,
        len: u64,
        preallocation: Preallocation,
    ) -> qapi::Result<()> {
        if self.read_only() {
            return Err(Error::new("Image is read-only"));
        }
        match &self.kind {
            Kind::Protocol(protocol) => protocol.truncate(len, preallocation).await,
            Kind::Filter(filter) => filter.truncate(len, preallocation).await,
            Kind::Format(mapped) => match mapped.format.resize() {
                Some(resize) => {
                    mapped
                        .resize(
                            resize,
                            ResizeRequest {
                                size: len,
                                preallocation,
                            },
                        )
                        .await
                }
                None => Err(Error::new("Image format driver does not support resize").errno(95)),
            },
        }
    }

    /// Stores what this node and those below keep in memory. Called once, from the top.
    ///
    /// # Errors
    /// The first error; all are closed nevertheless.
    pub async fn close(&self) -> qapi::Result<()> {
        let mut result = match &self.kind {
            Kind::Format(mapped) => mapped.format.close().await,
            Kind::Filter(filter) => filter.close().await,
            Kind::Protocol(_) => Ok(()),
        };
        for child in self.children() {
            let closed = Box::pin(child.node().close_shared()).await;
            result = result.and(closed);
        }
        result
    }

    /// A child closes only with its last parent.
    async fn close_shared(&self) -> qapi::Result<()> {
        if self.live_parents().len() > 1 {
            return Ok(());
        }
        self.close().await
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.read_only() {
            return Err(io::Error::from_raw_os_error(1));
        }
        Ok(())
    }

    fn live_parents(&self) -> Vec<Arc<Edge>> {
        let mut parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        parents.retain(|p| p.strong_count() > 0);
        parents.iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn add_parent(&self, edge: &Arc<Edge>) {
        self.parents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::downgrade(edge));
    }

    pub(crate) fn forget_parent(&self, edge: &Arc<Edge>) {
        self.parents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|p| !std::ptr::eq(p.as_ptr(), Arc::as_ptr(edge)));
    }

    /// Joins what all parents need and share, refuses what does not fit, and tells the leaf and the children.
    pub(crate) fn refresh_perms(&self) -> qapi::Result<()> {
        let parents = self.live_parents();
        self.check_conflicts(&parents)?;
        let (mut used, mut shared) = (Perms::NONE, Perms::ALL);
        for parent in &parents {
            let (u, s) = parent.perms();
            used = used | u;
            shared = shared & s;
        }
        if self.spec.force_share {
            shared = Perms::ALL;
        }
        let writes = Perms::WRITE | Perms::WRITE_UNCHANGED | Perms::RESIZE;
        if self.read_only() && !(used & writes).is_empty() {
            return Err(Error::new("Block node is read-only").errno(1));
        }
        match &self.kind {
            Kind::Protocol(protocol) => protocol.set_permissions(used, shared),
            Kind::Filter(filter) => {
                for child in filter.children() {
                    let (used, shared) = filter.child_perms(&child, used, shared);
                    child.set_perms(used, shared)?;
                }
                Ok(())
            }
            Kind::Format(mapped) => {
                let sharing = Sharing {
                    writable: !self.read_only(),
                    force: self.spec.force_share,
                };
                mapped.pass_perms(sharing, used, shared)
            }
        }
    }

    fn check_conflicts(&self, parents: &[Arc<Edge>]) -> qapi::Result<()> {
        for (i, a) in parents.iter().enumerate() {
            for (j, b) in parents.iter().enumerate() {
                let clash = a.perms().0 - b.perms().1;
                if i != j && !clash.is_empty() {
                    return Err(Error::new(format!(
                        "Conflicts with use by {} as '{}', which does not allow '{}' on {}",
                        self.name(),
                        b.name(),
                        clash.names(),
                        self.name()
                    ))
                    .errno(1));
                }
            }
        }
        Ok(())
    }

    /// Makes the node writable or read-only; permissions of its parents must fit.
    ///
    /// # Errors
    /// When a parent needs to write, or the format refuses.
    pub async fn set_read_only(&self, read_only: bool) -> qapi::Result<()> {
        if let Some(format) = self.format() {
            format.set_read_only(read_only).await?;
        }
        self.read_only.store(read_only, Ordering::Release);
        self.refresh_perms()
    }

    /// `detect-zeroes`, by its name.
    pub fn detect_zeroes(&self) -> &'static str {
        match self.detect_zeroes.load(Ordering::Relaxed) {
            mode if mode == DetectZeroes::On as u8 => "on",
            mode if mode == DetectZeroes::Unmap as u8 => "unmap",
            _ => "off",
        }
    }

    /// Changes `detect-zeroes`.
    pub fn set_detect_zeroes(&self, mode: DetectZeroes) {
        self.detect_zeroes.store(mode as u8, Ordering::Relaxed);
    }
}

impl Kind {
    /// A format with its children by slot and its backing file.
    pub fn format(
        format: Box<dyn Format>,
        edges: Vec<Arc<Edge>>,
        backing: Option<Arc<Edge>>,
    ) -> Self {
        Self::Format(Mapped::new(format, edges, ArcSwapOption::from(backing)))
    }
}
