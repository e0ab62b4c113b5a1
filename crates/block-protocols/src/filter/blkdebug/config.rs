//! Rules from a file and from options.
//!
//! ```text
//! file    = { empty | "#" comment | "[" group "]" | "[" group ' "' id '"]' | setting }
//! setting = name "=" '"' value '"'
//! group   = "inject-error" | "set-state"
//! ```

use qapi::{Dict, Error, Value};

use super::rules::Rules;

/// Sections of a file that will be looked at; a test's file has a handful.
const MAX_LINES: usize = 100_000;

const GROUPS: [(&str, &[&str]); 2] = [
    (
        "inject-error",
        &[
            "event",
            "state",
            "iotype",
            "errno",
            "sector",
            "once",
            "immediately",
        ],
    ),
    ("set-state", &["event", "state", "new_state"]),
];

/// Sections in order, by group.
type Sections = Vec<(&'static str, Dict)>;

/// Reads the rules of a file's text and of a node's options, and takes the latter out.
///
/// # Errors
/// In QEMU's words.
pub(super) fn read(text: Option<&str>, options: &mut Dict) -> qapi::Result<Rules> {
    let mut sections = match text {
        Some(text) => of_file(text)?,
        None => Vec::new(),
    };
    for (group, known) in GROUPS {
        of_options(group, known, options, &mut sections)?;
    }
    let mut rules = Rules::new();
    for (group, _) in GROUPS {
        for (_, section) in sections.iter_mut().filter(|(of, _)| *of == group) {
            rules.add_section(group, section)?;
        }
    }
    Ok(rules)
}

fn of_file(text: &str) -> qapi::Result<Sections> {
    let mut sections: Sections = Vec::new();
    for line in text.lines().take(MAX_LINES) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(group) = group_of(line) {
            let (name, _) = GROUPS
                .into_iter()
                .find(|(known, _)| *known == group)
                .ok_or_else(|| Error::new(format!("There is no option group '{group}'")))?;
            sections.push((name, Dict::new()));
            continue;
        }
        let Some((group, section)) = sections.last_mut() else {
            return Err(Error::new("no group defined"));
        };
        let (name, value) = setting(line).ok_or_else(|| Error::new("parse error"))?;
        let known = GROUPS
            .iter()
            .any(|(g, names)| g == group && names.contains(&name));
        if !known {
            return Err(Error::new(format!("Invalid parameter '{name}'")));
        }
        section.insert(name, value);
    }
    Ok(sections)
}

fn group_of(line: &str) -> Option<&str> {
    let inner = line.strip_prefix('[')?;
    let end = inner.find(']')?;
    let name = inner[..end].split(' ').next()?;
    (!name.is_empty()).then_some(name)
}

fn setting(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let value = value.trim_start().strip_prefix('"')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name, value.split('"').next().unwrap_or_default()))
}

/// `GROUP.event=...`, or `GROUP.0.event=...` and so on.
fn of_options(
    group: &'static str,
    known: &[&str],
    options: &mut Dict,
    sections: &mut Sections,
) -> qapi::Result<()> {
    let list = match options.remove(group) {
        None => return Ok(()),
        Some(Value::List(list)) => list,
        Some(Value::Dict(one)) if one.iter().any(|(key, _)| known.contains(&key)) => {
            let unknown = one.iter().find(|(key, _)| !known.contains(key));
            if let Some((key, _)) = unknown {
                return Err(Error::new(format!("Unknown option '{key}' for [{group}]")));
            }
            sections.push((group, one));
            return Ok(());
        }
        Some(Value::Dict(mut numbered)) => {
            let mut list = Vec::new();
            while let Some(value) = numbered.remove(&list.len().to_string()) {
                list.push(value);
            }
            if let Some((key, value)) = numbered.iter().next() {
                let below = match value {
                    Value::Dict(section) => section.iter().next(),
                    _ => None,
                };
                let below = below.map_or(String::new(), |(name, _)| format!(".{name}"));
                return Err(Error::new(format!(
                    "Unused option '{key}{below}' for [{group}]"
                )));
            }
            list
        }
        Some(_) => {
            return Err(Error::new(format!(
                "Block protocol 'blkdebug' doesn't support the option '{group}'"
            )));
        }
    };
    for (index, value) in list.into_iter().enumerate() {
        let Value::Dict(section) = value else {
            return Err(Error::new(format!(
                "[{group}] section (index {index}) does not consist of keys"
            )));
        };
        if let Some((key, _)) = section.iter().find(|(key, _)| !known.contains(key)) {
            return Err(Error::new(format!(
                "[{group}] section doesn't support the option '{key}'"
            )));
        }
        sections.push((group, section));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        read(Some(text), &mut Dict::new())
            .unwrap_err()
            .message()
            .to_owned()
    }

    #[test]
    fn files_are_read_and_damaged_ones_refused() {
        let good = "# rules\n\n[inject-error]\nevent = \"l2_load\"\nonce =\"on\"\n[set-state \"x\"]\nevent=\"none\"\n";
        assert!(read(Some(good), &mut Dict::new()).is_ok());
        assert_eq!(message("event = \"x\"\n"), "no group defined");
        assert_eq!(message("[lunch]\n"), "There is no option group 'lunch'");
        assert_eq!(message("[set-state]\nnew_state 3\n"), "parse error");
        assert_eq!(
            message("[set-state]\nonce = \"on\"\n"),
            "Invalid parameter 'once'"
        );
        assert_eq!(message("[set-state]\n"), "Missing event name for rule");
    }

    #[test]
    fn options_give_one_rule_or_numbered_ones() {
        let mut section = Dict::new();
        section.insert("event", "none");
        let mut options = Dict::new();
        options.insert("inject-error", section.clone());
        assert!(read(None, &mut options).is_ok());
        assert!(options.is_empty());
        let mut numbered = Dict::new();
        numbered.insert("1", section);
        options.insert("inject-error", numbered);
        let error = read(None, &mut options).unwrap_err();
        assert_eq!(
            error.message(),
            "Unused option '1.event' for [inject-error]"
        );
    }
}
