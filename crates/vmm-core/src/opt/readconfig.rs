//! `-readconfig`: options from a file of groups.
//!
//! ```text
//!   # a comment
//!   [GROUP] or [GROUP "ID"]
//!     KEY = "VALUE"
//! ```
//! A group becomes the option that has its name (some have another one there), its keys the option's pairs.

use std::path::Path;

use qapi::{Error, Result};

use super::{apply, find};
use crate::files;
use crate::plan::Plan;

/// Groups and the options that they are.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("accel", "accel"),
    ("action", "action"),
    ("boot-opts", "boot"),
    ("chardev", "chardev"),
    ("device", "device"),
    ("drive", "drive"),
    ("fw_cfg", "fw_cfg"),
    ("global", "global"),
    ("machine", "machine"),
    ("memory", "m"),
    ("mon", "mon"),
    ("msg", "msg"),
    ("name", "name"),
    ("net", "net"),
    ("netdev", "netdev"),
    ("nic", "nic"),
    ("object", "object"),
    ("overcommit", "overcommit"),
    ("rtc", "rtc"),
    ("sandbox", "sandbox"),
    ("smp-opts", "smp"),
];

/// Largest file.
const MOST: u64 = 1 << 20;

/// A group of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Keys and values in their order; an id is the first.
    pub pairs: Vec<(String, String)>,
}

/// Reads the file and does what it says.
pub(super) fn read(plan: &mut Plan, path: &str) -> Result<()> {
    let bytes = files::content(Path::new(path), MOST)
        .map_err(|error| Error::from_io(format!("Could not open '{path}'"), &error))?;
    for group in groups(&String::from_utf8_lossy(&bytes), path)? {
        let known = GROUPS.iter().find(|(name, _)| *name == group.name);
        let entry = known.and_then(|(_, option)| find(option));
        let entry = entry
            .ok_or_else(|| Error::new(format!("There is no option group '{}'", group.name)))?;
        let escaped = |(name, value): &(String, String)| {
            let value = value.replace(',', ",,");
            format!("{name}={value}")
        };
        let value: Vec<String> = group.pairs.iter().map(escaped).collect();
        apply(plan, entry, &format!("-{}", entry.name), &value.join(","))?;
    }
    Ok(())
}

/// Takes the text of a file apart; `path` is for messages.
///
/// # Errors
/// A line that is none, with its number.
pub fn groups(text: &str, path: &str) -> Result<Vec<Group>> {
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
            all.push(Group {
                name: name.to_owned(),
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
