//! Firmware, kernels and initial RAM disks from files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use firmware::kernel::{self, Kernel, Module, Request};
use firmware::memory_map;
use machine::OptionRom;
use qapi::{Error, Result};

use crate::plan::Plan;

/// Where distributions keep firmware.
const PLACES: &[&str] = &[
    "/usr/share/qemu",
    "/usr/share/seabios",
    "/usr/local/share/qemu",
    "/usr/share/qemu/firmware",
];
/// Largest file that is read.
pub(crate) const MOST: u64 = 4 << 30;
/// Largest option ROM: the room for them.
const MOST_ROM: u64 = 128 << 10;
/// Below the end of low RAM, kept for tables that firmware puts there.
const TABLES: u64 = 0x2_8000;

/// All of a file, which may be a pipe or a device that never ends.
///
/// # Errors
/// What the system says; `EFBIG` when there is more than `most`.
pub(crate) fn content(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len().min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(rustix::io::Errno::FBIG.into());
    }
    Ok(bytes)
}

fn find(plan: &Plan, name: &str) -> Option<PathBuf> {
    let direct = PathBuf::from(name);
    if direct.is_file() {
        return Some(direct);
    }
    let own = plan.firmware_dirs.iter().cloned();
    own.chain(PLACES.iter().map(PathBuf::from))
        .map(|place| place.join(name))
        .find(|path| path.is_file())
}

/// The firmware, `-bios` or the board's own.
pub(crate) fn firmware(plan: &Plan, default: Option<&str>) -> Result<Vec<u8>> {
    let Some(name) = plan.bios.as_deref().or(default) else {
        return Ok(Vec::new());
    };
    let path = find(plan, name).ok_or_else(|| {
        let error = Error::new(format!("could not load PC BIOS '{name}'"));
        if plan.bios.is_some() {
            error
        } else {
            error.hint("Install Debian's package 'seabios', or name a directory with -L.")
        }
    })?;
    content(&path, MOST)
        .map_err(|error| Error::from_io(format!("could not load PC BIOS '{name}'"), &error))
}

/// The VGA adapter's BIOS; without one the adapter works for those that need none.
pub(crate) fn vga_bios(plan: &Plan) -> Vec<u8> {
    let found = find(plan, "vgabios-stdvga.bin").and_then(|path| content(&path, MOST).ok());
    found.unwrap_or_else(|| {
        qapi::warn("no vgabios-stdvga.bin: install Debian's package 'seabios'");
        Vec::new()
    })
}

/// The ROMs of `-option-rom`.
pub(crate) fn option_roms(plan: &Plan) -> Result<Vec<OptionRom>> {
    let one = |rom: &crate::plan::OptionRom| {
        let name = &rom.file;
        let path = find(plan, name).unwrap_or_else(|| name.into());
        let data = content(&path, MOST_ROM).map_err(|error| {
            Error::from_io(format!("could not load option ROM '{name}'"), &error)
        })?;
        let file = path.file_name().unwrap_or_default();
        Ok(OptionRom {
            name: format!("genroms/{}", file.to_string_lossy()),
            data,
            boot_index: rom.boot_index,
        })
    };
    plan.option_roms.iter().map(one).collect()
}

fn read(path: &str, what: &str) -> Result<Vec<u8>> {
    content(Path::new(path), MOST)
        .map_err(|error| Error::from_io(format!("could not open {what} file '{path}'"), &error))
}

/// The kernel, if the plan names one; `below` is RAM below 4 GiB.
pub(crate) fn kernel(plan: &Plan, below: u64) -> Result<Option<Kernel>> {
    let Some(path) = &plan.kernel else {
        return Ok(None);
    };
    let image = read(path, "kernel")?;
    let modules = match &plan.initrd {
        None => Vec::new(),
        Some(text) => modules(text, &image)?,
    };
    let request = Request {
        image: &image,
        path,
        command_line: plan.append.as_deref().unwrap_or(""),
        modules: &modules,
        memory: &memory_map::ram(below, plan.ram - below),
        low_end: below.saturating_sub(TABLES),
    };
    let loaded = kernel::load(&request)
        .map_err(|error| Error::new(format!("could not load kernel '{path}': {error}")))?;
    Ok(Some(loaded))
}

/// `-initrd`: one disk for Linux; for others a list of files with arguments, separated by commas.
fn modules(text: &str, image: &[u8]) -> Result<Vec<Module>> {
    let linux = image.get(0x202..0x206) == Some(b"HdrS");
    let parts: Vec<&str> = if linux {
        vec![text]
    } else {
        text.split(',').collect()
    };
    let one = |part: &str| {
        let file = if linux {
            part
        } else {
            part.split(' ').next().unwrap_or(part)
        };
        Ok(Module {
            data: read(file, "initrd")?,
            arguments: part.to_owned(),
        })
    };
    parts.into_iter().map(one).collect()
}
