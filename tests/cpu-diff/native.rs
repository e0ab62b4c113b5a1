//! The runner as a child process.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::layout::{BATCH, RECORD};
use crate::runner::program;

/// The running child.
pub(crate) struct Native {
    child: Child,
    control: UnixStream,
    shared: File,
    folder: tempfile::TempDir,
}

impl Native {
    /// Starts it.
    pub(crate) fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("runner");
        let image = program().map_err(io::Error::other)?;
        fs::write(&path, image)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let memory = std::path::Path::new("/dev/shm");
        let shared = if memory.is_dir() {
            tempfile::tempfile_in(memory)?
        } else {
            tempfile::tempfile_in(folder.path())?
        };
        shared.set_len((RECORD * BATCH).next_multiple_of(4096) as u64)?;
        let (control, theirs) = UnixStream::pair()?;
        control.set_read_timeout(Some(Duration::from_secs(20)))?;
        let child = Command::new(&path)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(shared.try_clone()?)
            .spawn()?;
        Ok(Self {
            child,
            control,
            shared,
            folder,
        })
    }

    /// Hands over records; [`Native::finish`] gives them back.
    pub(crate) fn begin(&mut self, records: &[u8]) -> io::Result<()> {
        assert!(records.len() <= RECORD * BATCH && records.len().is_multiple_of(RECORD));
        self.shared.write_all_at(records, 0)?;
        let count = u32::try_from(records.len() / RECORD).map_err(io::Error::other)?;
        self.control.write_all(&count.to_le_bytes())
    }

    /// Waits until they have run.
    pub(crate) fn finish(&mut self, records: &mut [u8]) -> io::Result<()> {
        let mut count = [0; 4];
        self.control.read_exact(&mut count).map_err(|error| {
            let status = self.child.try_wait();
            io::Error::other(format!("the runner does not answer ({error}, {status:?})"))
        })?;
        self.shared.read_exact_at(records, 0)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // It may hang in a case, and its file goes with the folder.
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("{}: {error}", self.folder.path().display());
        }
    }
}
