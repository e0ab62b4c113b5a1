//! `-s`: a temporary overlay that takes all writes and is gone with the process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use block_core::{Edge, Perms, Role, Root};
use qapi::{Dict, Error, Value};

use crate::create::{CreateSpec, create};
use crate::open::{Flags, Layer, Session};

/// Opens a disk under an overlay whose file has no name any more: the disk itself is only read.
///
/// # Errors
/// When the disk cannot be opened for reading, or the overlay cannot be made.
pub async fn open_overlay(
    session: &Session,
    layer: Layer<'_>,
    flags: Flags,
) -> qapi::Result<Arc<Root>> {
    let below = Flags {
        writable: false,
        ..flags
    };
    let base = session.open(layer, below).await?;
    let length = base
        .length()
        .map_err(|e| Error::from_io("Could not get image size", &e))?;
    let name = place().to_string_lossy().into_owned();
    let mut options = Dict::new();
    options.insert("size", length);
    let spec = CreateSpec {
        format: "qcow2",
        filename: &name,
        options: &options,
    };
    create(session, spec).await?;
    let mut file = Dict::new();
    file.insert("driver", "file");
    file.insert("filename", name.as_str());
    let mut tree = Dict::new();
    tree.insert("driver", "qcow2");
    tree.insert("file", file);
    tree.insert("backing", Value::Null);
    // Nobody else knows of it.
    let flags = Flags {
        force_share: false,
        ..flags
    };
    let opened = session.open_tree(tree, flags, 0).await;
    // It lives on while it is open.
    if let Err(error) = std::fs::remove_file(&name) {
        qapi::warn(&format!("Could not remove '{name}': {error}"));
    }
    let node = opened?;
    let edge = Edge::attach(
        "backing",
        Role::Backing,
        base.node(),
        Perms::NONE,
        Perms::ALL,
    )?;
    node.set_backing(Some(edge))?;
    session.hold(node, flags)
}

/// Overlays made so far.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name that nobody uses, in the folder for files that may be large.
fn place() -> PathBuf {
    let dir = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    // One process may have several.
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    dir.join(format!("vl.{}.{n}.qcow2", std::process::id()))
}
