//! Processes: a copy of this one, and descriptors that came with it.
#![expect(unsafe_code, reason = "fork, and taking inherited descriptors")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Which of the two a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The one that was there before, and the number of the new one.
    Parent(i32),
    /// The new one.
    Child,
}

/// Makes a copy of this process.
///
/// # Errors
/// When it has threads (the copy would not have them, and their locks would stay taken), or there is no room.
pub fn fork() -> io::Result<Forked> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(io::Error::other("the process has threads already"));
    }
    // SAFETY: there is one thread, so the copy is as good as the original.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// Takes over a descriptor that this process was started with, and keeps it from programs that it starts.
///
/// # Errors
/// `EBADF` when there is none, `EINVAL` for one that the standard streams use.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: asks for flags only.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sets the flags of a descriptor that was there a moment ago.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and whoever started this process left it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_inherited_by_guess() {
        assert_eq!(inherited(1).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let none = inherited(1_000_000).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn a_process_with_threads_is_not_copied() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || receiver.recv());
        assert!(fork().is_err());
        drop(sender);
        assert!(thread.join().is_ok());
    }
}
