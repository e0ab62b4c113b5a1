//! Going into the background (`-daemonize`): the parent stays until the machine is ready, so that whoever called it
//! finds sockets and the file with the process number, or an error.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};

use qapi::{Error, Result};
use sys::process::Forked;

/// A program in the background whose parent still waits.
pub(crate) struct Background {
    parent: PipeWriter,
}

/// What a process is after [`fork`].
pub(crate) enum Place {
    /// The parent: nothing is left to do but to end with this code.
    Parent(i32),
    /// The program.
    Program(Background),
}

/// Splits into a parent that waits and a program in a session of its own.
///
/// # Errors
/// When the system refuses.
pub(crate) fn fork() -> Result<Place> {
    let failed = |error: &io::Error| Error::from_io("Failed to daemonize", error);
    let (mut reader, writer) = io::pipe().map_err(|error| failed(&error))?;
    if let Forked::Parent(_) = sys::process::fork().map_err(|error| failed(&error))? {
        drop(writer);
        let mut ready = [0];
        let fine = matches!(reader.read(&mut ready), Ok(1));
        return Ok(Place::Parent(i32::from(!fine)));
    }
    drop(reader);
    rustix::process::setsid().map_err(|error| failed(&error.into()))?;
    if let Forked::Parent(_) = sys::process::fork().map_err(|error| failed(&error))? {
        // The one between: the program belongs to nobody.
        std::process::exit(0);
    }
    Ok(Place::Program(Background { parent: writer }))
}

impl Background {
    /// Leaves folder and standard streams, and lets the parent go.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn release(mut self, keep_streams: bool) -> Result<()> {
        let failed = |error: &io::Error| Error::from_io("Failed to daemonize", error);
        std::env::set_current_dir("/").map_err(|error| failed(&error))?;
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(|error| failed(&error))?;
        rustix::stdio::dup2_stdin(&null).map_err(|error| failed(&error.into()))?;
        rustix::stdio::dup2_stdout(&null).map_err(|error| failed(&error.into()))?;
        // A log that goes to standard error goes on.
        if !keep_streams {
            rustix::stdio::dup2_stderr(&null).map_err(|error| failed(&error.into()))?;
        }
        self.parent.write_all(&[1]).map_err(|error| failed(&error))
    }
}
