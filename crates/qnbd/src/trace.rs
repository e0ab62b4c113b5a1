//! `-T/--trace`: logs of what happens inside, to standard error or a file, as with `qimg`.

use std::fs::File;
use std::sync::Mutex;

use qapi::{Error, Result, opts};
use tracing_subscriber::EnvFilter;

/// Parts of the program that have something to log.
const PARTS: &[&str] = &[
    "block", "nbd", "qnbd", "reactor", "debug", "info", "warn", "error",
];

/// Turns on what the values of `-T` ask for.
///
/// # Errors
/// When a file named in one cannot be read or made.
pub(crate) fn start(values: &[String]) -> Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let mut patterns = Vec::new();
    let mut target = None;
    for (name, text) in values.iter().flat_map(|v| opts::split(v, Some("enable"))) {
        match name.as_str() {
            "file" => target = Some(text),
            "events" => {
                let listed = std::fs::read_to_string(&text).map_err(|e| {
                    Error::from_io(format!("Could not open trace events file '{text}'"), &e)
                })?;
                let lines = listed.lines().map(str::trim);
                patterns.extend(
                    lines
                        .filter(|l| !l.is_empty() && !l.starts_with('#'))
                        .map(str::to_owned),
                );
            }
            _ => patterns.push(text),
        }
    }
    let filter = patterns.iter().fold(EnvFilter::new("off"), enable);
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
fn enable(filter: EnvFilter, pattern: &String) -> EnvFilter {
    let directive = match pattern.trim_end_matches('*') {
        "" => "trace".to_owned(),
        prefix if prefix.contains('=') => prefix.to_owned(),
        prefix => format!("{prefix}=trace"),
    };
    match directive.parse() {
        Ok(parsed) if directive == "trace" || PARTS.iter().any(|p| directive.starts_with(p)) => {
            filter.add_directive(parsed)
        }
        _ => {
            qapi::warn(&format!("trace event '{pattern}' does not exist"));
            filter
        }
    }
}
