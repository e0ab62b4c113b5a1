//! The table of options. Each carries its name, its argument, its help and what it does; this file only finds them.
//!
//! ```text
//!   -NAME [ARGUMENT] | --NAME [ARGUMENT] | IMAGE
//! ```
//! A word after one or two dashes is looked up whole; the argument is always the next word, whatever it looks like.

mod acpitable;
mod boot;
mod chars;
mod debug;
mod disks;
mod machine;
mod missing;
mod net;
mod objects;
mod parameters;
mod readconfig;
mod smbios;
mod values;

use qapi::{Error, Result};

pub(crate) use self::machine::DEFAULT_MACHINE;
pub(crate) use parameters::PARAMETERS;
#[cfg(test)]
pub(crate) use readconfig::GROUPS;
pub use readconfig::{Group, groups};

use crate::plan::Plan;

/// What an option does.
#[derive(Clone, Copy)]
pub enum Action {
    /// Takes its argument.
    Value(fn(&mut Plan, &str) -> Result<()>),
    /// Has none.
    Flag(fn(&mut Plan) -> Result<()>),
    /// Prints and ends.
    Print(fn() -> String),
    /// Known, with an argument or without, and not there yet.
    Missing {
        /// It takes an argument.
        argument: bool,
    },
}

/// One option.
#[derive(Clone, Copy)]
pub struct OptionEntry {
    /// Its name without dashes.
    pub name: &'static str,
    /// The argument as the help shows it; empty for none.
    pub argument: &'static str,
    /// What the help says.
    pub help: &'static str,
    /// What it does.
    pub action: Action,
}

/// All options, in groups as the help shows them.
pub const OPTIONS: &[(&str, &[OptionEntry])] = &[
    ("Standard options", machine::OPTIONS),
    ("Block device options", disks::OPTIONS),
    ("Network options", net::OPTIONS),
    ("Character device options", chars::OPTIONS),
    ("Object options", objects::OPTIONS),
    ("Boot Image or Kernel specific", boot::OPTIONS),
    ("Debug/Expert options", debug::OPTIONS),
    ("Options that are known and not there yet", missing::OPTIONS),
];

/// What the words ask for.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A machine.
    Run(Box<Plan>),
    /// A text, and nothing more.
    Print(String),
}

fn find(name: &str) -> Option<&'static OptionEntry> {
    OPTIONS
        .iter()
        .flat_map(|(_, options)| *options)
        .find(|option| option.name == name)
}

/// Reads the command line.
///
/// # Errors
/// A word that is no option, a value that is none, an option that is not there yet.
pub fn parse(words: &[String]) -> Result<Outcome> {
    parse_as(words, Plan::default())
}

/// Reads the command line over a plan that begins with other defaults.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_as(words: &[String], plan: Plan) -> Result<Outcome> {
    let mut plan = plan;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            disks::bare_image(&mut plan, word)?;
            continue;
        };
        let Some(option) = find(name) else {
            return Err(Error::new(format!("{word}: invalid option")));
        };
        let mut argument = || {
            let text = format!("{word}: requires an argument");
            rest.next().ok_or_else(|| Error::new(text))
        };
        match option.action {
            Action::Flag(set) => set(&mut plan)?,
            Action::Print(text) => return Ok(Outcome::Print(text())),
            Action::Value(_) => {
                let value = argument()?;
                if let Some(text) = help_of(option.name, word, value)? {
                    return Ok(Outcome::Print(text));
                }
                apply(&mut plan, option, word, value)?;
            }
            Action::Missing { argument: takes } => {
                if takes {
                    argument()?;
                }
                return Err(Error::new(format!(
                    "{word}: this option is not supported yet"
                )));
            }
        }
    }
    debug::apply_globals(&mut plan)?;
    plan.check()?;
    Ok(Outcome::Run(Box::new(plan)))
}

/// Gives an option its value; `word` is how the user wrote it.
fn apply(plan: &mut Plan, option: &OptionEntry, word: &str, value: &str) -> Result<()> {
    let Action::Value(set) = option.action else {
        return Err(Error::new(format!("{word}: this option takes no value")));
    };
    set(plan, value).map_err(|error| error.prefix(format!("{word} {value}: ")))
}

/// The list that `help` as a value asks for.
fn help_of(option: &str, word: &str, value: &str) -> Result<Option<String>> {
    if option == "device" {
        let help = debug::device_help(value);
        return help.map_err(|error| error.prefix(format!("{word} {value}: ")));
    }
    if !matches!(value, "help" | "?") {
        return Ok(None);
    }
    Ok(match option {
        "machine" | "M" => Some(machine::machines()),
        "accel" => Some(crate::accel::help()),
        "cpu" => Some(crate::cpu::help()),
        "d" => Some(debug::log_items()),
        "chardev" => Some(chars::backends()),
        "object" => Some(objects::types()),
        "vga" => Some(chars::video_cards()),
        "netdev" => Some("Available netdev backend types:\n".to_owned()),
        _ => None,
    })
}

/// What `-help` prints.
pub(crate) fn help() -> String {
    let mut text = version();
    let name = qapi::prog_name();
    text.push_str(&format!(
        "usage: {name} [options] [disk_image]\n\n\
         'disk_image' is a raw hard disk image for IDE hard disk 0\n"
    ));
    for (group, options) in OPTIONS {
        text.push_str(&format!("\n{group}:\n"));
        for option in *options {
            let head = format!("-{} {}", option.name, option.argument);
            let head = head.trim_end();
            if option.help.is_empty() {
                text.push_str(&format!("{head}\n"));
            } else {
                text.push_str(&format!("{head:<15} {}\n", option.help));
            }
        }
    }
    text
}

/// What `-version` prints.
pub(crate) fn version() -> String {
    format!(
        "QEMU emulator version 10.0.2 ({} {})\n",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION")
    )
}
