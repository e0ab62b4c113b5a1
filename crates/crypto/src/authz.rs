//! Who may come in, by name: `authz-simple`, `authz-list`, `authz-list-file`.
//!
//! ```text
//! authz-simple      identity=NAME
//! authz-list        rules.N.match=TEXT, rules.N.policy=allow|deny, rules.N.format=exact|glob, policy=allow|deny
//! authz-list-file   filename=FILE: the same as JSON, {"rules": [...], "policy": ...}; refresh=on|off
//! ```
//! The first rule that matches decides, else the policy, which is to deny.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use object::ObjectType;
use qapi::{Dict, Error, Result, Value, json, opts};

/// Largest file of rules.
const MAX_FILE: u64 = 16 << 20;

/// One name.
pub(crate) const SIMPLE: ObjectType = ObjectType {
    name: "authz-simple",
    make: |options, _| Ok(Arc::new(Authorization::simple(options)?)),
};

/// Rules.
pub(crate) const LIST: ObjectType = ObjectType {
    name: "authz-list",
    make: |options, _| Ok(Arc::new(Authorization::list(options)?)),
};

/// Rules in a file.
pub(crate) const LIST_FILE: ObjectType = ObjectType {
    name: "authz-list-file",
    make: |options, _| Ok(Arc::new(Authorization::file(options)?)),
};

// GAP: modules of PAM are not loaded.
/// What the system says.
pub(crate) const PAM: ObjectType = ObjectType {
    name: "authz-pam",
    make: |_, _| Err(Error::new("authz-pam is not supported")),
};

/// Says whether a name may come in.
pub struct Authorization(Kind);

enum Kind {
    Simple(String),
    List(List),
    File {
        name: String,
        refresh: bool,
        read: Mutex<(Option<SystemTime>, List)>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Allow,
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    wanted: String,
    glob: bool,
    policy: Policy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct List {
    rules: Vec<Rule>,
    policy: Policy,
}

fn missing(name: &str) -> Error {
    Error::new(format!("Parameter '{name}' is missing"))
}

fn not_accepted(name: &str, value: &str) -> Error {
    Error::new(format!(
        "Parameter '{name}' does not accept value '{value}'"
    ))
}

fn take_policy(options: &mut Dict) -> Result<Option<Policy>> {
    match opts::take_str(options, "policy")?.as_deref() {
        None => Ok(None),
        Some("allow") => Ok(Some(Policy::Allow)),
        Some("deny") => Ok(Some(Policy::Deny)),
        Some(other) => Err(not_accepted("policy", other)),
    }
}

fn nothing_left(options: &Dict) -> Result<()> {
    match options.iter().next() {
        None => Ok(()),
        Some((name, _)) => Err(Error::new(format!("Parameter '{name}' is unexpected"))),
    }
}

impl Rule {
    fn take(value: Value) -> Result<Self> {
        let Value::Dict(mut options) = value else {
            return Err(Error::new(
                "Invalid parameter type for 'rules', expected: object",
            ));
        };
        let glob = match opts::take_str(&mut options, "format")?.as_deref() {
            None | Some("exact") => false,
            Some("glob") => true,
            Some(other) => return Err(not_accepted("format", other)),
        };
        let rule = Self {
            wanted: opts::take_str(&mut options, "match")?.ok_or_else(|| missing("match"))?,
            policy: take_policy(&mut options)?.ok_or_else(|| missing("policy"))?,
            glob,
        };
        nothing_left(&options)?;
        Ok(rule)
    }
}

impl List {
    fn take(options: &mut Dict) -> Result<Self> {
        let rules = match options.remove("rules") {
            None => Vec::new(),
            Some(Value::List(list)) => list,
            // Dotted names: rules.0, rules.1, ...
            Some(Value::Dict(mut numbered)) => {
                let mut list = Vec::new();
                while let Some(rule) = numbered.remove(&list.len().to_string()) {
                    list.push(rule);
                }
                nothing_left(&numbered)?;
                list
            }
            Some(_) => {
                return Err(Error::new(
                    "Invalid parameter type for 'rules', expected: array",
                ));
            }
        };
        Ok(Self {
            rules: rules.into_iter().map(Rule::take).collect::<Result<_>>()?,
            policy: take_policy(options)?.unwrap_or(Policy::Deny),
        })
    }

    fn read(name: &str) -> Result<Self> {
        let failed =
            |why: &dyn std::fmt::Display| Error::new(format!("Unable to read '{name}': {why}"));
        let found = fs::metadata(name).map_err(|e| failed(&e))?;
        if !found.is_file() || found.len() > MAX_FILE {
            return Err(failed(&"not a small file"));
        }
        let text = fs::read_to_string(name).map_err(|e| failed(&e))?;
        match json::parse(&text)? {
            Value::Dict(mut options) => {
                let list = Self::take(&mut options)?;
                nothing_left(&options)?;
                Ok(list)
            }
            _ => Err(Error::new(format!(
                "File '{name}' must contain a JSON object"
            ))),
        }
    }

    fn allows(&self, name: &str) -> bool {
        let rule = self.rules.iter().find(|rule| {
            if rule.glob {
                matches(&rule.wanted, name)
            } else {
                rule.wanted == name
            }
        });
        rule.map_or(self.policy, |rule| rule.policy) == Policy::Allow
    }
}

impl Authorization {
    fn simple(options: &mut Dict) -> Result<Self> {
        let identity = opts::take_str(options, "identity")?;
        identity
            .map(|identity| Self(Kind::Simple(identity)))
            .ok_or_else(|| missing("identity"))
    }

    fn list(options: &mut Dict) -> Result<Self> {
        Ok(Self(Kind::List(List::take(options)?)))
    }

    fn file(options: &mut Dict) -> Result<Self> {
        let name = opts::take_str(options, "filename")?.ok_or_else(|| missing("filename"))?;
        let refresh = opts::take_bool(options, "refresh")?.unwrap_or(true);
        let list = List::read(&name)?;
        let changed = fs::metadata(&name).and_then(|m| m.modified()).ok();
        let read = Mutex::new((changed, list));
        Ok(Self(Kind::File {
            name,
            refresh,
            read,
        }))
    }

    /// Whether a name may come in. A file of rules that cannot be read any more lets in whom it let in before.
    pub fn allows(&self, name: &str) -> bool {
        match &self.0 {
            Kind::Simple(identity) => identity == name,
            Kind::List(list) => list.allows(name),
            Kind::File {
                name: file,
                refresh,
                read,
            } => {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                let changed = fs::metadata(file).and_then(|m| m.modified()).ok();
                if *refresh && changed != read.0 {
                    match List::read(file) {
                        Ok(list) => *read = (changed, list),
                        Err(error) => tracing::warn!(%error, "old rules stay"),
                    }
                }
                read.1.allows(name)
            }
        }
    }
}

/// Whether a name fits a pattern, in which `*` is any text and `?` any character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` does not fit.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match retry {
                Some((after, at)) => {
                    retry = Some((after, at + 1));
                    (p, n) = (after, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, fits) in [
            ("CN=*,O=x", "CN=a,b,O=x", true),
            ("CN=?", "CN=a", true),
            ("CN=?", "CN=ab", false),
            ("*", "", true),
            ("a*b*c", "aXXbYYbc", true),
            ("a*b*c", "aXXbYY", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let mut flat = Dict::new();
        for (name, value) in [
            ("rules.0.match", "bad"),
            ("rules.0.policy", "deny"),
            ("rules.1.match", "b*"),
            ("rules.1.policy", "allow"),
            ("rules.1.format", "glob"),
        ] {
            flat.insert(name, value);
        }
        let mut options = opts::nest(flat).unwrap();
        let list = Authorization::list(&mut options).unwrap();
        assert!(!list.allows("bad") && list.allows("bar") && !list.allows("x"));
    }

    #[test]
    fn a_file_of_rules_is_read_again_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules").to_string_lossy().into_owned();
        fs::write(&path, r#"{"policy": "allow"}"#).unwrap();
        let mut options = Dict::new();
        options.insert("filename", path.as_str());
        let file = Authorization::file(&mut options).unwrap();
        assert!(file.allows("x"));
        fs::write(&path, "not JSON").unwrap();
        assert!(file.allows("x"));
        fs::write(&path, r#"{"rules": [{"match": "y", "policy": "allow"}]}"#).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        let opened = fs::File::options().write(true).open(&path).unwrap();
        opened.set_modified(later).unwrap();
        assert!(!file.allows("x") && file.allows("y"));
    }
}
