//! Programs of the host, private folders, and the folder that builds go to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A program on the path or in the system's folders.
///
/// # Errors
/// Names the Debian package that has it.
pub fn find(name: &str, package: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
        .ok_or_else(|| format!("{name} is not installed (Debian package {package})"))
}

/// The folder that holds what this program was built from: cargo keeps its records in each
/// profile's folder below.
///
/// # Errors
/// The program does not lie in one.
pub(crate) fn target() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    program
        .ancestors()
        .find(|folder| folder.join(".fingerprint").exists())
        .and_then(Path::parent)
        .map(Path::to_owned)
        .ok_or_else(|| format!("{} is not in a folder of cargo's", program.display()))
}

/// A folder that goes away with the test, unless `HOUSE_KEEP` is set.
#[derive(Debug)]
pub struct Scratch(Option<TempDir>);

impl Scratch {
    /// A new empty folder.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    #[expect(clippy::new_without_default, reason = "it touches the disk")]
    pub fn new() -> Self {
        Self(Some(
            tempfile::Builder::new()
                .prefix("house-")
                .tempdir()
                .expect("a temporary folder can be made"),
        ))
    }

    /// The folder.
    ///
    /// # Panics
    /// Never: only `drop` empties it.
    pub fn dir(&self) -> &Path {
        self.0.as_ref().expect("set until dropped").path()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("HOUSE_KEEP").is_some()
            && let Some(dir) = self.0.take()
        {
            eprintln!("kept {}", dir.keep().display());
        }
    }
}
