//! Option strings in QEMU's dotted form (`-blockdev`, `-object`, `-machine`).
//!
//! ```text
//! key-vals     = [ key-val { "," key-val } [ "," ] ]
//! key-val      = key "=" value | help
//! key          = key-fragment { "." key-fragment }
//! key-fragment = name | digits              a level whose fragments are all numbers is a list
//! value        = { any byte but "," | ",," }   ",," stands for one comma
//! help         = "help" | "?"
//! ```
//! The first key-val may be the value of an implied key, and then it can hold no comma. A key given twice keeps its last value. Every value is a string; the
//! record that reads the tree asks for numbers and booleans. Warts kept on purpose: an empty list or an empty object
//! cannot be written, and a key with a digit first is only ever an index.

use crate::{Dict, Error, Result, Value};

/// Longest name between two dots, in bytes.
const MAX_FRAGMENT: usize = 127;
/// Deepest nesting of a key.
const MAX_DEPTH: usize = 64;

/// What an option string says.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyVals {
    /// The tree; its leaves are strings.
    pub options: Dict,
    /// Whether help was asked for.
    pub help: bool,
}

/// Reads an option string that may ask for help.
///
/// # Errors
/// In QEMU's words: a key that is none, a missing `=`, keys that contradict each other.
pub fn parse(text: &str, implied: Option<&str>) -> Result<KeyVals> {
    let mut options = Dict::new();
    let mut help = false;
    let mut rest = text;
    let mut implied = implied;
    while !rest.is_empty() {
        match take_one(rest, implied.take())? {
            (One::Help, after) => {
                help = true;
                rest = after;
            }
            (One::Pair(key, value), after) => {
                put(&mut options, key, value)?;
                rest = after;
            }
        }
    }
    listify(&mut options, "")?;
    Ok(KeyVals { options, help })
}

/// Reads an option string where no help can be given.
///
/// # Errors
/// As [`parse`]; `Help is not available for this option`.
pub fn parse_options(text: &str, implied: Option<&str>) -> Result<Dict> {
    let all = parse(text, implied)?;
    if all.help {
        return Err(Error::new("Help is not available for this option"));
    }
    Ok(all.options)
}

enum One<'a> {
    Help,
    Pair(&'a str, String),
}

/// The first key-val of `text`, and what follows its comma.
fn take_one<'a>(text: &'a str, implied: Option<&'a str>) -> Result<(One<'a>, &'a str)> {
    let key_len = text.find(['=', ',']).unwrap_or(text.len());
    let word = &text[..key_len];
    let has_value = text[key_len..].starts_with('=');
    if !has_value {
        let after = text.get(key_len + 1..).unwrap_or("");
        if word == "help" || word == "?" {
            return Ok((One::Help, after));
        }
        if let Some(key) = implied.filter(|_| !word.is_empty()) {
            return Ok((One::Pair(key, word.to_owned()), after));
        }
    }
    check_key(word)?;
    if !has_value {
        return Err(Error::new(format!("Expected '=' after parameter '{word}'")));
    }
    let (value, after) = take_value(&text[key_len + 1..]);
    Ok((One::Pair(word, value), after))
}

fn check_key(key: &str) -> Result<()> {
    let fragments: Vec<&str> = key.split('.').collect();
    if key.is_empty()
        || !fragments.iter().all(|f| is_name(f) || is_index(f))
        || is_index(fragments[0])
    {
        return Err(Error::new(format!("Invalid parameter '{key}'")));
    }
    if let Some(long) = fragments.iter().find(|f| f.len() > MAX_FRAGMENT) {
        let part = if fragments.len() > 1 { " fragment" } else { "" };
        return Err(Error::new(format!("Parameter{part} '{long}' is too long")));
    }
    if fragments.len() > MAX_DEPTH {
        return Err(Error::new(format!("Parameter '{key}' is too long")));
    }
    Ok(())
}

/// A name as the schema language has it: a letter, then letters, digits, `-` and `_`; names of other vendors
/// begin with `__`, a domain and `_`.
// GAP: domains with dots; their fragments are refused.
fn is_name(text: &str) -> bool {
    let own = match text.strip_prefix("__") {
        Some(rest) => match rest.split_once('_') {
            Some((domain, own)) if is_domain(domain) => own,
            _ => return false,
        },
        None => text,
    };
    own.starts_with(|c: char| c.is_ascii_alphabetic())
        && own
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_domain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

fn is_index(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The value up to the next single comma, commas undoubled, and what follows that comma.
fn take_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(',') {
        value.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        match after.strip_prefix(',') {
            Some(more) => {
                value.push(',');
                rest = more;
            }
            None => return (value, after),
        }
    }
    value.push_str(rest);
    (value, "")
}

/// Sets the leaf that `key` names.
fn put(options: &mut Dict, key: &str, value: String) -> Result<()> {
    let mut here = options;
    let fragments: Vec<&str> = key.split('.').map(canonical).collect();
    let (leaf, path) = fragments.split_last().expect("split gives one at least");
    for (depth, fragment) in path.iter().enumerate() {
        if here.get(fragment).is_none() {
            here.insert(*fragment, Dict::new());
        }
        here = match here.get_mut(fragment) {
            Some(Value::Dict(next)) => next,
            _ => {
                let prefix: Vec<&str> = key.split('.').take(depth + 1).collect();
                return Err(inconsistent(&format!("{}.", prefix.join("."))));
            }
        };
    }
    if matches!(here.get(leaf), Some(Value::Dict(_))) {
        return Err(inconsistent(&format!("{key}.")));
    }
    here.insert(*leaf, value);
    Ok(())
}

/// An index without zeroes in front, a name as it is.
fn canonical(fragment: &str) -> &str {
    match fragment.trim_start_matches('0') {
        digits if is_index(digits) => digits,
        "" => "0",
        _ => fragment,
    }
}

fn inconsistent(prefix: &str) -> Error {
    Error::new(format!("Parameters '{prefix}*' used inconsistently"))
}

/// Turns levels of numbers into lists, deepest first.
fn listify(level: &mut Dict, prefix: &str) -> Result<()> {
    for (key, value) in level.iter_mut() {
        let Value::Dict(inner) = value else { continue };
        let prefix = format!("{prefix}{key}.");
        listify(inner, &prefix)?;
        let numbers = inner.iter().filter(|(k, _)| is_index(k)).count();
        if numbers == 0 {
            continue;
        }
        if numbers != inner.len() {
            return Err(inconsistent(&prefix));
        }
        let list = in_order(std::mem::take(inner), &prefix)?;
        *value = Value::List(list);
    }
    Ok(())
}

fn in_order(mut level: Dict, prefix: &str) -> Result<Vec<Value>> {
    let count = level.len();
    let mut list = Vec::with_capacity(count);
    for index in 0..count {
        let found = level.remove(&index.to_string());
        list.push(found.ok_or_else(|| Error::new(format!("Parameter '{prefix}{index}' missing")))?);
    }
    Ok(list)
}

#[cfg(test)]
mod tests;
