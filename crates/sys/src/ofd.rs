//! Open-file-description locks on single bytes (`fcntl(2)`, `F_OFD_SETLK`, `F_OFD_GETLK`).
#![expect(
    unsafe_code,
    reason = "fcntl with a lock record has no safe face in the crates we use"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

fn record(kind: libc::c_int, byte: i64) -> io::Result<libc::flock> {
    Ok(libc::flock {
        l_type: libc::c_short::try_from(kind).map_err(|_| io::ErrorKind::InvalidInput)?,
        l_whence: 0,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    })
}

fn set(file: &impl AsFd, kind: libc::c_int, byte: i64) -> io::Result<()> {
    let lock = record(kind, byte)?;
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the whole call and the record is a valid `flock` that the kernel only reads.
    let rc = unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &raw const lock) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes a shared lock on one byte.
///
/// # Errors
/// `EAGAIN` when another open file holds it exclusively; `EINVAL` where the kernel has no such locks.
pub fn lock_shared(file: &impl AsFd, byte: i64) -> io::Result<()> {
    set(file, libc::F_RDLCK, byte)
}

/// Gives a byte's lock back.
///
/// # Errors
/// What `fcntl` says.
pub fn unlock(file: &impl AsFd, byte: i64) -> io::Result<()> {
    set(file, libc::F_UNLCK, byte)
}

/// Whether another open file holds a lock on the byte that an exclusive lock would meet.
///
/// # Errors
/// What `fcntl` says.
pub fn is_locked_by_others(file: &impl AsFd, byte: i64) -> io::Result<bool> {
    let mut lock = record(libc::F_WRLCK, byte)?;
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the whole call and the record is a valid `flock` that outlives it.
    let rc = unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut lock) };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}
