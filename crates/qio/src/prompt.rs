//! Where lines come from: a terminal with editing, history and completion of commands, or a pipe that sees the bare prompt.

use std::io::IsTerminal;

use qapi::out;
use qapi::prog_name;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use crate::cmd::COMMANDS;

/// Completes the names of commands.
pub(crate) struct Names;

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..at).unwrap_or(line);
        let names = COMMANDS.iter().filter_map(|c| c.names.first());
        let fit = names.filter(|name| name.starts_with(typed));
        Ok((0, fit.map(|name| (*name).to_owned()).collect()))
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}

impl Validator for Names {}

impl Helper for Names {}

/// A source of command lines.
pub(crate) enum Prompt {
    Terminal(Box<Editor<Names, DefaultHistory>>),
    Pipe,
}

impl Prompt {
    /// By what standard input is.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        match Editor::new() {
            Ok(mut editor) if terminal => {
                editor.set_helper(Some(Names));
                Self::Terminal(Box::new(editor))
            }
            _ => Self::Pipe,
        }
    }

    /// The next line; `None` at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let prompt = format!("{}> ", prog_name());
        match self {
            Self::Terminal(editor) => match editor.readline(&prompt) {
                Ok(line) => {
                    // A line that cannot be remembered is no reason not to run it.
                    let _ = editor.add_history_entry(&line);
                    Some(line)
                }
                Err(ReadlineError::Eof) => {
                    out::line("");
                    None
                }
                Err(_) => None,
            },
            Self::Pipe => {
                out::text(&prompt);
                out::flush();
                let mut line = String::new();
                match std::io::stdin().read_line(&mut line) {
                    Ok(read) if read > 0 => Some(line.trim_end_matches('\n').to_owned()),
                    _ => None,
                }
            }
        }
    }
}
