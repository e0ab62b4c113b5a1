//! Help, man page and shell completions, from the table of options.
//!
//! ```text
//! qnbd generate man DIR             qnbd.1
//! qnbd generate completion SHELL    bash, zsh or fish, to standard output
//! ```

use std::path::Path;

use clap::{Arg, ArgAction, Command};
use clap_complete::Shell;
use qapi::{Error, Result, out, prog_name};

use crate::VERSION;
use crate::options::{Entry, GROUPS};

const ABOUT: &str = "Serves disk images over the network block device protocol";

const EXAMPLES: &str = "\
Examples:
  {prog} -t -k /run/disk.sock -f qcow2 disk.qcow2    serve on a unix socket until told to stop
  {prog} -r -p 10810 -f raw disk.raw                 serve to one client, for reading
  {prog} -c auto -f qcow2 disk.qcow2                 attach to a free /dev/nbdN and print its name
  {prog} -d /dev/nbd0                                detach it
  {prog} -L -k /run/disk.sock                        show what a server exports";

fn examples() -> String {
    EXAMPLES.replace("{prog}", prog_name())
}

/// What `--help` prints.
pub(crate) fn usage() {
    let prog = prog_name();
    out::line(format!(
        "Usage: {prog} [OPTIONS] FILE\n  or:  {prog} -L [OPTIONS]\n{ABOUT}"
    ));
    for group in GROUPS {
        out::line(format!("\n{}:", group.title));
        for entry in group.entries {
            let left = entry.left();
            let gap = if left.len() > 27 {
                "\n                               "
            } else {
                ""
            };
            out::line(format!("  {left:<27}{gap}  {}", entry.help));
        }
    }
    out::line(format!("\n{}", examples()));
}

/// What `--version` prints.
pub(crate) fn version() {
    out::line(format!("{} {VERSION} (qnbd)", prog_name()));
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
    let mut command = Command::new(prog_name())
        .version(VERSION)
        .about(ABOUT)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .after_help(examples());
    for group in GROUPS {
        command = command.next_help_heading(group.title);
        command = command.args(group.entries.iter().map(arg));
    }
    let file = Arg::new("FILE")
        .help("the image, or with -d the device")
        .value_hint(clap::ValueHint::FilePath);
    command.arg(file)
}

/// Does what the words after `generate` ask.
///
/// # Errors
/// When they ask for nothing known, or a file cannot be written.
pub(crate) fn run(words: &[String]) -> Result<()> {
    match words {
        [what, dir] if what == "man" => man_page(Path::new(dir)),
        [what, shell] if what == "completion" => completion(shell),
        _ => {
            let prog = prog_name();
            Err(Error::new(format!(
                "Expecting '{prog} generate man DIR' or '{prog} generate completion bash|zsh|fish'"
            )))
        }
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
