//! The commands, a few to a file.

mod aio;
mod breaks;
mod disk;
pub(crate) mod help;
mod map;
mod process;
mod read;
mod reopen;
mod write;
mod zones;

use std::pin::Pin;

use qapi::getopt::Opt;

use crate::number::Failed;
use crate::shell::{Call, Shell};

/// What running a command gives.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Failed>> + 'a>>;

/// One command.
pub(crate) struct Command {
    /// The word that calls it, and a shorter one.
    pub(crate) names: &'static [&'static str],
    /// Words that follow, for the help.
    pub(crate) args: &'static str,
    /// What it does, in one line.
    pub(crate) about: &'static str,
    /// More about it, for `help NAME`.
    pub(crate) more: &'static str,
    /// Fewest and most words that may follow.
    pub(crate) count: (usize, Option<usize>),
    /// Options among these words.
    pub(crate) options: &'static [Opt],
    /// Works without an open file.
    pub(crate) without_file: bool,
    /// Changes the disk.
    pub(crate) writes: bool,
    /// Requests in the background may tell of their end while it runs.
    pub(crate) waits: bool,
    /// Does it.
    pub(crate) run: for<'a> fn(&'a mut Shell, Call<'a>) -> Running<'a>,
}

impl Command {
    /// A command with nothing special, to be changed where it has.
    pub(crate) const fn plain(
        names: &'static [&'static str],
        about: &'static str,
        run: for<'a> fn(&'a mut Shell, Call<'a>) -> Running<'a>,
    ) -> Self {
        Self {
            names,
            args: "",
            about,
            more: "",
            count: (0, Some(0)),
            options: &[],
            without_file: false,
            writes: false,
            waits: true,
            run,
        }
    }
}

/// All commands, sorted.
pub(crate) const COMMANDS: &[&Command] = &[
    &process::ABORT,
    &aio::FLUSH,
    &aio::READ,
    &aio::WRITE,
    &map::ALLOC,
    &breaks::BREAK,
    &disk::CLOSE,
    &write::DISCARD,
    &write::FLUSH,
    &help::HELP,
    &disk::INFO,
    &disk::LENGTH,
    &map::MAP,
    &disk::OPEN,
    &disk::QUIT,
    &read::READ,
    &read::READV,
    &breaks::REMOVE_BREAK,
    &disk::REOPEN,
    &breaks::RESUME,
    &process::SIGRAISE,
    &process::SLEEP,
    &disk::TRUNCATE,
    &breaks::WAIT_BREAK,
    &write::WRITE,
    &write::WRITEV,
    &zones::APPEND,
    &zones::CLOSE,
    &zones::FINISH,
    &zones::OPEN,
    &zones::REPORT,
    &zones::RESET,
];

/// The command of a name.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().copied().find(|c| c.names.contains(&name))
}
