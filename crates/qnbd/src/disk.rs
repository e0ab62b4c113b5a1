//! The disk to be served: opened as the options say, from the bottom up.

use std::sync::Arc;

use block::core::SnapshotInfo;
use block::{Flags, Layer, Root, Session, open_overlay};
use qapi::{Error, Result};

use crate::settings::{Load, Settings};

/// An open disk.
pub(crate) struct Disk {
    pub(crate) root: Arc<Root>,
    /// The names of its nodes are kept here.
    _session: Session,
}

/// Opens it.
///
/// # Errors
/// In QEMU's words.
pub(crate) async fn open(settings: &Settings) -> Result<Disk> {
    let file = settings.file.as_str();
    if settings.image_opts && settings.format.is_some() {
        return Err(Error::new("--image-opts and -f are mutually exclusive"));
    }
    let flags = flags(settings);
    let layer = if settings.image_opts {
        Layer::Options(file)
    } else {
        Layer::Name(file, settings.format.as_deref())
    };
    let session = Session::with_objects(&settings.allow, Arc::clone(&settings.objects));
    let opened = async {
        if settings.snapshot {
            open_overlay(&session, layer, flags).await
        } else {
            session.open(layer, flags).await
        }
    };
    let mut root = opened
        .await
        .map_err(|e| e.prefix(format!("Failed to blk_new_open '{file}': ")))?;
    if settings.offset != 0 {
        root = window(&session, root, settings.offset, flags).await?;
    }
    if let Some(load) = &settings.load {
        load_snapshot(&root, load)
            .await
            .map_err(|e| e.prefix("Failed to load snapshot: "))?;
    }
    root.node().set_detect_zeroes(settings.detect_zeroes);
    root.set_keep_space(settings.discard != Some(true));
    Ok(Disk {
        root,
        _session: session,
    })
}

fn flags(settings: &Settings) -> Flags {
    Flags {
        writable: !settings.read_only,
        cache: settings.cache.unwrap_or_default(),
        aio: settings.aio,
        unmap: settings.discard == Some(true),
        ..Flags::default()
    }
}

async fn window(
    session: &Session,
    root: Arc<Root>,
    offset: u64,
    flags: Flags,
) -> Result<Arc<Root>> {
    if i64::try_from(offset).is_err() {
        return Err(Error::new(format!(
            "Value '{}' is out of range for parameter 'offset'",
            offset.cast_signed()
        )));
    }
    let node = session.window(root.node(), offset, flags).await?;
    // Two holds on one chain would not share what they write.
    drop(root);
    session.hold(node, flags)
}

async fn load_snapshot(root: &Root, load: &Load) -> Result<()> {
    let node = root.node();
    let Some(snapshots) = node.format().and_then(|f| f.snapshots()) else {
        return Err(Error::new(format!(
            "Block format '{}' used by device '' does not support temporarily loading internal snapshots",
            node.driver()
        )));
    };
    let all = snapshots.list();
    let (id, name) = match load {
        Load::Exactly { id, name } => (id.as_deref(), name.as_deref()),
        Load::IdOrName(key) if all.iter().any(|s| s.id == *key) => (Some(key.as_str()), None),
        Load::IdOrName(key) => (None, Some(key.as_str())),
    };
    let meant =
        |s: &SnapshotInfo| id.is_none_or(|id| s.id == id) && name.is_none_or(|name| s.name == name);
    if !all.iter().any(meant) {
        return Err(Error::new("Can't find snapshot"));
    }
    snapshots.load(id, name).await
}
