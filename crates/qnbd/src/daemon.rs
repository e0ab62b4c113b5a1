//! Going into the background. The parent stays until the server runs, prints what the server had to say until then, and
//! ends with 1 if that was anything; so an error is seen where the tool was called.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use qapi::{Error, Result};
use sys::process::Forked;

/// What a process is after [`fork`].
pub(crate) enum Place {
    /// The parent: nothing is left to do but to end.
    Parent(ExitCode),
    /// The server.
    Server(Background),
}

/// A server in the background that still talks to its parent.
pub(crate) struct Background {
    /// Where standard error goes once it runs.
    stderr: OwnedFd,
    /// The parent's standard output, for the one line that it may be waiting for.
    stdout: OwnedFd,
}

/// Splits into a parent that waits and a server. With `keep_stderr` the server gets standard error back later.
///
/// # Errors
/// When the system refuses.
pub(crate) fn fork(keep_stderr: bool) -> Result<Place> {
    let (reader, writer) =
        io::pipe().map_err(|e| Error::from_io("Error setting up communication pipe", &e))?;
    qapi::out::flush();
    match sys::process::fork().map_err(|e| Error::from_io("Failed to fork", &e))? {
        Forked::Parent(_) => {
            drop(writer);
            Ok(Place::Parent(wait(reader)))
        }
        Forked::Child => {
            drop(reader);
            match detach(&writer, keep_stderr) {
                Ok(background) => Ok(Place::Server(background)),
                Err(error) => Err(Error::from_io("Failed to daemonize", &error)),
            }
        }
    }
}

/// Passes on what the server says until it has no more to say.
fn wait(mut reader: PipeReader) -> ExitCode {
    let mut said = false;
    let mut buffer = [0; 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                said = true;
                if io::stderr().write_all(&buffer[..len]).is_err() {
                    return ExitCode::FAILURE;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                qapi::report(&Error::from_io("Cannot read from daemon", &error));
                return ExitCode::FAILURE;
            }
        }
    }
    if said {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Leaves the terminal: a session of its own, no standard streams; standard error goes to the parent.
fn detach(writer: &PipeWriter, keep_stderr: bool) -> io::Result<Background> {
    let stdout = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let old_stderr = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
    if let Forked::Parent(_) = sys::process::fork()? {
        // Not the parent that waits, but the one between: the server belongs to nobody.
        std::process::exit(0);
    }
    rustix::process::setsid()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(writer)?;
    Ok(Background {
        stderr: if keep_stderr {
            old_stderr
        } else {
            OwnedFd::from(null)
        },
        stdout,
    })
}

impl Background {
    /// Prints a line where the parent would.
    pub(crate) fn tell(&self, line: &str) -> io::Result<()> {
        File::from(self.stdout.try_clone()?).write_all(format!("{line}\n").as_bytes())
    }

    /// Lets the parent go.
    ///
    /// # Errors
    /// When standard error cannot be put back.
    pub(crate) fn release(self) -> Result<()> {
        rustix::stdio::dup2_stderr(&self.stderr)
            .map_err(|e| Error::from_io("Could not release pipe to parent", &e.into()))
    }
}

/// Writes the number of this process to a file, and keeps a lock on it while the process lives.
///
/// # Errors
/// In QEMU's words.
pub(crate) fn write_pid_file(path: &str) -> Result<File> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| Error::from_io(format!("Could not create '{path}'"), &e))?;
    let lock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::fcntl_lock(&file, lock)
        .map_err(|e| Error::from_io("Cannot lock pid file", &e.into()))?;
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
    };
    write(&mut file).map_err(|e| Error::from_io("Failed to write pid file", &e))?;
    Ok(file)
}
