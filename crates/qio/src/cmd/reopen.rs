//! `reopen`: the same disk with other options.

use std::sync::Arc;

use block::CacheMode;
use block::core::Node;
use qapi::{Error, Result, opts};

use super::disk::told;
use crate::number::Failed;
use crate::shell::{Call, Reopen, Shell, Source};

/// Options that say what a node is, and stay.
const FIXED: [&str; 2] = ["node-name", "driver"];
const CACHE: [&str; 2] = ["cache.direct", "cache.no-flush"];

/// Runs the command: the file is let go of by the caller, and opened anew after.
pub(super) async fn run(shell: &mut Shell, call: &Call<'_>) -> std::result::Result<(), Failed> {
    if call.has("r") && call.has("w") {
        return Err(told(&Error::new("Only one -r/-w option may be given")));
    }
    if !call.operands().is_empty() {
        return Err(call.usage());
    }
    shell.reopen = Some(read(call).map_err(|e| told(&e))?);
    Ok(())
}

fn read(call: &Call<'_>) -> Result<Reopen> {
    let disk = call
        .disk
        .ok_or_else(|| Error::new("no file open, try 'help open'"))?;
    let mut mode = disk.mode;
    mode.read_only = (mode.read_only || call.has("r")) && !call.has("w");
    if let Some(text) = call.options.value("c") {
        mode.any_cache = false;
        mode.cache = CacheMode::parse(text)
            .ok_or_else(|| Error::new(format!("Invalid cache option: {text}")))?;
    }
    let mut kept = Vec::new();
    for (name, value) in opts::split(call.options.value("o").unwrap_or_default(), None) {
        if name == "read-only" && (call.has("r") || call.has("w")) {
            return Err(Error::new("Cannot set both -r/-w and 'read-only'"));
        }
        if CACHE.contains(&name.as_str()) && call.has("c") {
            return Err(Error::new("Cannot set both -c and the cache options"));
        }
        if name == "read-only" {
            mode.read_only = opts::parse_bool(&name, &value)?;
            continue;
        }
        if CACHE.contains(&name.as_str()) || name == "auto-read-only" {
            opts::parse_bool(&name, &value)?;
        }
        stays(&disk.root.node(), &name, &value)?;
        kept.push((name, value));
    }
    let source = with_options(&disk.source, disk.root.node().driver(), &kept);
    Ok(Reopen { mode, source })
}

/// Refuses another driver or name of a node, which `name` leads to by the names of children.
fn stays(top: &Arc<Node>, name: &str, value: &str) -> Result<()> {
    let (path, last) = name.rsplit_once('.').unwrap_or(("", name));
    if !FIXED.contains(&last) {
        return Ok(());
    }
    let mut node = Arc::clone(top);
    for child in path.split('.').filter(|part| !part.is_empty()) {
        let Some(edge) = node.children().into_iter().find(|e| e.name() == child) else {
            return Ok(());
        };
        node = edge.node();
    }
    let now = if last == "driver" {
        node.driver()
    } else {
        node.name()
    };
    if now == value {
        return Ok(());
    }
    Err(Error::new(format!("Cannot change the option '{last}'")))
}

/// What to open: as before, with more options, of which the last of a name counts.
fn with_options(source: &Source, driver: &str, more: &[(String, String)]) -> Source {
    if more.is_empty() {
        return source.clone();
    }
    let (text, name) = match source {
        Source::Name(name, _) => (format!("driver={driver}"), Some(name)),
        Source::Options(text) => (text.clone(), None),
        Source::Both(text, name) => (text.clone(), Some(name)),
    };
    let mut all = opts::split(&text, None);
    for (name, value) in more {
        all.retain(|(n, _)| n != name);
        all.push((name.clone(), value.clone()));
    }
    let words: Vec<String> = all
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace(',', ",,")))
        .collect();
    let text = words.join(",");
    match name {
        Some(name) => Source::Both(text, name.clone()),
        None => Source::Options(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_options_replace_earlier_ones_of_their_name() {
        let more = [("lazy-refcounts".to_owned(), "on".to_owned())];
        let name = Source::Name("a,b".to_owned(), None);
        let Source::Both(text, name) = with_options(&name, "qcow2", &more) else {
            panic!("a name stays a name");
        };
        assert_eq!(
            (text.as_str(), name.as_str()),
            ("driver=qcow2,lazy-refcounts=on", "a,b")
        );
        let options = Source::Options("lazy-refcounts=off,file.filename=a,,b".to_owned());
        let Source::Options(text) = with_options(&options, "qcow2", &more) else {
            panic!("options stay options");
        };
        assert_eq!(text, "file.filename=a,,b,lazy-refcounts=on");
    }
}
