//! Skipping: a test that cannot run records why and returns. The test runner calls it passed, so the
//! record (one line `test<TAB>reason` in the file that `HOUSE_SKIPS` names) lets `cargo xtask test` move
//! it to the skipped ones.

use std::fs::OpenOptions;
use std::io::Write;

/// Records that the running test was skipped.
///
/// # Panics
/// When the record cannot be written: a skip must never be lost.
pub fn record(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("unnamed");
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(path) = std::env::var_os("HOUSE_SKIPS") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("the file that HOUSE_SKIPS names can be opened");
        file.write_all(format!("{test}\t{reason}\n").as_bytes())
            .expect("a skip can be recorded");
    }
}

/// Ends the test as skipped, with a reason in `format!`'s words.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::skip::record(&format!($($reason)*));
        return;
    }};
}

/// The value of a `Result<T, String>`, or ends the test as skipped with the error as the reason.
#[macro_export]
macro_rules! require {
    ($value:expr) => {
        match $value {
            Ok(value) => value,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}
