//! `-pidfile`: the number of this process, in a file that is locked while the program lives and goes with it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use qapi::{Error, Result};
use rustix::fs::{FlockOperation, fcntl_lock};

/// The file's place, and what keeps its lock. Whoever ends the program takes it away, so it belongs to no one place.
static WRITTEN: Mutex<Option<(PathBuf, File)>> = Mutex::new(None);

/// Writes it.
///
/// # Errors
/// In QEMU's words; a file whose lock another process holds.
pub(crate) fn write(path: &Path) -> Result<()> {
    let failed = |what: &str, error: &io::Error| {
        Error::from_io(format!("cannot create PID file: {what}"), error)
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| failed(&format!("Could not create '{}'", path.display()), &error))?;
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| failed("Cannot lock pid file", &error.into()))?;
    // In the background the program has another folder.
    let place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, file) = written.insert((place, file));
    file.set_len(0)
        .map_err(|error| failed("Failed to truncate pid file", &error))?;
    writeln!(file, "{}", std::process::id())
        .map_err(|error| failed("Failed to write pid file", &error))
}

/// Takes it away, if there is one.
pub(crate) fn remove() {
    let written = WRITTEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some((place, file)) = written else { return };
    // What is no file was there before, such as a device.
    if file.metadata().is_ok_and(|found| found.is_file()) {
        // Someone else may have taken it away.
        let _ = std::fs::remove_file(place);
    }
}
