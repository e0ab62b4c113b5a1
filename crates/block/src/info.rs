//! What an image is: the records that `info` shows.

use std::sync::Arc;

use block_core::{BackingLink, FormatInfo, Kind, Node, Role, SnapshotInfo};
use qapi::{Dict, Error, Value};

use crate::name::ImageName;
use crate::open::{Flags, Layer, Session, takes_name};
use crate::policy;

/// One node of an image.
#[derive(Debug, Clone, Default)]
pub struct ImageInfo {
    /// As the user names it.
    pub filename: String,
    /// The driver.
    pub format: String,
    /// Bytes a guest sees, or the length of a file.
    pub virtual_size: u64,
    /// Bytes of disk it takes, if known.
    pub actual_size: Option<u64>,
    /// Unit of allocation in bytes.
    pub cluster_size: Option<u64>,
    /// Content is encrypted.
    pub encrypted: bool,
    /// Clusters are packed.
    pub compressed: bool,
    /// Whether it was left open, if the driver can tell.
    pub dirty: Option<bool>,
    /// The backing file it names, and where that is, if that can be told.
    pub backing: Option<(BackingLink, Option<String>)>,
    /// Internal snapshots.
    pub snapshots: Vec<SnapshotInfo>,
    /// Driver-specific record.
    pub specific: Option<Dict>,
    /// What it uses, in plain words; not part of the record.
    pub uses: Vec<String>,
    /// Children but for the backing file.
    pub children: Vec<(String, Self)>,
}

impl ImageInfo {
    /// Asks an open node and those below it.
    ///
    /// # Errors
    /// What they say.
    pub async fn of(node: &Arc<Node>) -> qapi::Result<Self> {
        let length = node.length().map_err(|e| {
            Error::from_io(format!("Can't get image size '{}'", node.filename()), &e)
        })?;
        let mut info = Self {
            filename: node.filename().to_owned(),
            format: node.driver().to_owned(),
            virtual_size: length.next_multiple_of(512),
            ..Self::default()
        };
        match node.kind() {
            Kind::Protocol(protocol) => {
                info.actual_size = protocol.allocated();
                if node.driver().starts_with("null") {
                    info.actual_size = Some(0);
                } else if !["nbd", "ssh"].contains(&node.driver()) {
                    info.dirty = Some(false);
                    info.specific = Some(Dict::new());
                }
            }
            Kind::Format(mapped) => {
                info.take(mapped.format().info().await?, &ImageName::of(node));
                if let Some(snapshots) = mapped.format().snapshots() {
                    info.snapshots = snapshots.list();
                }
            }
            Kind::Filter(_) => {}
        }
        let mut children = node.children();
        // QEMU lists the child that came last first.
        children.reverse();
        let filter = matches!(node.kind(), Kind::Filter(_));
        if filter {
            info.cluster_size = node.cluster_size().map(u64::from);
        }
        for edge in children.iter().filter(|e| e.role() != Role::Backing) {
            let child = Box::pin(Self::of(&edge.node())).await?;
            // A filter takes as much as the child that it shows.
            let beside = match node.kind() {
                Kind::Filter(filter) => {
                    filter.is_transparent() && !Arc::ptr_eq(edge, filter.child())
                }
                _ => false,
            };
            if !beside && !matches!(node.kind(), Kind::Protocol(_)) {
                info.actual_size = match (info.actual_size, child.actual_size) {
                    _ if takes_name(node.driver()) => None,
                    (Some(one), Some(other)) => Some(one.saturating_add(other)),
                    (_, size) => size,
                };
                if filter {
                    info.dirty = child.dirty;
                }
            }
            info.children.push((edge.name().to_owned(), child));
        }
        Ok(info)
    }

    fn take(&mut self, format: FormatInfo, image: &ImageName) {
        self.cluster_size = format.cluster_size;
        self.encrypted = format.encrypted;
        self.compressed = format.compressed;
        self.dirty = format.dirty;
        self.specific = format.specific;
        self.uses = format.uses;
        self.backing = format.backing.map(|link| {
            let full = image.resolve(&link.file).ok();
            (link, full)
        });
    }

    /// The JSON record.
    pub fn to_dict(&self) -> Dict {
        let mut out = Dict::new();
        out.insert("virtual-size", self.virtual_size);
        out.insert("filename", self.filename.as_str());
        out.insert("format", self.format.as_str());
        if let Some(size) = self.actual_size {
            out.insert("actual-size", size);
        }
        if let Some(size) = self.cluster_size {
            out.insert("cluster-size", size);
        }
        if self.encrypted {
            out.insert("encrypted", true);
        }
        if self.compressed {
            out.insert("compressed", true);
        }
        if let Some(dirty) = self.dirty {
            out.insert("dirty-flag", dirty);
        }
        if let Some((link, full)) = &self.backing {
            out.insert("backing-filename", link.file.as_str());
            if let Some(full) = full {
                out.insert("full-backing-filename", full.as_str());
            }
            if let Some(format) = &link.format {
                out.insert("backing-filename-format", format.as_str());
            }
        }
        if !self.snapshots.is_empty() {
            let all = self
                .snapshots
                .iter()
                .map(|s| Value::Dict(snapshot_record(s)));
            out.insert("snapshots", Value::List(all.collect()));
        }
        if let Some(data) = &self.specific {
            let mut specific = Dict::new();
            specific.insert("type", self.format.as_str());
            specific.insert("data", data.clone());
            out.insert("format-specific", specific);
        }
        let children = self.children.iter().map(|(name, info)| {
            let mut child = Dict::new();
            child.insert("name", name.as_str());
            child.insert("info", info.to_dict());
            Value::Dict(child)
        });
        out.insert("children", Value::List(children.collect()));
        out
    }
}

/// The JSON record of a snapshot.
pub fn snapshot_record(info: &SnapshotInfo) -> Dict {
    let mut out = Dict::new();
    out.insert("id", info.id.as_str());
    out.insert("name", info.name.as_str());
    out.insert("vm-state-size", info.vm_state_size);
    out.insert("date-sec", u64::from(info.date_sec));
    out.insert("date-nsec", u64::from(info.date_nsec));
    out.insert("vm-clock-sec", info.vm_clock_nsec / 1_000_000_000);
    out.insert("vm-clock-nsec", info.vm_clock_nsec % 1_000_000_000);
    if let Some(icount) = info.icount {
        out.insert("icount", icount);
    }
    out
}

/// Information of an image, and with `chain` of all its backing files.
///
/// # Errors
/// When one cannot be opened, or the chain comes back to itself.
pub async fn info(
    session: &Session,
    layer: Layer<'_>,
    flags: Flags,
    chain: bool,
) -> qapi::Result<Vec<ImageInfo>> {
    let flags = Flags {
        no_backing: true,
        no_io: true,
        ..flags
    };
    let mut seen = Vec::new();
    let mut found = Vec::new();
    let mut next = match layer {
        Layer::Name(name, format) => (name.to_owned(), format.map(str::to_owned)),
        Layer::Options(text) | Layer::Both(text, _) => {
            let root = session
                .open(layer.clone(), flags)
                .await
                .map_err(|e| could_not_open(e, text))?;
            let info = ImageInfo::of(&root.node()).await?;
            seen.push(text.to_owned());
            let next = follow(session, &info)?;
            found.push(info);
            match next.filter(|_| chain) {
                Some(next) => next,
                None => return Ok(found),
            }
        }
    };
    loop {
        let (name, format) = next;
        if seen.contains(&name) {
            return Err(Error::new(format!(
                "Backing file '{name}' creates an infinite loop."
            )));
        }
        seen.push(name.clone());
        let layer = Layer::Name(&name, format.as_deref());
        let root = session
            .open(layer, flags)
            .await
            .map_err(|e| could_not_open(e, &name))?;
        let info = ImageInfo::of(&root.node()).await?;
        let below = if chain { follow(session, &info)? } else { None };
        found.push(info);
        match below {
            Some(below) => next = below,
            None => return Ok(found),
        }
    }
}

fn could_not_open(error: Error, name: &str) -> Error {
    error.prefix(format!("Could not open '{name}': "))
}

/// The backing file to look at next, if the image's names may reach it.
fn follow(session: &Session, info: &ImageInfo) -> qapi::Result<Option<(String, Option<String>)>> {
    let Some((link, Some(full))) = &info.backing else {
        return Ok(None);
    };
    let format = link.format.as_deref().filter(|f| !f.is_empty());
    policy::check(
        &ImageName::plain(&info.filename),
        full,
        Role::Backing,
        format,
        &session.allowed,
    )?;
    Ok(Some((full.clone(), format.map(str::to_owned))))
}
