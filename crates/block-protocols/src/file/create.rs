//! Making host files and setting their length.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use block_core::{Perms, Preallocation};
use qapi::{Dict, Error, Value};
use rustix::fs::{FallocateFlags, fallocate};

use super::locks::{Locking, Locks};

/// `preallocation=full` writes pieces of this size.
const FULL_BUFFER: usize = 1 << 20;

fn number(options: &Dict, name: &str) -> Option<u64> {
    match options.get(name)? {
        Value::Int(n) => u64::try_from(*n).ok(),
        Value::Uint(n) => Some(*n),
        _ => None,
    }
}

/// The `preallocation` option of a plain file.
fn mode(options: &Dict) -> qapi::Result<Preallocation> {
    let name = options.get_str("preallocation").unwrap_or("off");
    match Preallocation::parse(name) {
        Some(Preallocation::Metadata) => {
            Err(Error::new("Unsupported preallocation mode: metadata").errno(95))
        }
        Some(mode) => Ok(mode),
        None => Err(Error::new(format!("invalid parameter value: {name}"))),
    }
}

/// Makes an empty file of the asked length; what was there is gone. A file somebody uses is left alone.
pub(super) async fn file(filename: &str, options: &Dict) -> qapi::Result<()> {
    let path = filename.strip_prefix("file:").unwrap_or(filename);
    let size = number(options, "size").unwrap_or(0);
    let mode = mode(options)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
        .map_err(|e| Error::from_io(format!("Could not create '{path}'"), &e))?;
    let locks = Locks::new(Locking::Auto, &file)?;
    let shared = Perms::ALL - Perms::RESIZE;
    locks.set(&file, path, Perms::WRITE | Perms::RESIZE, shared)?;
    set_len(&file, 0).map_err(|e| Error::from_io("Could not resize file", &e))?;
    preallocate(&file, 0, size, mode)
}

/// A device cannot be made; it must be there and large enough.
pub(super) async fn device(filename: &str, options: &Dict) -> qapi::Result<()> {
    let path = filename.split_once(':').map_or(filename, |(_, path)| path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| Error::from_io(format!("Could not open '{path}'"), &e))?;
    let have = sys::blkdev::size(&file).unwrap_or(0);
    if have < number(options, "size").unwrap_or(0) {
        return Err(Error::new("Device is too small").errno(28));
    }
    Ok(())
}

pub(super) fn set_len(file: &File, len: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(file, len)?)
}

/// Longest first block in bytes.
const FIRST_BLOCK: u64 = 4096;

/// Gives a file's first block a place on disk: alignment is found out by reading it, and holes read at any alignment on
/// some file systems. It is a help, no promise.
fn back_first_block(file: &File, len: u64) {
    let block = if len < FIRST_BLOCK { 512 } else { FIRST_BLOCK };
    let zeroes = vec![0; usize::try_from(block.min(len)).unwrap_or(0)];
    if let Err(error) = file.write_all_at(&zeroes, 0) {
        tracing::debug!(%error, "cannot back the first block");
    }
}

/// Sets the length from `old` to `len`, with the space of the grown part as asked. On failure the old length is back.
pub(super) fn preallocate(
    file: &File,
    old: u64,
    len: u64,
    mode: Preallocation,
) -> qapi::Result<()> {
    if len < old && mode != Preallocation::Off {
        return Err(Error::new("Preallocation can't be used for shrinking files").errno(95));
    }
    let failed = |what: &str, error: &io::Error| {
        if set_len(file, old).is_err() {
            tracing::warn!("cannot set the old length again");
        }
        Error::from_io(what, error)
    };
    match mode {
        Preallocation::Off => {
            set_len(file, len).map_err(|e| Error::from_io("Failed to resize file", &e))?;
            if old == 0 {
                back_first_block(file, len);
            }
            Ok(())
        }
        Preallocation::Falloc if len == old => Ok(()),
        Preallocation::Falloc => fallocate(file, FallocateFlags::empty(), old, len - old)
            .map_err(|e| failed("Could not preallocate data", &e.into())),
        Preallocation::Full => write_zeroes(file, old, len)
            .map_err(|e| failed("Could not write zeros for preallocation", &e)),
        Preallocation::Metadata => {
            Err(Error::new("Unsupported preallocation mode: metadata").errno(95))
        }
    }
}

fn write_zeroes(file: &File, from: u64, to: u64) -> io::Result<()> {
    set_len(file, to)?;
    let zeroes = vec![0; FULL_BUFFER];
    let mut at = from;
    while at < to {
        let now = usize::try_from(to - at)
            .unwrap_or(FULL_BUFFER)
            .min(FULL_BUFFER);
        file.write_all_at(&zeroes[..now], at)?;
        at += now as u64;
    }
    file.sync_data()
}
