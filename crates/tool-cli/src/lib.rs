//! What command line tools have in common beside their words: tables of options, logs, and man pages and shell completions that
//! are made from them.
//!
//! ```text
//! TOOL generate man DIR             TOOL.1, and a page for each command
//! TOOL generate completion SHELL    bash, zsh or fish, to standard output
//! ```
#![forbid(unsafe_code)]

mod options;
pub mod trace;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use qapi::{Error, Result, out, prog_name};

pub use options::{Entry, Group, Sheet, flag, for_getopt, long_flag, long_with, with};

/// What can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Man pages into a folder.
    Man(&'a str),
    /// The completions of a shell.
    Completion(&'a str),
}

impl<'a> Request<'a> {
    /// What the words after `generate` ask for; `None`: nothing that is known.
    #[must_use]
    pub fn read(words: &'a [String]) -> Option<Self> {
        match words {
            [what, dir] if what == "man" => Some(Self::Man(dir)),
            [what, shell] if what == "completion" => Some(Self::Completion(shell)),
            _ => None,
        }
    }

    /// Does it for a command line of this definition.
    ///
    /// # Errors
    /// When a page cannot be written, or nothing is known of the shell.
    pub fn run(self, whole: Command) -> Result<()> {
        match self {
            Self::Man(dir) => man_pages(Path::new(dir), whole),
            Self::Completion(shell) => completion(shell, whole),
        }
    }
}

/// Does what the words after `generate` ask, for a command line of this definition.
///
/// # Errors
/// When they ask for nothing known, and as [`Request::run`].
pub fn generate(words: &[String], whole: Command) -> Result<()> {
    let request = Request::read(words).ok_or_else(|| {
        let prog = prog_name();
        Error::new(format!(
            "Expecting '{prog} generate man DIR' or '{prog} generate completion bash|zsh|fish'"
        ))
    })?;
    request.run(whole)
}

/// Tells of a failure, and is the exit code.
pub fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            qapi::report(&error);
            ExitCode::FAILURE
        }
    }
}

fn man_pages(dir: &Path, whole: Command) -> Result<()> {
    let failed = |e: io::Error| {
        let what = format!("Could not write to '{}'", dir.display());
        Error::from_io(what, &e)
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(whole, dir).map_err(failed)
}

fn completion(shell: &str, mut whole: Command) -> Result<()> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        other => return Err(Error::new(format!("No completions for shell '{other}'"))),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole, prog_name(), &mut script);
    out::text(&String::from_utf8_lossy(&script));
    Ok(())
}

#[cfg(test)]
mod tests;
