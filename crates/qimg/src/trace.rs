//! `-T/--trace`: logs of what happens inside, to standard error or a file.
//!
//! ```text
//! -T PATTERN                 targets and levels as `tracing` filters know them: block_formats, block=debug, *
//! -T [enable=]PATTERN,events=FILE,file=FILE
//! ```

use std::fs::File;
use std::sync::Mutex;

use qapi::{Error, Result, opts};
use tracing_subscriber::EnvFilter;

/// Turns on what the values of `-T` ask for.
///
/// # Errors
/// When a file named in one cannot be read or made.
pub(crate) fn start(values: &[String]) -> Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let mut filter = EnvFilter::new("off");
    let mut target = None;
    for value in values {
        for (name, text) in opts::split(value, Some("enable")) {
            match name.as_str() {
                "file" => target = Some(text),
                "events" => {
                    let listed = std::fs::read_to_string(&text).map_err(|e| {
                        Error::from_io(format!("Could not open trace events file '{text}'"), &e)
                    })?;
                    for line in listed.lines().map(str::trim) {
                        if !line.is_empty() && !line.starts_with('#') {
                            filter = enable(filter, line);
                        }
                    }
                }
                _ => filter = enable(filter, &text),
            }
        }
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match target {
        None => log.with_writer(std::io::stderr).init(),
        Some(path) => {
            let file = File::create(&path)
                .map_err(|e| Error::from_io(format!("Could not open trace file '{path}'"), &e))?;
            log.with_ansi(false).with_writer(Mutex::new(file)).init();
        }
    }
    Ok(())
}

/// A pattern of QEMU's names is no target of ours: it is told, and does no harm.
fn enable(filter: EnvFilter, pattern: &str) -> EnvFilter {
    let directive = match pattern.trim_end_matches('*') {
        "" => "trace".to_owned(),
        prefix if prefix.contains('=') => prefix.to_owned(),
        prefix => format!("{prefix}=trace"),
    };
    let known = [
        "block", "qimg", "qapi", "reactor", "trace", "debug", "info", "warn", "error",
    ];
    match directive.parse() {
        Ok(parsed) if known.iter().any(|k| directive.starts_with(k)) => {
            filter.add_directive(parsed)
        }
        _ => {
            qapi::warn(&format!("trace event '{pattern}' does not exist"));
            filter
        }
    }
}
