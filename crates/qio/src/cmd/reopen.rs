//! `reopen`: the same disk with other options.

use std::sync::Arc;

use block::CacheMode;
use block::core::Node;
use qapi::{Error, Result, opts};

use super::disk::told;
use crate::number::Failed;
use crate::shell::{Call, Reopen, Shell, Source};

const CACHE: [&str; 2] = ["cache.direct", "cache.no-flush"];
/// Sizes of qcow2's caches: of all, and of each.
const CACHE_SIZES: [&str; 3] = ["cache-size", "l2-cache-size", "refcount-cache-size"];
/// What every open node can change.
const CHANGEABLE: [&str; 4] = ["read-only", "auto-read-only", "discard", "detect-zeroes"];

/// What an open node of a driver can change besides.
fn changeable(driver: &str) -> &'static [&'static str] {
    match driver {
        "qcow2" => &[
            "lazy-refcounts",
            "pass-discard-request",
            "pass-discard-snapshot",
            "pass-discard-other",
            "discard-no-unref",
            "overlap-check",
            "cache-size",
            "l2-cache-size",
            "l2-cache-entry-size",
            "refcount-cache-size",
            "cache-clean-interval",
            "encrypt",
        ],
        "raw" => &["offset", "size"],
        "throttle" => &["throttle-group"],
        _ => &[],
    }
}

/// Runs the command: the file is let go of by the caller, and opened anew after.
pub(super) async fn run(shell: &mut Shell, call: &Call<'_>) -> std::result::Result<(), Failed> {
    let modes = call.options.options.iter();
    if modes.filter(|(key, _)| key == "r" || key == "w").count() > 1 {
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
    for (name, value) in opts::split_noisily(&call.options.values("o").join(","), None) {
        if name == "read-only" && (call.has("r") || call.has("w")) {
            return Err(Error::new("Cannot set both -r/-w and 'read-only'"));
        }
        if CACHE.contains(&name.as_str()) && call.has("c") {
            return Err(Error::new("Cannot set both -c and the cache options"));
        }
        if name == "read-only" {
            let read_only = opts::parse_bool(&name, &value)?;
            if read_only && !mode.read_only {
                return Err(Error::new(format!(
                    "Read-only block node '{}' cannot support read-write users",
                    disk.root.node().name()
                )));
            }
            mode.read_only = read_only;
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

/// Refuses what an open node cannot change. `name` leads to the node by the names of children.
fn stays(top: &Arc<Node>, name: &str, value: &str) -> Result<()> {
    let mut node = Arc::clone(top);
    let mut option = name;
    while let Some((child, rest)) = option.split_once('.') {
        let Some(edge) = node.children().into_iter().find(|e| e.name() == child) else {
            break;
        };
        node = edge.node();
        option = rest;
    }
    if option == "backing" || node.children().iter().any(|e| e.name() == option) {
        // GAP: another child for an open node; it has no name that could be found.
        return Err(Error::new(format!(
            "Cannot find device='' nor node-name='{value}'"
        )));
    }
    let first = option.split('.').next().unwrap_or_default();
    let may = CHANGEABLE.contains(&option)
        || CACHE.contains(&option)
        || changeable(node.driver()).contains(&first);
    let now = match option {
        "driver" => node.driver().to_owned(),
        "node-name" => node.name().to_owned(),
        "filename" => node.filename().to_owned(),
        _ => node
            .options()
            .get_str(option)
            .unwrap_or_default()
            .to_owned(),
    };
    if may || (now == value && !option.is_empty()) {
        return Ok(());
    }
    Err(Error::new(format!("Cannot change the option '{option}'")))
}

/// Whether a new option takes the place of an old one of another name.
fn replaces(new: &str, old: &str) -> bool {
    match new {
        "overlap-check" | "overlap-check.template" => old.starts_with("overlap-check"),
        "cache-size" => CACHE_SIZES.contains(&old),
        _ => false,
    }
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
    all.retain(|(old, _)| !more.iter().any(|(new, _)| replaces(new, old)));
    for (name, value) in more {
        all.retain(|(n, _)| n != name);
        all.push((name.clone(), value.clone()));
    }
    let given = |name: &str| more.iter().any(|(n, _)| n == name);
    if CACHE_SIZES
        .iter()
        .all(|size| all.iter().any(|(n, _)| n == size))
        && !given("cache-size")
    {
        // The two parts decide over what the whole was.
        all.retain(|(n, _)| n != "cache-size");
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
