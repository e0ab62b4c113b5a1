//! `-readconfig`: options from a file of groups.
//!
//! ```text
//!   # a comment
//!   [GROUP] or [GROUP "ID"]
//!     KEY = "VALUE"
//! ```
//! A group becomes the option that has its name (some have another one there), its keys the option's pairs.

use qapi::{Error, Result};

use super::{apply, find};
use crate::plan::Plan;

/// Groups whose option has another name.
const OTHER_NAMES: &[(&str, &str)] = &[("memory", "m"), ("smp-opts", "smp"), ("boot-opts", "boot")];

/// Largest file.
const MOST: u64 = 1 << 20;

struct Group {
    option: String,
    pairs: Vec<(String, String)>,
}

/// Reads the file and does what it says.
pub(super) fn read(plan: &mut Plan, path: &str) -> Result<()> {
    let failed =
        |error: &std::io::Error| Error::from_io(format!("Cannot read config file {path}"), error);
    let size = std::fs::metadata(path)
        .map_err(|error| failed(&error))?
        .len();
    if size > MOST {
        return Err(Error::new(format!(
            "Cannot read config file {path}: too large"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    for group in groups(&text, path)? {
        let entry = find(&group.option)
            .ok_or_else(|| Error::new(format!("There is no option group '{}'", group.option)))?;
        let escaped = |(name, value): &(String, String)| {
            let value = value.replace(',', ",,");
            format!("{name}={value}")
        };
        let value: Vec<String> = group.pairs.iter().map(escaped).collect();
        apply(plan, entry, &format!("-{}", entry.name), &value.join(","))?;
    }
    Ok(())
}

fn groups(text: &str, path: &str) -> Result<Vec<Group>> {
    let mut all: Vec<Group> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        let wrong = |what: &str| Error::new(format!("{path}:{}: {what}", n + 1));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(head) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let (name, id) = match head.split_once(' ') {
                None => (head, None),
                Some((name, id)) => (name, quoted(id.trim())),
            };
            let other = OTHER_NAMES.iter().find(|(group, _)| *group == name);
            all.push(Group {
                option: other.map_or(name, |(_, option)| option).to_owned(),
                pairs: id
                    .map(|id| ("id".to_owned(), id.to_owned()))
                    .into_iter()
                    .collect(),
            });
            continue;
        }
        let pair = line
            .split_once('=')
            .and_then(|(name, value)| Some((name.trim(), quoted(value.trim())?)));
        let (name, value) = pair.ok_or_else(|| wrong("parse error"))?;
        let group = all.last_mut().ok_or_else(|| wrong("no group defined"))?;
        group.pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(all)
}

fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}
