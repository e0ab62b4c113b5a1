//! Tables of options: the command line is read by them as getopt does, and help, man page and completions are printed from
//! them.

use clap::{Arg, ArgAction, Command, ValueHint};
use qapi::getopt::Opt;
use qapi::prog_name;

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// How it is written.
    pub opt: Opt,
    /// What its value is called; empty when it has none.
    pub value: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// Options that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// What stands above them.
    pub title: &'static str,
    /// In the order in which getopt lists what an abbreviation may mean.
    pub entries: &'static [Entry],
}

/// `-r, --read-only`
#[must_use]
pub const fn flag(letter: char, long: &'static str, help: &'static str) -> Entry {
    Entry {
        opt: Opt::both(letter, long, false),
        value: "",
        help,
    }
}

/// `-f, --format=FMT`
#[must_use]
pub const fn with(
    letter: char,
    long: &'static str,
    value: &'static str,
    help: &'static str,
) -> Entry {
    Entry {
        opt: Opt::both(letter, long, true),
        value,
        help,
    }
}

/// `--image-opts`
#[must_use]
pub const fn long_flag(long: &'static str, help: &'static str) -> Entry {
    Entry {
        opt: Opt::long(long, false),
        value: "",
        help,
    }
}

/// `--object=DEF`
#[must_use]
pub const fn long_with(long: &'static str, value: &'static str, help: &'static str) -> Entry {
    Entry {
        opt: Opt::long(long, true),
        value,
        help,
    }
}

/// What getopt needs of a table.
#[must_use]
pub fn for_getopt(entries: &[Entry]) -> Vec<Opt> {
    entries.iter().map(|entry| entry.opt).collect()
}

/// A tool without commands, as pages and completions describe it.
#[derive(Debug, Clone, Copy)]
pub struct Sheet {
    /// What `--version` shows.
    pub version: &'static str,
    /// What the tool does.
    pub about: &'static str,
    /// Command lines, in which `{prog}` stands for the tool's name.
    pub examples: &'static str,
    /// All options.
    pub groups: &'static [Group],
    /// What its operand is.
    pub file: &'static str,
}

impl Sheet {
    /// The examples under the name that the tool is called by.
    #[must_use]
    pub fn examples(&self) -> String {
        self.examples.replace("{prog}", prog_name())
    }

    /// The whole command line as one definition.
    #[must_use]
    pub fn whole(&self) -> Command {
        let mut command = Command::new(prog_name())
            .version(self.version)
            .about(self.about)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .after_help(self.examples());
        for group in self.groups {
            command = command.next_help_heading(group.title);
            command = command.args(group.entries.iter().map(Entry::arg));
        }
        let file = Arg::new("FILE").help(self.file);
        command.arg(file.value_hint(ValueHint::FilePath))
    }
}

impl Entry {
    fn arg(&self) -> Arg {
        let id = self.opt.long.unwrap_or_default();
        let mut arg = Arg::new(id).long(id).help(self.help);
        if let Some(letter) = self.opt.short {
            arg = arg.short(letter);
        }
        if self.opt.value {
            arg.value_name(self.value).action(ArgAction::Append)
        } else {
            arg.action(ArgAction::SetTrue)
        }
    }
}
