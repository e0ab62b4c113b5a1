//! The human monitor: what a line means.
//!
//! ```text
//! line    = command-word { argument }
//! command = "info" item { argument } | name { argument }      no abbreviations; "stop" has the alias "s"
//! ```
//! A command states the pattern of its arguments ([`Arg`]); the line is read by it, and what cannot be read is
//! told in QEMU's words. Commands print by appending to a text.

mod args;
mod editor;
mod expr;
mod help;

use std::future::Future;
use std::pin::Pin;

use qapi::Result;

pub use args::{Arg, Args, DumpFormat, Given, Kind};
pub use editor::{Editor, Step, columns};
pub use expr::{Registers, evaluate};

/// What a command does; its text goes to the person, its error is told as `Error: ...`.
pub type Printed<'a> = Pin<Box<dyn Future<Output = Result<String>> + Send + 'a>>;

/// A command of the human monitor over a context `C`.
pub struct HmpCommand<C: 'static> {
    /// Its names, aliases behind `|`: `stop|s`.
    pub name: &'static str,
    /// Its arguments, in order.
    pub args: &'static [Arg],
    /// The arguments as help shows them.
    pub params: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
    /// Does it.
    pub run: for<'a> fn(&'a C, Args) -> Printed<'a>,
}

impl<C> HmpCommand<C> {
    fn is_called(&self, word: &str) -> bool {
        self.name.split('|').any(|name| name == word)
    }
}

/// The commands of one program, and its `info` items.
pub struct Hmp<C: 'static> {
    /// Lists of commands.
    pub commands: Vec<&'static [HmpCommand<C>]>,
    /// Lists of items behind `info`.
    pub items: Vec<&'static [HmpCommand<C>]>,
}

/// A line that was understood.
enum Understood<'h, C: 'static> {
    Nothing,
    Help(&'h str),
    Run(&'h HmpCommand<C>, Args),
}

impl<C: Registers> Hmp<C> {
    /// Runs one line; gives what is to be printed, lines ended by `\n`.
    pub async fn run(&self, context: &C, line: &str) -> String {
        match self.understand(context, line) {
            Ok(Understood::Nothing) => String::new(),
            Ok(Understood::Help(word)) => self.help(word),
            Ok(Understood::Run(command, args)) => match (command.run)(context, args).await {
                Ok(text) => text,
                Err(error) => told(&error),
            },
            Err(text) => text,
        }
    }

    fn understand<'h>(
        &'h self,
        context: &C,
        line: &'h str,
    ) -> std::result::Result<Understood<'h, C>, String> {
        let line = line.trim_start();
        if line.is_empty() {
            return Ok(Understood::Nothing);
        }
        let (word, rest) = first_word(line);
        let (command, rest) = match word {
            "help" | "?" => return Ok(Understood::Help(rest.trim())),
            "info" if rest.trim().is_empty() => return Ok(Understood::Help("info")),
            "info" => {
                let (item, rest) = first_word(rest.trim_start());
                (self.item(item), rest)
            }
            _ => (self.command(word), rest),
        };
        let Some(command) = command else {
            return Err(unknown(line[..line.len() - rest.len()].trim_end()));
        };
        match args::read(command.args, rest, context) {
            Ok(args) => Ok(Understood::Run(command, args)),
            Err(fault) => Err(format!(
                "{}\nTry \"help {word}\" for more information\n",
                fault.text(command.name),
            )),
        }
    }

    fn command(&self, word: &str) -> Option<&HmpCommand<C>> {
        let all = self.commands.iter().copied().flatten();
        all.into_iter().find(|c| c.is_called(word))
    }

    fn item(&self, word: &str) -> Option<&HmpCommand<C>> {
        let all = self.items.iter().copied().flatten();
        all.into_iter().find(|c| c.is_called(word))
    }

    /// What could stand at the end of `line`: names of commands or items that begin like its last word.
    pub fn complete(&self, line: &str) -> Vec<&'static str> {
        let line = line.trim_start();
        let (word, rest) = first_word(line);
        let (lists, begin) = match word {
            "info" if !rest.is_empty() => (&self.items, rest.trim_start()),
            _ if rest.is_empty() => (&self.commands, word),
            _ => return Vec::new(),
        };
        let names = lists.iter().copied().flatten();
        let mut found: Vec<_> = names
            .flat_map(|c| c.name.split('|'))
            .filter(|name| name.starts_with(begin))
            .collect();
        found.sort_unstable();
        found
    }
}

fn unknown(words: &str) -> String {
    format!("unknown command: '{words}'\n")
}

/// An error as the monitor tells it.
fn told(error: &qapi::Error) -> String {
    let hint = error.hint_text().map(|h| format!("{h}\n"));
    format!("Error: {}\n{}", error.message(), hint.unwrap_or_default())
}

/// The first word and what follows it. A `/` ends a word too: `x/4i 0`.
fn first_word(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| c.is_whitespace() || c == '/')
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests;
