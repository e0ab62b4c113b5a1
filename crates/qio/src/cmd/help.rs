//! `help`

use super::Command;
use crate::number::Failed;
use crate::shell::commands;
use qapi::out;

pub(super) const HELP: Command = Command {
    args: "[command]",
    count: (0, Some(1)),
    without_file: true,
    waits: false,
    ..Command::plain(&["help", "?"], "help for one or all commands", |_, call| {
        Box::pin(async move {
            let Some(name) = call.operands().first() else {
                for command in commands() {
                    one_line(command);
                }
                out::line("\nUse 'help commandname' for extended help.");
                return Ok(());
            };
            let Some(command) = super::find(name) else {
                out::line(format!("command {name} not found"));
                return Err(Failed);
            };
            one_line_as(name, command);
            if !command.more.is_empty() {
                out::line(format!("\n{}\n", command.more));
            }
            Ok(())
        })
    })
};

/// `NAME ARGS -- WHAT`
pub(crate) fn one_line(command: &Command) {
    one_line_as(command.names.first().copied().unwrap_or_default(), command);
}

/// The same under the name that was asked for.
fn one_line_as(name: &str, command: &Command) {
    let space = if command.args.is_empty() { "" } else { " " };
    out::line(format!(
        "{name}{space}{} -- {}",
        command.args, command.about
    ));
}
