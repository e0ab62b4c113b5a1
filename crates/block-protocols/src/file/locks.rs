//! Image locks: who uses a file how, told to other processes by locks on single bytes.
//!
//! As QEMU lays them out: byte `100 + bit` is locked (shared) by each user of a permission, byte `200 + bit` by each
//! user who does not want others to have it. A user takes its own bytes first, then looks whether somebody
//! holds a byte that clashes; so two that start at once see each other.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use block_core::Perms;
use qapi::Error;
use sys::ofd;

const USED_BASE: i64 = 100;
const UNSHARED_BASE: i64 = 200;

/// `locking=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locking {
    /// Where the kernel can.
    Auto,
    /// Or fail.
    On,
    Off,
}

/// The locks one open file holds.
pub(crate) struct Locks {
    on: bool,
    held: Mutex<(Perms, Perms)>,
}

impl Locks {
    /// Decides whether locks are taken at all.
    pub(crate) fn new(mode: Locking, file: &File) -> qapi::Result<Self> {
        let on = match mode {
            Locking::Off => false,
            _ if ofd::is_locked_by_others(file, 0).is_ok() => true,
            Locking::Auto => false,
            Locking::On => {
                return Err(Error::new(
                    "File locking is not supported by the file system",
                ));
            }
        };
        Ok(Self {
            on,
            held: Mutex::new((Perms::NONE, Perms::NONE)),
        })
    }

    /// Takes and gives back so that exactly `used` and what is not in `shared` are locked.
    pub(crate) fn set(
        &self,
        file: &File,
        name: &str,
        used: Perms,
        shared: Perms,
    ) -> qapi::Result<()> {
        if !self.on {
            return Ok(());
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = (used, !shared);
        let taken = take(file, *held, wanted).and_then(|()| look(file, used, !shared));
        if let Err(error) = taken {
            release(file, *held, wanted);
            return Err(error.hint(hint(file, name)));
        }
        release(file, wanted, *held);
        *held = wanted;
        Ok(())
    }

    /// Gives everything back, for a file that somebody may hold open a little longer.
    pub(super) fn release(&self, file: &File) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        release(file, (Perms::NONE, Perms::NONE), *held);
        *held = (Perms::NONE, Perms::NONE);
    }
}

fn bytes(perms: Perms, base: i64) -> impl Iterator<Item = (i64, &'static str)> {
    perms
        .each()
        .map(move |(bit, name)| (base + i64::from(bit), name))
}

/// Locks what `wanted` has beyond `held`.
fn take(file: &File, held: (Perms, Perms), wanted: (Perms, Perms)) -> qapi::Result<()> {
    let used = bytes(wanted.0 - held.0, USED_BASE);
    let unshared = bytes(wanted.1 - held.1, UNSHARED_BASE);
    for (byte, _) in used.chain(unshared) {
        ofd::lock_shared(file, byte)
            .map_err(|e| Error::from_io(format!("Failed to lock byte {byte}"), &e))?;
    }
    Ok(())
}

/// Unlocks what `held` has beyond `kept`.
fn release(file: &File, kept: (Perms, Perms), held: (Perms, Perms)) {
    let used = bytes(held.0 - kept.0, USED_BASE);
    let unshared = bytes(held.1 - kept.1, UNSHARED_BASE);
    for (byte, _) in used.chain(unshared) {
        if let Err(error) = ofd::unlock(file, byte) {
            tracing::warn!(%error, byte, "cannot unlock");
        }
    }
}

/// Looks for others whose bytes clash with ours.
fn look(file: &File, used: Perms, unshared: Perms) -> qapi::Result<()> {
    for (byte, name) in bytes(used, UNSHARED_BASE) {
        check(file, byte, || format!("Failed to get \"{name}\" lock"))?;
    }
    for (byte, name) in bytes(unshared, USED_BASE) {
        check(file, byte, || {
            format!("Failed to get shared \"{name}\" lock")
        })?;
    }
    Ok(())
}

fn check(file: &File, byte: i64, message: impl Fn() -> String) -> qapi::Result<()> {
    match ofd::is_locked_by_others(file, byte) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::new(message()).errno(11)),
        Err(error) => Err(Error::from_io(message(), &error)),
    }
}

/// QEMU's question, then our answer to it when the other process can be found.
fn hint(file: &File, name: &str) -> String {
    let question = format!("Is another process using the image [{name}]?");
    match holders(file).as_slice() {
        [] => question,
        found => format!(
            "{question}\nIt is open in {}: end that use first, or read it as it is with -U.",
            found.join(", ")
        ),
    }
}

/// Other processes that have the file open, as `pid N (command)`. OFD locks do not name their owner, open files do.
fn holders(file: &File) -> Vec<String> {
    let Ok(ours) = file.metadata() else {
        return Vec::new();
    };
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let me = std::process::id();
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != me && has_open(*pid, &ours))
        .map(|pid| {
            let command = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            format!("process {pid} ({})", command.unwrap_or_default().trim())
        })
        .collect()
}

fn has_open(pid: u32, wanted: &std::fs::Metadata) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    files
        .flatten()
        .filter_map(|entry| std::fs::metadata(entry.path()).ok())
        .any(|file| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino()))
}
