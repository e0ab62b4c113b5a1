//! `-s`: a temporary overlay that takes all writes and is gone with the process.

use std::path::PathBuf;
use std::sync::Arc;

use block::{CreateSpec, Flags, Layer, Root, Session};
use qapi::{Dict, Error};

use crate::shell::Mode;

/// Opens a disk under an overlay whose file has no name any more.
///
/// # Errors
/// When the disk cannot be opened for reading, or the overlay cannot be made.
pub(crate) async fn open(
    session: &Session,
    layer: Layer<'_>,
    mode: Mode,
) -> qapi::Result<Arc<Root>> {
    let Layer::Name(name, format) = layer else {
        // GAP: an overlay over an option string.
        return Err(Error::new("--snapshot needs a file name, not options"));
    };
    let look = Flags {
        force_share: mode.force_share,
        ..Flags::default()
    };
    let (driver, length) = {
        let root = session.open(Layer::Name(name, format), look).await?;
        let length = root
            .length()
            .map_err(|e| Error::from_io("Could not get image size", &e))?;
        (root.node().driver().to_owned(), length)
    };
    let overlay = place().to_string_lossy().into_owned();
    let mut options = Dict::new();
    options.insert("size", length);
    let spec = CreateSpec {
        format: "qcow2",
        filename: &overlay,
        options: &options,
    };
    block::create(session, spec).await?;
    let quoted = |text: &str| text.replace(',', ",,");
    let tree = format!(
        "driver=qcow2,file.driver=file,file.filename={},backing.driver={driver},backing.file.filename={}",
        quoted(&overlay),
        quoted(name)
    );
    let opened = session.open(Layer::Options(&tree), mode.flags()).await;
    // It lives on while it is open.
    if let Err(error) = std::fs::remove_file(&overlay) {
        qapi::warn(&format!("Could not remove '{overlay}': {error}"));
    }
    opened
}

/// A name that nobody uses, in the folder for files that may be large.
fn place() -> PathBuf {
    let dir = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    dir.join(format!("vl.{}.qcow2", std::process::id()))
}
