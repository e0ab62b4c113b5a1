//! `-T/--trace`: logs of what happens inside, to standard error or a file.
//!
//! ```text
//! -T PATTERN                 targets and levels as `tracing` filters know them: block_formats, block=debug, *
//! -T [enable=]PATTERN,events=FILE,file=FILE
//! -T help                    a list
//! ```

use std::fs::File;
use std::sync::Mutex;

use qapi::{Error, Result, opts};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// Turns on what the values of `-T` ask for.
///
/// # Errors
/// When a file named in one cannot be read or made.
pub fn start(values: &[String]) -> Result<()> {
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

/// Families of names that the reference gives its trace points, and the parts of ours that tell the same.
const FAMILIES: &[(&str, &str)] = &[
    ("bdrv_", "block_core"),
    ("blk_", "block_core"),
    ("file_", "block_protocols"),
    ("luring_", "block_protocols"),
    ("nbd_", "block_protocols"),
    ("nbd_", "block_export"),
    ("qcow2_", "block_formats::qcow2"),
    ("qed_", "block_formats::qed"),
    ("thread_pool_", "block_protocols"),
];

/// Our own targets and levels begin so.
const OURS: &[&str] = &[
    "block",
    "nbd_proto",
    "qapi",
    "qimg",
    "qio",
    "qnbd",
    "reactor",
    "trace",
    "debug",
    "info",
    "warn",
    "error",
];

/// A name that nothing has is told, and does no harm; a pattern may match nothing.
fn enable(filter: EnvFilter, pattern: &str) -> EnvFilter {
    let directives: Vec<Directive> = directives(pattern)
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    if directives.is_empty() && !pattern.contains('*') {
        qapi::warn(&format!("trace event '{pattern}' does not exist"));
    }
    directives
        .into_iter()
        .fold(filter, EnvFilter::add_directive)
}

/// What a pattern means to `tracing`, if anything.
fn directives(pattern: &str) -> Vec<String> {
    let name = pattern.trim_end_matches('*');
    if name.is_empty() {
        return vec!["trace".to_owned()];
    }
    if OURS.iter().any(|ours| name.starts_with(ours)) && !name.starts_with("block_copy") {
        return vec![match name.contains('=') {
            true => name.to_owned(),
            false => format!("{name}=trace"),
        }];
    }
    FAMILIES
        .iter()
        .filter(|(prefix, _)| name.starts_with(prefix))
        .map(|(_, target)| format!("{target}=trace"))
        .collect()
}

/// Whether what is asked for is a list of what can be; it is printed then.
pub fn help(values: &[String]) -> bool {
    let asked = values.iter().any(|value| value == "help" || value == "?");
    if asked {
        // Families of two parts stand side by side.
        let mut families: Vec<&str> = FAMILIES.iter().map(|(family, _)| *family).collect();
        families.dedup();
        for family in families {
            qapi::out::line(format!("{family}*"));
        }
        for target in [
            "block_core",
            "block_formats",
            "block_protocols",
            "block_jobs",
            "block_export",
        ] {
            qapi::out::line(target);
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_reference_stand_for_parts_of_ours() {
        let text = |pattern| directives(pattern).join(",");
        assert_eq!(text("qcow2_*"), "block_formats::qcow2=trace");
        assert_eq!(text("bdrv_co_preadv_part"), "block_core=trace");
        assert_eq!(text("block_formats=debug"), "block_formats=debug");
        assert_eq!(text("*"), "trace");
        let nbd = "block_protocols=trace,block_export=trace";
        assert_eq!(text("nbd_*"), nbd);
        assert_eq!(text("lunch"), "");
        assert_eq!(text("block_copy_process"), "");
    }
}
