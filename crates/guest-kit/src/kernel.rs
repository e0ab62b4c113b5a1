//! Debian's cloud kernel: fetched as a package by `apt-get download`, unpacked below `target/`, and kept there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use liblzma::read::XzDecoder;

use crate::tools;

/// Which of Debian's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Small, with drivers of virtual machines only.
    Cloud,
    /// With all drivers.
    Generic,
}

impl Flavour {
    /// The package that depends on the newest one.
    fn package(self) -> &'static str {
        match self {
            Self::Cloud => "linux-image-cloud-amd64",
            Self::Generic => "linux-image-amd64",
        }
    }
}

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    folder: PathBuf,
    version: String,
}

/// The folder in `target/`.
fn cache(flavour: Flavour) -> Result<PathBuf, String> {
    let name = match flavour {
        Flavour::Cloud => "guest-kernel",
        Flavour::Generic => "guest-kernel-generic",
    };
    Ok(tools::target()?.join(name))
}

/// The kernel, fetched if it is not there yet.
pub(super) fn fetch(flavour: Flavour) -> Result<Kernel, String> {
    // Tests of one program run side by side and would unpack into one folder.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (folder, package) = (cache(flavour)?, flavour.package());
    if let Some(kernel) = Kernel::in_folder(&folder) {
        return Ok(kernel);
    }
    let depends = output(Command::new("apt-cache").args(["depends", package]))?;
    let name = depends
        .lines()
        .find_map(|l| {
            l.trim()
                .strip_prefix("Depends: ")
                .filter(|d| d.starts_with("linux-image-"))
        })
        .ok_or_else(|| format!("apt has no package {package}"))?;
    let work = folder.with_extension(std::process::id().to_string());
    let failed = |e: std::io::Error| format!("{}: {e}", work.display());
    fs::create_dir_all(work.join("root")).map_err(failed)?;
    output(
        Command::new("apt-get")
            .args(["download", name])
            .current_dir(&work),
    )?;
    let archive = fs::read_dir(&work)
        .map_err(failed)?
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .ok_or_else(|| format!("apt-get download {name} left no package"))?;
    output(
        Command::new("dpkg")
            .arg("-x")
            .arg(&archive)
            .arg(work.join("root")),
    )?;
    fs::remove_file(archive).map_err(failed)?;
    // Another test may have been faster.
    if fs::rename(&work, &folder).is_err() {
        fs::remove_dir_all(&work).map_err(failed)?;
    }
    Kernel::in_folder(&folder).ok_or_else(|| format!("{name} holds no kernel"))
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String, String> {
    let line = format!("{command:?}");
    let output = command.output().map_err(|e| format!("{line}: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{line} failed: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Kernel {
    fn in_folder(folder: &Path) -> Option<Self> {
        let boot = fs::read_dir(folder.join("root/boot")).ok()?;
        let version = boot
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .find_map(|n| n.strip_prefix("vmlinuz-").map(str::to_owned))?;
        Some(Self {
            folder: folder.join("root"),
            version,
        })
    }

    pub(super) fn image(&self) -> PathBuf {
        self.folder.join(format!("boot/vmlinuz-{}", self.version))
    }

    /// Modules by name, with those that they need before them; those that are part of the kernel itself are left out.
    pub(super) fn modules(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut files = BTreeMap::new();
        let below = Path::new("lib/modules").join(&self.version);
        let mut built_in = String::new();
        for place in [
            self.folder.join(&below),
            self.folder.join("usr").join(&below),
        ] {
            list(&place, &mut files);
            built_in += &fs::read_to_string(place.join("modules.builtin")).unwrap_or_default();
        }
        let mut all = Vec::new();
        for name in names {
            if !built_in.contains(&format!("/{name}.ko")) {
                add(name, &files, &mut all)?;
            }
        }
        Ok(all)
    }
}

/// All modules below a folder, by name.
fn list(folder: &Path, into: &mut BTreeMap<String, PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|e| Some(e.ok()?.path())) {
        if path.is_dir() {
            list(&path, into);
        } else if let Some((name, _)) = path.file_name().and_then(|n| n.to_str()?.split_once(".ko"))
        {
            into.insert(name.replace('-', "_"), path.clone());
        }
    }
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    all: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), String> {
    let name = name.replace('-', "_");
    if all.iter().any(|(n, _)| *n == name) {
        return Ok(());
    }
    let path = files
        .get(&name)
        .ok_or_else(|| format!("the kernel has no module {name}"))?;
    let bytes = unpacked(path).map_err(|e| format!("{}: {e}", path.display()))?;
    for needed in depends(&bytes) {
        add(&needed, files, all)?;
    }
    all.push((name, bytes));
    Ok(())
}

fn unpacked(path: &Path) -> std::io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    if path.extension().is_none_or(|e| e != "xz") {
        return Ok(bytes);
    }
    let mut out = Vec::new();
    XzDecoder::new(&bytes[..]).read_to_end(&mut out)?;
    Ok(out)
}

/// What a module says that it needs: the text after `depends=` among its facts, which end with a zero each.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|w| w == KEY) else {
        return Vec::new();
    };
    let rest = &module[at + KEY.len()..];
    let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
    let text = String::from_utf8_lossy(&rest[..end]);
    text.split(',')
        .filter(|n| !n.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_needs() {
        assert_eq!(
            depends(b"x\0depends=jbd2,mbcache\0name=ext4\0"),
            ["jbd2", "mbcache"]
        );
        assert!(depends(b"x\0depends=\0name=nbd\0").is_empty());
        assert!(depends(b"").is_empty());
    }
}
