//! Opens trees of nodes from names and options.
//!
//! ```text
//! name "F"           -> protocol node F, format probed or given, backing files as the images name them
//! options            -> driver, file.*, backing.*, read-only, cache.direct, detect-zeroes, discard, ...
//! "json:{...}"       -> the same options as JSON
//! ```

use std::sync::{Arc, Mutex};

use block_core::{
    Aio, BackingLink, CacheMode, Edge, FormatDriver, Graph, Kind, Node, NodeSpec, OpenRequest,
    Opened, Perms, ProtocolOpen, Role, Root,
};
use object::Objects;
use qapi::{Dict, Error, Value, opts};

use crate::gate::ImageGate;
use crate::name::{self, ImageName, Named};
use crate::objects::OBJECT_TYPES;
use crate::policy::{self, Allowed};
use crate::registry::{
    PROBE_LEN, find_filter, find_format, find_protocol, is_format, looks_like_format, probe,
    unknown,
};

mod common;
mod filter;
mod naming;
mod nodes;

use common::Common;
pub(crate) use filter::takes_name;
use naming::Naming;

/// Layers a chain may have.
const MAX_DEPTH: usize = 200;

/// How a disk is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    /// For writing.
    pub writable: bool,
    /// `cache=`
    pub cache: CacheMode,
    /// `aio=` where no option says it.
    pub aio: Option<Aio>,
    /// `-U`
    pub force_share: bool,
    /// `discard=unmap`: space that becomes free goes back to the file system.
    pub unmap: bool,
    /// Without backing files.
    pub no_backing: bool,
    /// Others may write to the backing files meanwhile: the caller itself will.
    pub share_backing: bool,
    /// Nobody may write to it meanwhile: what is read at one time belongs together.
    pub no_share: bool,
    /// Only to look: the image may be damaged.
    pub check_only: bool,
    /// Do not open what the image names beside its backing file.
    pub no_io: bool,
    /// It was open before: that its format is a guess is not said again.
    pub seen: bool,
}

/// What the user says a disk is.
#[derive(Debug, Clone)]
pub enum Layer<'a> {
    /// A file name, and its format if it is not to be guessed.
    Name(&'a str, Option<&'a str>),
    /// An option string (`--image-opts`).
    Options(&'a str),
    /// An option string, and a file name beside it (`open -o` of the io tool).
    Both(&'a str, &'a str),
}

/// One tool's open disks.
pub struct Session {
    graph: Graph,
    pub(crate) allowed: Allowed,
    pub(crate) objects: Arc<Objects>,
}

impl Session {
    /// A session in which names inside images may reach what is beneath the folders `allowed`, or by the protocols.
    pub fn new(allowed: &[String]) -> Self {
        Self::with_objects(allowed, Arc::new(Objects::of(OBJECT_TYPES)))
    }

    /// The same with objects that exist already.
    pub fn with_objects(allowed: &[String], objects: Arc<Objects>) -> Self {
        Self {
            graph: Graph::new(),
            allowed: Allowed::read(allowed),
            objects,
        }
    }

    /// Opens a disk and holds it, for reading or for everything.
    ///
    /// # Errors
    /// In QEMU's words, without the tool's own prefix.
    pub async fn open(&self, layer: Layer<'_>, flags: Flags) -> qapi::Result<Arc<Root>> {
        let node = match layer {
            Layer::Name(name, Some(format)) if filter::takes_name(format) => {
                let mut tree = Dict::new();
                tree.insert("driver", format);
                let tree = filter::with_filename(tree, name)?;
                self.open_tree(tree, flags, 0).await?
            }
            Layer::Name(name, format) => match name::parse(name)? {
                Named::Tree(mut options) => {
                    if let Some(format) = format {
                        options.insert("driver", format);
                    }
                    self.open_tree(options, flags, 0).await?
                }
                Named::Protocol(options) => {
                    let mut tree = Dict::new();
                    if let Some(format) = format {
                        tree.insert("driver", format);
                    }
                    self.open_over(options, tree, flags, 0).await?
                }
            },
            Layer::Options(text) => {
                let tree = tree(text)?;
                if tree.get("driver").or(tree.get("file")).is_none() {
                    return Err(Error::new("Must specify either driver or file"));
                }
                self.open_tree(tree, flags, 0).await?
            }
            Layer::Both(text, name) => {
                let tree = filter::with_filename(tree(text)?, name)?;
                self.open_tree(tree, flags, 0).await?
            }
        };
        self.hold(node, flags)
    }

    /// Holds a node of an open tree, as [`Session::open`] does.
    ///
    /// # Errors
    /// When others do not share what is needed.
    pub fn hold(&self, node: Arc<Node>, flags: Flags) -> qapi::Result<Arc<Root>> {
        let used = if flags.writable {
            Perms::CONSISTENT_READ | Perms::WRITE | Perms::RESIZE
        } else {
            Perms::CONSISTENT_READ
        };
        let shared = if flags.no_share {
            Perms::CONSISTENT_READ | Perms::WRITE_UNCHANGED
        } else {
            Perms::ALL
        };
        let root = Root::attach(node, used, shared)?;
        root.set_writethrough(flags.cache.writethrough());
        Ok(Arc::new(root))
    }

    /// The protocol node behind a name.
    pub(crate) async fn open_protocol_name(
        &self,
        name: &str,
        flags: Flags,
    ) -> qapi::Result<Arc<Node>> {
        match name::parse(name)? {
            Named::Tree(options) => Box::pin(self.open_tree(options, flags, 0)).await,
            Named::Protocol(options) => self.open_protocol(options, flags).await,
        }
    }

    /// A tree from options.
    pub(crate) async fn open_tree(
        &self,
        mut options: Dict,
        flags: Flags,
        depth: usize,
    ) -> qapi::Result<Arc<Node>> {
        let driver = options.get_str("driver").map(str::to_owned);
        if driver
            .as_deref()
            .is_some_and(|d| find_protocol(d).is_some())
        {
            return self.open_protocol(options, flags).await;
        }
        if let Some(filter) = driver.as_deref().and_then(find_filter) {
            return Box::pin(self.open_filter(filter, options, flags, depth)).await;
        }
        if let Some(driver) = driver.as_deref().filter(|d| !is_format(d)) {
            return Err(unknown("driver", driver));
        }
        let file = match options.remove("file") {
            Some(Value::Dict(file)) => file,
            Some(Value::Str(node)) => {
                let node = self.find_node(&node)?;
                let driver = opts::take_str(&mut options, "driver")?;
                return self
                    .open_image(driver.as_deref(), node, options, flags, depth)
                    .await;
            }
            _ => match options.remove("filename") {
                Some(Value::Str(name)) => match name::parse(&name)? {
                    Named::Protocol(file) => file,
                    Named::Tree(tree) => return Box::pin(self.open_tree(tree, flags, depth)).await,
                },
                _ if driver.is_none() => {
                    return Err(Error::new("Must specify either driver or file"));
                }
                _ => {
                    return Err(Error::new("A block device must be specified for \"file\""));
                }
            },
        };
        self.open_over(file, options, flags, depth).await
    }

    /// A format, raw or guessed, over the node that `file` describes.
    async fn open_over(
        &self,
        mut file: Dict,
        mut options: Dict,
        flags: Flags,
        depth: usize,
    ) -> qapi::Result<Arc<Node>> {
        if file.get("driver").is_none()
            && let Some(filename) = file.get_str("filename").map(str::to_owned)
        {
            file = filter::named(file, &filename)?;
        }
        if let (Some(Value::Dict(cache)), None) = (options.get("cache"), file.get("cache")) {
            // It is the child's too, unless that has its own.
            let mut below = cache.clone();
            for (key, _) in cache.iter() {
                if !["direct", "no-flush"].contains(&key) {
                    below.remove(key);
                }
            }
            file.insert("cache", below);
        }
        let driver = opts::take_str(&mut options, "driver")?;
        if let Some(driver) = driver.as_deref() {
            if find_protocol(driver).is_some() {
                return self.open_protocol(file, flags).await;
            }
            if let Some(filter) = find_filter(driver) {
                options.insert("file", file);
                return Box::pin(self.open_filter(filter, options, flags, depth)).await;
            }
            if driver != "raw" && find_format(driver).is_none() {
                return Err(unknown("driver", driver));
            }
        }
        let child = if file
            .get_str("driver")
            .is_some_and(|d| find_protocol(d).is_none())
        {
            Box::pin(self.open_tree(file, flags, depth + 1)).await?
        } else {
            self.open_protocol(file, flags).await?
        };
        self.open_image(driver.as_deref(), child, options, flags, depth)
            .await
    }

    /// A format, raw or guessed, over a node.
    async fn open_image(
        &self,
        driver: Option<&str>,
        child: Arc<Node>,
        options: Dict,
        flags: Flags,
        depth: usize,
    ) -> qapi::Result<Arc<Node>> {
        match driver {
            Some("raw") => self.open_raw(child, options, flags, false).await,
            Some(name) => {
                let Some(format) = find_format(name) else {
                    return Err(unknown("driver", name));
                };
                self.open_format(format, child, options, flags, depth).await
            }
            None => match self.guess(&child).await? {
                Some(format) => self.open_format(format, child, options, flags, depth).await,
                None => self.open_raw(child, options, flags, true).await,
            },
        }
    }

    /// The format of what a node holds, by its first bytes.
    async fn guess(&self, node: &Arc<Node>) -> qapi::Result<Option<&'static FormatDriver>> {
        let failed = |e: std::io::Error| {
            Error::from_io("Could not read image for determining its format", &e)
        };
        let length = node.length().map_err(failed)?;
        let mut head = vec![0; usize::try_from(length).unwrap_or(PROBE_LEN).min(PROBE_LEN)];
        let hold = Root::attach(Arc::clone(node), Perms::NONE, Perms::ALL)?;
        hold.read(0, &mut head).await.map_err(failed)?;
        Ok(probe(&head, node.filename()))
    }

    async fn open_protocol(&self, mut options: Dict, flags: Flags) -> qapi::Result<Arc<Node>> {
        let below = Flags {
            unmap: true,
            ..flags
        };
        let mut common = Common::take(&self.graph, &mut options, below)?;
        let all = options.clone();
        let name = opts::take_str(&mut options, "driver")?.unwrap_or_else(|| "file".to_owned());
        let driver = find_protocol(&name).ok_or_else(|| unknown("driver", &name))?;
        let named = Naming::of_leaf(driver, &all);
        let request = ProtocolOpen {
            options: &mut options,
            read_write: flags.writable && !common.read_only,
            cache: common.cache,
            aio: flags.aio,
            force_share: common.force_share,
            auto_read_only: common.auto_read_only,
            unmap: common.unmap,
            object: &|id| self.objects.find(id),
        };
        let protocol = (driver.open)(request).await?;
        common.writable &= !protocol.read_only();
        no_leftovers(&options, &name, true)?;
        let spec = common.spec(&self.graph, driver.name, named.filename, named.options);
        self.enter(spec, Kind::Protocol(protocol))
    }

    pub(crate) async fn open_raw(
        &self,
        child: Arc<Node>,
        mut options: Dict,
        flags: Flags,
        guessed: bool,
    ) -> qapi::Result<Arc<Node>> {
        let common = Common::take(&self.graph, &mut options, flags)?;
        let filename = child.filename().to_owned();
        let strong = naming::strong(&options, naming::of_format("raw"));
        let file = Edge::attach("file", Role::Filtered, child, Perms::NONE, Perms::ALL)?;
        let filter = if guessed && options.is_empty() {
            if flags.writable && !flags.seen {
                warn_guessed(&filename);
            }
            block_formats::raw::guessed(file, looks_like_format)
        } else {
            block_formats::raw::open(file, &mut options)?
        };
        no_leftovers(&options, "raw", false)?;
        let named = Naming::of_image("raw", strong, &filter.children(), None);
        let spec = common.spec(&self.graph, "raw", named.filename, named.options);
        self.enter(spec, Kind::Filter(filter))
    }

    async fn open_format(
        &self,
        driver: &'static FormatDriver,
        child: Arc<Node>,
        mut options: Dict,
        flags: Flags,
        depth: usize,
    ) -> qapi::Result<Arc<Node>> {
        let mut common = Common::take(&self.graph, &mut options, flags)?;
        common.check_writable(driver)?;
        let backing = match options.remove("backing") {
            Some(Value::Str(text)) if text.is_empty() => {
                qapi::warn("Use of \"backing\": \"\" is deprecated; use \"backing\": null instead");
                Some(Value::Null)
            }
            other => other,
        };
        let image = ImageName::of(&child);
        let strong = naming::strong(&options, naming::of_format(driver.name));
        let read_write = common.writable;
        let (used, shared) = file_perms(read_write, common.force_share);
        let file = Edge::attach("file", Role::File, child, used, shared)?;
        let gate = self.gate(image.clone(), flags, depth);
        let opened = (driver.open)(OpenRequest {
            file,
            options: &mut options,
            read_write,
            check_only: flags.check_only,
            unmap: common.unmap,
            no_io: flags.no_io,
            gate: &gate,
        })
        .await?;
        no_leftovers(&options, driver.name, false)?;
        let Opened {
            format,
            edges,
            backing: link,
        } = opened;
        if link.is_none() && matches!(backing, Some(Value::Str(_))) {
            return Err(unknown_option(driver.name, "backing"));
        }
        let given = backing.is_some();
        let below = self
            .open_backing(&image, backing, link, flags, depth)
            .await
            .map_err(|e| e.prefix("Could not open backing file: "))?;
        let other = below.as_ref().filter(|_| given);
        let named = Naming::of_image(driver.name, strong, &edges, other);
        if let Some(below) = &below {
            format.backing_opened(&below.node()).await;
        }
        let spec = common.spec(&self.graph, driver.name, named.filename, named.options);
        self.enter(spec, Kind::format(format, edges, below))
    }

    /// The backing file: what the options say, else what the image names.
    async fn open_backing(
        &self,
        image: &ImageName,
        options: Option<Value>,
        link: Option<BackingLink>,
        flags: Flags,
        depth: usize,
    ) -> qapi::Result<Option<Arc<Edge>>> {
        let below = Flags {
            writable: false,
            check_only: false,
            force_share: flags.force_share || flags.share_backing,
            ..flags
        };
        if flags.no_backing {
            return Ok(None);
        }
        if depth >= MAX_DEPTH {
            return Err(Error::new("The backing chain is too long"));
        }
        let node = match (options, link) {
            (Some(Value::Dict(mut options)), Some(link)) if names_no_file(&options) => {
                // Only options for the file that the image names.
                let path = image.resolve(&link.file)?;
                policy::check(image, &path, Role::Backing, None, &self.allowed)?;
                options.insert("filename", path);
                if let (None, Some(format)) = (options.get("driver"), link.format) {
                    options.insert("driver", format);
                }
                Box::pin(self.open_tree(options, below, depth + 1)).await?
            }
            (Some(Value::Dict(options)), _) => {
                Box::pin(self.open_tree(options, below, depth + 1)).await?
            }
            (Some(Value::Str(node)), _) => self.find_node(&node)?,
            (Some(_), _) | (None, None) => return Ok(None),
            (None, Some(link)) => {
                let path = image.resolve(&link.file)?;
                let format = link.format.as_deref().filter(|f| !f.is_empty());
                policy::check(image, &path, Role::Backing, format, &self.allowed)?;
                let mut tree = Dict::new();
                if let Some(format) = format {
                    tree.insert("driver", format);
                }
                match name::parse(&path)? {
                    Named::Protocol(file) => {
                        Box::pin(self.open_over(file, tree, below, depth + 1)).await?
                    }
                    Named::Tree(mut options) => {
                        for (key, value) in tree.into_entries() {
                            options.insert(key, value);
                        }
                        Box::pin(self.open_tree(options, below, depth + 1)).await?
                    }
                }
            }
        };
        let edge = Edge::attach("backing", Role::Backing, node, Perms::NONE, Perms::ALL)?;
        Ok(Some(edge))
    }

    pub(crate) fn gate(&self, image: ImageName, flags: Flags, depth: usize) -> ImageGate<'_> {
        ImageGate {
            session: self,
            image,
            flags,
            depth,
            made: Mutex::default(),
        }
    }

    /// Puts a driver into the graph.
    fn enter(&self, spec: NodeSpec, kind: Kind) -> qapi::Result<Arc<Node>> {
        let node = Node::new(spec, kind);
        self.graph.add(&node)?;
        Ok(node)
    }
}

/// The tree that an option string describes.
fn tree(text: &str) -> qapi::Result<Dict> {
    let mut flat = Dict::new();
    for (name, value) in opts::split_noisily(text, Some("file")) {
        flat.insert(name, value);
    }
    name_template(&mut flat)?;
    opts::nest(flat)
}

/// `overlap-check` beside options below it stands for the one called `template`.
fn name_template(flat: &mut Dict) -> qapi::Result<()> {
    let below = |(key, _): (&str, &Value)| key.starts_with("overlap-check.");
    if flat.get("overlap-check").is_none() || !flat.iter().any(below) {
        return Ok(());
    }
    let mode = opts::take_str(flat, "overlap-check")?.unwrap_or_default();
    match flat.get_str("overlap-check.template") {
        Some(other) if other != mode => Err(Error::new(format!(
            "Conflicting values for qcow2 options 'overlap-check' ('{mode}') and 'overlap-check.template' ('{other}')"
        ))),
        _ => {
            flat.insert("overlap-check.template", mode);
            Ok(())
        }
    }
}

/// Whether options of a backing file leave it to the image which one it is.
fn names_no_file(options: &Dict) -> bool {
    let protocol = options.get_str("driver").and_then(find_protocol);
    options.get("file").is_none() && options.get("filename").is_none() && protocol.is_none()
}

/// What a format's open needs of its file.
fn file_perms(read_write: bool, force_share: bool) -> (Perms, Perms) {
    let storage = Perms::WRITE | Perms::RESIZE;
    let shared = if force_share {
        Perms::ALL
    } else {
        Perms::ALL - storage
    };
    if read_write {
        (Perms::CONSISTENT_READ | storage, shared)
    } else {
        (Perms::CONSISTENT_READ, shared)
    }
}

fn warn_guessed(filename: &str) {
    eprintln!(
        "WARNING: Image format was not specified for '{filename}' and probing guessed raw.\n         \
         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n         \
         Specify the 'raw' format explicitly to remove the restrictions."
    );
}

/// Every option must be known to somebody.
fn no_leftovers(options: &Dict, driver: &str, protocol: bool) -> qapi::Result<()> {
    match options.iter().next() {
        None => Ok(()),
        Some((key, _)) if protocol => Err(Error::new(format!(
            "Block protocol '{driver}' doesn't support the option '{key}'"
        ))),
        Some((key, _)) => Err(unknown_option(driver, key)),
    }
}

fn unknown_option(driver: &str, key: &str) -> Error {
    Error::new(format!(
        "Block format '{driver}' does not support the option '{key}'"
    ))
}

#[cfg(test)]
mod tests;
