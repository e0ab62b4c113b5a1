//! The commands, one file each.

mod amend;
mod bench;
mod bitmap;
mod check;
mod commit;
mod compare;
mod convert;
mod create;
mod dd;
mod info;
mod map;
mod measure;
mod rebase;
mod resize;
mod snapshot;

use std::pin::Pin;

use clap::ArgMatches;

use crate::cli::Outcome;

/// What running a command gives.
pub(crate) type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One command.
pub(crate) struct Command {
    /// The word that calls it.
    pub(crate) name: &'static str,
    /// Done so soon that it needs no threads.
    pub(crate) light: bool,
    /// One line for the help.
    pub(crate) about: &'static str,
    /// What follows the options, for the help.
    pub(crate) operands: &'static str,
    /// Command lines (without the tool's name) and what they do.
    pub(crate) examples: &'static [(&'static str, &'static str)],
    /// Adds its options.
    pub(crate) args: fn(clap::Command) -> clap::Command,
    /// Does it.
    pub(crate) run: fn(ArgMatches) -> Running,
}

/// All commands, sorted.
pub(crate) const COMMANDS: &[&Command] = &[
    &amend::COMMAND,
    &bench::COMMAND,
    &bitmap::COMMAND,
    &check::COMMAND,
    &commit::COMMAND,
    &compare::COMMAND,
    &convert::COMMAND,
    &create::COMMAND,
    &dd::COMMAND,
    &info::COMMAND,
    &map::COMMAND,
    &measure::COMMAND,
    &rebase::COMMAND,
    &resize::COMMAND,
    &snapshot::COMMAND,
];
