//! The first file system of a guest: busybox, other programs of this machine with the libraries that they name, and a
//! script.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::archive::Archive;
use crate::tools::Scratch;

/// What runs before the script.
const INIT: &str = "#!/bin/sh
export PATH=/bin:/usr/bin:/sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mkdir -p /var/lock /var/tmp /run /mnt
dmesg -n 1
# A step: its name, then a command line for the shell.
step() { echo; echo \"[[[ $1\"; ( eval \"$2\" ) 2>&1; code=$?; echo; echo \"]]] $code\"; }
for module in $(cat /modules); do insmod /lib/$module.ko $(cat /module-options-$module 2>/dev/null); done
cd /tmp
. /script
cd /
sync
poweroff -f
";

/// A file system under way.
#[derive(Debug)]
pub struct Root {
    archive: Archive,
    folders: BTreeSet<String>,
    there: BTreeSet<PathBuf>,
}

impl Root {
    pub(super) fn new(busybox: &Path) -> Result<Self, String> {
        let mut root = Self {
            archive: Archive::default(),
            folders: BTreeSet::new(),
            there: BTreeSet::new(),
        };
        for folder in ["proc", "sys", "dev", "tmp"] {
            root.folder(folder);
        }
        root.program(busybox, "bin/busybox")?;
        root.folder("bin");
        root.archive.link("bin/sh", "busybox");
        Ok(root)
    }

    fn folder(&mut self, name: &str) {
        let mut path = String::new();
        for part in name.split('/') {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(part);
            if self.folders.insert(path.clone()) {
                self.archive.folder(&path);
            }
        }
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) {
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.folder(folder);
        }
        self.archive.file(name, bytes.as_ref(), mode);
    }

    /// Adds a program of this machine under a name, and its libraries under theirs.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn program(&mut self, from: &Path, name: &str) -> Result<(), String> {
        self.file(name, stripped(from)?, 0o755);
        for library in libraries(from)? {
            if self.there.insert(library.clone()) {
                let bytes = read(&library)?;
                let name = library.to_string_lossy().trim_start_matches('/').to_owned();
                self.file(&name, bytes, 0o755);
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, script: &str) -> Vec<u8> {
        self.file("script", script, 0o644);
        self.file("init", INIT, 0o755);
        self.archive.finish()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A program without what only debuggers need, which is most of it; whole where there is no `strip`.
fn stripped(program: &Path) -> Result<Vec<u8>, String> {
    let scratch = Scratch::new();
    let out = scratch.path("stripped");
    let done = Command::new("strip")
        .arg("-o")
        .arg(&out)
        .arg(program)
        .status();
    match done {
        Ok(status) if status.success() => read(&out),
        _ => read(program),
    }
}

/// Paths that `ldd` names; none for a program that is whole by itself.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, String> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .map_err(|e| format!("ldd: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let paths = text.lines().filter_map(|line| {
        let words = line.split_whitespace();
        words
            .into_iter()
            .find(|w| w.starts_with('/'))
            .map(PathBuf::from)
    });
    Ok(paths.collect())
}
