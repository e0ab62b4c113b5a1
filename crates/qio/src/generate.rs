//! Help, man page and shell completions, from the table of options.
//!
//! ```text
//! qio generate man DIR             qio.1
//! qio generate completion SHELL    bash, zsh or fish, to standard output
//! ```

use std::path::Path;

use clap::{Arg, ArgAction, Command};
use clap_complete::Shell;
use qapi::{Error, Result, out, prog_name};

use crate::cli::VERSION;
use crate::options::{Entry, OPTIONS};

const EXAMPLES: &str = "\
Examples:
  {prog} -c 'read -v 0 512' -f raw disk.raw              show the first sector
  {prog} -c 'write -P 7 1M 64k' -f qcow2 disk.qcow2      fill 64 KiB with sevens
  {prog} -f qcow2 disk.qcow2                             ask for commands";

fn examples() -> String {
    EXAMPLES.replace("{prog}", prog_name())
}

/// What `--help` prints.
pub(crate) fn usage() {
    let prog = prog_name();
    out::line(format!(
        "Usage: {prog} [OPTIONS]... [-c STRING]... [file]\nQEMU Disk exerciser\n"
    ));
    for entry in OPTIONS {
        out::line(format!("  {:<20} {}", entry.left(), entry.help));
    }
    out::line(format!(
        "\n{}\n\nSee '{prog} -c help' for information on available commands.",
        examples()
    ));
}

fn arg(entry: &Entry) -> Arg {
    let id = entry.opt.long.unwrap_or_default();
    let mut arg = Arg::new(id).long(id).help(entry.help);
    if let Some(letter) = entry.opt.short {
        arg = arg.short(letter);
    }
    if entry.opt.value {
        arg.value_name(entry.value).action(ArgAction::Append)
    } else {
        arg.action(ArgAction::SetTrue)
    }
}

/// The whole command line as one definition.
fn whole() -> Command {
    let file = Arg::new("FILE")
        .help("the image")
        .value_hint(clap::ValueHint::FilePath);
    Command::new(prog_name())
        .version(VERSION)
        .about("Reads, writes and tests disks by commands")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .after_help(examples())
        .args(OPTIONS.iter().map(arg))
        .arg(file)
}

/// Does what is asked by the words above; `None` if they ask for something else. As a disk's command line they would be
/// refused for three operands.
pub(crate) fn asked(words: &[String]) -> Option<Result<()>> {
    let [generate, what, value] = words else {
        return None;
    };
    match (generate.as_str(), what.as_str()) {
        ("generate", "man") => Some(man_page(Path::new(value))),
        ("generate", "completion") => Some(completion(value)),
        _ => None,
    }
}

fn man_page(dir: &Path) -> Result<()> {
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
