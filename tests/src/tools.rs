//! Where the tools are, and private folders to run them in.
//!
//! Ours is `target/<profile>/qimg`, called through a link named `qemu-img` so that its messages carry
//! the same name as the reference's. `HOUSE_OURS` names another program (to try the tests themselves).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use guest_kit::{Scratch, find};

/// A program to run.
#[derive(Debug, Clone)]
pub struct Tool {
    /// What it is called in failure reports.
    pub label: &'static str,
    /// The program.
    pub path: PathBuf,
}

/// Our `qimg`, by its link `qemu-img`.
///
/// # Panics
/// When it has not been built.
pub fn ours() -> Tool {
    static LINK: OnceLock<PathBuf> = OnceLock::new();
    let path = LINK.get_or_init(|| {
        if let Some(path) = std::env::var_os("HOUSE_OURS") {
            return PathBuf::from(path);
        }
        let binary = built("qimg");
        link_as(&binary, "qemu-img")
    });
    Tool {
        label: "ours",
        path: path.clone(),
    }
}

/// Our `qio`, by its link `qemu-io`.
///
/// # Panics
/// When it has not been built.
pub fn our_io() -> Tool {
    static LINK: OnceLock<PathBuf> = OnceLock::new();
    let path = LINK.get_or_init(|| link_as(&built("qio"), "qemu-io"));
    Tool {
        label: "qio",
        path: path.clone(),
    }
}

/// Our `qnbd`, by its link `qemu-nbd`.
///
/// # Panics
/// When it has not been built.
pub fn our_nbd() -> Tool {
    static LINK: OnceLock<PathBuf> = OnceLock::new();
    let path = LINK.get_or_init(|| link_as(&built("qnbd"), "qemu-nbd"));
    Tool {
        label: "qnbd",
        path: path.clone(),
    }
}

/// Whether our tool does anything at all yet.
///
/// # Errors
/// When it does not answer `--version`.
pub fn ours_runs() -> Result<(), String> {
    let output = ours().run(Path::new("/"), &["--version"]);
    if output.code == Some(0) && output.stdout.contains("version") {
        return Ok(());
    }
    Err("qimg does not answer --version".to_owned())
}

/// A program of this workspace, in the folder above the running test's.
///
/// # Panics
/// When it has not been built.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/<profile>/deps");
    let binary = profile.join(name);
    assert!(
        binary.exists(),
        "{} is missing: `cargo build --workspace --bins` first, or use `cargo xtask test`",
        binary.display()
    );
    binary
}

/// A link called `name` to `binary`, in a folder of its own beside it. Tests race to make it: each makes
/// its own and renames it into place.
fn link_as(binary: &Path, name: &str) -> PathBuf {
    let folder = binary.with_file_name("links");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let mine = folder.join(format!(".{name}.{}", std::process::id()));
    match symlink(binary, &mine) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => panic!("cannot link {}: {e}", mine.display()),
    }
    let link = folder.join(name);
    fs::rename(&mine, &link).expect("a link can be renamed in its folder");
    link
}

/// The real `qemu-img`.
///
/// # Errors
/// Why it cannot be used, for [`crate::require!`].
pub fn reference() -> Result<Tool, String> {
    find("qemu-img", "qemu-utils").map(|path| Tool {
        label: "reference",
        path,
    })
}

/// The real `qemu-io`.
///
/// # Errors
/// Why it cannot be used, for [`crate::require!`].
pub fn qemu_io() -> Result<Tool, String> {
    program("qemu-io", "qemu-utils")
}

/// The real `cryptsetup`.
///
/// # Errors
/// Why it cannot be used, for [`crate::require!`].
pub fn cryptsetup() -> Result<Tool, String> {
    program("cryptsetup", "cryptsetup-bin")
}

/// The real `qemu-nbd`.
///
/// # Errors
/// Why it cannot be used, for [`crate::require!`].
pub fn qemu_nbd() -> Result<Tool, String> {
    program("qemu-nbd", "qemu-utils")
}

/// Another maker's program, by its name.
///
/// # Errors
/// Why it cannot be used, for [`crate::require!`].
pub fn program(name: &'static str, package: &str) -> Result<Tool, String> {
    find(name, package).map(|path| Tool { label: name, path })
}
