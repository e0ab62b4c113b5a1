//! Standard output, kept back as C programs do when it is no terminal: what goes to standard error comes first, and
//! transcripts of both in one file have the order that scripts know.

use std::io::{IsTerminal, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

struct Kept {
    text: String,
    terminal: bool,
}

/// Kept back at most.
const LIMIT: usize = 64 << 10;

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(|| {
    Mutex::new(Kept {
        text: String::new(),
        terminal: std::io::stdout().is_terminal(),
    })
});

/// Prints a text as it is.
pub fn text(text: &str) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.text.push_str(text);
    if kept.terminal || kept.text.len() >= LIMIT {
        write(&mut kept);
    }
}

/// Prints a line.
pub fn line(line: impl AsRef<str>) {
    text(&format!("{}\n", line.as_ref()));
}

/// Everything printed so far is out after.
pub fn flush() {
    write(&mut KEPT.lock().unwrap_or_else(PoisonError::into_inner));
}

fn write(kept: &mut Kept) {
    let mut out = std::io::stdout().lock();
    // A reader that went away is no reason to stop the work.
    let _ = out
        .write_all(kept.text.as_bytes())
        .and_then(|()| out.flush());
    kept.text.clear();
}
