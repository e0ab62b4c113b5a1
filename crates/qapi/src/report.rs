//! The one printer of `PROG: message`.

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::calendar::date_of;

/// The name the program was called by, without folder: what scripts expect before every message.
pub fn prog_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let called = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&called).file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    })
}

/// Whether messages carry the time.
static STAMPED: AtomicBool = AtomicBool::new(false);

/// Messages carry the time from now on, or no longer (`-msg timestamp=`).
pub fn stamp(on: bool) {
    STAMPED.store(on, Ordering::Relaxed);
}

/// The time in front of a message: `2006-06-17T16:01:21.123456Z `, or nothing.
fn time() -> String {
    if !STAMPED.load(Ordering::Relaxed) {
        return String::new();
    }
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let date = date_of(i64::try_from(since.as_secs()).unwrap_or_default());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z ",
        date.year,
        date.month,
        date.day,
        date.hour,
        date.minute,
        date.second,
        since.subsec_micros()
    )
}

/// Prints an error and its hint lines to standard error.
pub fn report(error: &Error) {
    let mut text = error.to_string();
    if let Some(hint) = error.hint_text() {
        text.push('\n');
        text.push_str(hint.trim_end_matches('\n'));
    }
    tell(&text);
}

/// Prints a warning to standard error.
pub fn warn(message: &str) {
    tell(&format!("warning: {message}"));
}

/// Prints a message to standard error, the program's name in front.
pub fn tell(message: &str) {
    // Nobody may be there to read it any more, which is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{}{}: {message}", time(), prog_name());
}
