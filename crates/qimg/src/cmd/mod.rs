//! The commands, one file each.

mod bench;
mod commit;
mod compare;
mod convert;
mod dd;
mod rebase;

use std::pin::Pin;

use clap::ArgMatches;

use crate::cli::Outcome;

/// What running a command gives.
pub(crate) type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One command.
pub(crate) struct Command {
    /// The word that calls it.
    pub(crate) name: &'static str,
    /// One line for the help.
    pub(crate) about: &'static str,
    /// Adds its options.
    pub(crate) args: fn(clap::Command) -> clap::Command,
    /// Does it.
    pub(crate) run: fn(ArgMatches) -> Running,
}

/// All commands, sorted.
pub(crate) const COMMANDS: &[&Command] = &[
    &bench::COMMAND,
    &commit::COMMAND,
    &compare::COMMAND,
    &convert::COMMAND,
    &dd::COMMAND,
    &rebase::COMMAND,
];
