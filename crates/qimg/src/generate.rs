//! Man pages and shell completions, from the definitions that read the command line.
//!
//! ```text
//! qimg generate man DIR             qimg.1 and a page for each command
//! qimg generate completion SHELL    bash, zsh or fish, to standard output
//! ```

use std::path::Path;

use clap_complete::Shell;
use qapi::{Error, Result, out, prog_name};

use crate::VERSION;
use crate::cli::{Outcome, clap_command};
use crate::cmd::COMMANDS;

/// Does what the words after `generate` ask.
///
/// # Errors
/// When they ask for nothing known, or a file cannot be written.
pub(crate) fn run(words: &[String]) -> Outcome {
    match words {
        [what, dir] if what == "man" => man_pages(Path::new(dir))?,
        [what, shell] if what == "completion" => completion(shell)?,
        _ => {
            let prog = prog_name();
            return Err(Error::new(format!(
                "Expecting '{prog} generate man DIR' or '{prog} generate completion bash|zsh|fish'"
            ))
            .into());
        }
    }
    Ok(0)
}

/// The whole command line as one definition.
fn whole() -> clap::Command {
    let commands = COMMANDS.iter().map(|command| clap_command(command));
    clap::Command::new(prog_name())
        .version(VERSION)
        .about("Disk image utility")
        .subcommands(commands)
}

fn man_pages(dir: &Path) -> Result<()> {
    let failed =
        |e: std::io::Error| Error::from_io(format!("Could not write to '{}'", dir.display()), &e);
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(whole(), dir).map_err(failed)
}

fn completion(shell: &str) -> Result<()> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        other => return Err(Error::new(format!("No completions for shell '{other}'"))),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole(), prog_name(), &mut script);
    out::text(&String::from_utf8_lossy(&script));
    Ok(())
}
