//! The socket to the kernel: one request, its answers, its acknowledgement.
#![expect(unsafe_code, reason = "netlink sockets have no safe face in std")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;

use super::message::{DONE, ERROR, Message, errno, split};

const NETLINK_GENERIC: libc::c_int = 16;
/// Answers larger than this do not come: a device takes 20 bytes of a list.
const BUFFER: usize = 256 << 10;
/// Datagrams that one request may be answered by.
const MOST: usize = 1000;

/// A socket of the generic family. It is never bound: the kernel gives it a name with the first request.
#[derive(Debug)]
pub(super) struct Socket {
    file: File,
    sequence: u32,
}

impl Socket {
    /// Opens one.
    ///
    /// # Errors
    /// `EAFNOSUPPORT`, `EPERM`: where there is no netlink.
    pub(super) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: takes three numbers, gives a descriptor or -1.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, NETLINK_GENERIC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else has it.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self { file, sequence: 0 })
    }

    /// Sends a request and waits for its end. Gives back the bodies of the answers.
    ///
    /// # Errors
    /// The kernel's own.
    pub(super) fn ask(&mut self, request: Message) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        // To a socket without a peer, a write goes to the kernel as a datagram.
        let bytes = request.finish(self.sequence);
        let sent = self.file.write(&bytes)?;
        if sent != bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut answers = Vec::new();
        let mut buffer = vec![0; BUFFER];
        for _ in 0..MOST {
            let len = self.file.read(&mut buffer)?;
            for message in split(&buffer[..len]) {
                if message.sequence != self.sequence {
                    continue;
                }
                match message.kind {
                    ERROR => {
                        return match errno(message.body) {
                            0 => Ok(answers),
                            code => Err(io::Error::from_raw_os_error(code)),
                        };
                    }
                    DONE => {}
                    _ => answers.push(message.body.to_vec()),
                }
            }
        }
        Err(io::Error::other("the kernel does not stop answering"))
    }
}
