//! Signals taken one by one by a thread that waits for them.
#![expect(unsafe_code, reason = "signal sets and waiting for them")]

use std::io;
use std::mem::MaybeUninit;

/// Signals that are blocked for the whole process and wait to be taken.
pub struct Signals {
    set: libc::sigset_t,
}

/// A signal that was taken: its number, and the process that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Number.
    pub signal: i32,
    /// Sender; 0 for the kernel.
    pub pid: i32,
}

impl Signals {
    /// Blocks these signals in the calling thread and in those it makes from now on. To be called before any other
    /// thread is there.
    ///
    /// # Errors
    /// A number that is no signal's.
    pub fn block(numbers: &[i32]) -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the call fills the set it is given.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: filled by the call above.
        let mut set: libc::sigset_t = unsafe { set.assume_init() };
        for number in numbers {
            // SAFETY: the set is valid; a wrong number is refused.
            if unsafe { libc::sigaddset(&raw mut set, *number) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: reads the set; the old mask is not asked for.
        let code =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(Self { set })
    }

    /// Waits for the next one.
    pub fn wait(&self) -> Taken {
        loop {
            let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
            // SAFETY: the set is valid, and the call fills the information before it gives a signal's number.
            let signal = unsafe { libc::sigwaitinfo(&raw const self.set, info.as_mut_ptr()) };
            if signal > 0 {
                // SAFETY: zero at first and filled by the call; any bytes are valid numbers.
                let info = unsafe { info.assume_init() };
                // SAFETY: for signals that processes send this member is the filled one; else it reads as some number.
                let pid = unsafe { info.si_pid() };
                return Taken { signal, pid };
            }
        }
    }
}
