//! Where lines come from: a terminal with editing and history, or a pipe that sees the bare prompt.

use std::io::IsTerminal;

use qapi::out;
use qapi::prog_name;
use rustyline::DefaultEditor;

/// A source of command lines.
pub(crate) enum Prompt {
    Terminal(Box<DefaultEditor>),
    Pipe,
}

impl Prompt {
    /// By what standard input is.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        match DefaultEditor::new() {
            Ok(editor) if terminal => Self::Terminal(Box::new(editor)),
            _ => Self::Pipe,
        }
    }

    /// The next line; `None` at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let prompt = format!("{}> ", prog_name());
        match self {
            Self::Terminal(editor) => {
                let line = editor.readline(&prompt).ok()?;
                // A line that cannot be remembered is no reason not to run it.
                let _ = editor.add_history_entry(&line);
                Some(line)
            }
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
