//! The one printer of `PROG: message`.

use std::path::Path;
use std::sync::OnceLock;

use crate::Error;

/// The name the program was called by, without folder: what scripts expect before every message.
pub fn prog_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let called = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&called).file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    })
}

/// Prints an error and its hint lines to standard error.
pub fn report(error: &Error) {
    eprintln!("{}: {error}", prog_name());
    if let Some(hint) = error.hint_text() {
        eprintln!("{}", hint.trim_end_matches('\n'));
    }
}

/// Prints a warning to standard error.
pub fn warn(message: &str) {
    eprintln!("{}: warning: {message}", prog_name());
}
