//! Option strings in QEMU's legacy form (`-o`, `--image-opts`, `--object`), and options with types.
//!
//! ```text
//! options = option { "," option }
//! option  = name "=" value | name          a bare name is "on", "noNAME" is NAME "off"
//! value   = text up to the next single ","; ",," stands for one comma
//! ```
//! Names may be repeated (the last one counts), may be empty, and end at the first `=` or `,`. A bare word in first
//! place can be the value of an implied name. `help` and `?` as a bare word ask for help. These warts are QEMU's.

use crate::{Dict, Error, Result, SizeError, Value, parse_integer, parse_size};

/// Type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// `<str>`
    Str,
    /// `<bool (on/off)>`
    Bool,
    /// `<num>`
    Number,
    /// `<size>`
    Size,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionDesc {
    /// As typed.
    pub name: &'static str,
    /// Its value's type.
    pub kind: OptionKind,
    /// A few words for `-o help`.
    pub help: &'static str,
    /// Used when not given, and shown as if it had been.
    pub default: Option<&'static str>,
}

/// Splits an option string into names and values, in order. A bare word becomes `on` (or `off` after `no`), the
/// first one the value of `implied` if that is given.
pub fn split(text: &str, implied: Option<&str>) -> Vec<(String, String)> {
    split_telling(text, implied, |_, _, _| {})
}

/// As [`split`], with QEMU's warning of each word that stands for a switch.
pub fn split_noisily(text: &str, implied: Option<&str>) -> Vec<(String, String)> {
    split_telling(text, implied, |word, name, value| {
        crate::warn(&format!(
            "short-form boolean option '{word}' deprecated\nPlease use {name}={value} instead"
        ));
    })
}

fn split_telling(
    text: &str,
    implied: Option<&str>,
    tell: impl Fn(&str, &str, &str),
) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut first = true;
    while !rest.is_empty() {
        let name_len = rest.find(['=', ',']).unwrap_or(rest.len());
        let bare = !rest[name_len..].starts_with('=');
        if bare {
            let (word, after) = take_value(rest);
            rest = after;
            match implied.filter(|_| first) {
                Some(name) => out.push((name.to_owned(), word)),
                None => {
                    let (name, value) = flag(&word);
                    tell(&word, &name, &value);
                    out.push((name, value));
                }
            }
        } else {
            let name = rest[..name_len].to_owned();
            let (value, after) = take_value(&rest[name_len + 1..]);
            rest = after;
            out.push((name, value));
        }
        first = false;
    }
    out
}

fn flag(word: &str) -> (String, String) {
    match word.strip_prefix("no") {
        Some(name) => (name.to_owned(), "off".to_owned()),
        None => (word.to_owned(), "on".to_owned()),
    }
}

/// The text up to the next single comma, commas undoubled, and what follows it.
fn take_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let Some(at) = rest.find(',') else {
            value.push_str(rest);
            return (value, "");
        };
        value.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix(',') {
            Some(after) => {
                value.push(',');
                rest = after;
            }
            None => return (value, rest),
        }
    }
}

/// Whether an option string asks for help.
pub fn asks_help(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = take_value(rest);
        if word == "help" || word == "?" {
            return true;
        }
        rest = after;
    }
    false
}

/// Whether several `-o` can be joined by commas without changing what each says: none is empty, or begins
/// or ends with a comma that is not doubled.
pub fn is_joinable(text: &str) -> bool {
    let trailing = text.bytes().rev().take_while(|b| *b == b',').count();
    !text.is_empty() && !text.starts_with(',') && trailing.is_multiple_of(2)
}

/// Looks the description of a name up.
///
/// # Errors
/// `Invalid parameter 'X'`.
pub fn describe<'a>(known: &'a [OptionDesc], name: &str) -> Result<&'a OptionDesc> {
    known
        .iter()
        .find(|d| d.name == name)
        .ok_or_else(|| Error::new(format!("Invalid parameter '{name}'")))
}

/// Turns a text into the value its description asks for: strings stay, numbers and sizes become integers.
///
/// # Errors
/// In QEMU's words.
pub fn typed(name: &str, text: &str, kind: OptionKind) -> Result<Value> {
    match kind {
        OptionKind::Str => Ok(Value::Str(text.to_owned())),
        OptionKind::Bool => parse_bool(name, text).map(Value::Bool),
        OptionKind::Number => parse_number(name, text),
        OptionKind::Size => parse_size_option(name, text).map(Value::from),
    }
}

/// `on`/`off` and their other spellings.
///
/// # Errors
/// `Parameter 'X' expects 'on' or 'off'`.
pub fn parse_bool(name: &str, text: &str) -> Result<bool> {
    match text {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(Error::new(format!(
            "Parameter '{name}' expects 'on' or 'off'"
        ))),
    }
}

/// Whether a word can be the id of an object or the name of a node.
pub fn is_id(word: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.bytes().all(fits)
}

/// An integer; a minus sign wraps around, as in QEMU.
fn parse_number(name: &str, text: &str) -> Result<Value> {
    let wrong = || Error::new(format!("Parameter '{name}' expects a number"));
    let number = parse_integer(text).ok_or_else(wrong)?;
    let size = u64::try_from(number.unsigned_abs()).map_err(|_| out_of_range(name, text))?;
    Ok(Value::from(if number < 0 {
        size.wrapping_neg()
    } else {
        size
    }))
}

/// A size in bytes.
///
/// # Errors
/// In QEMU's words, with its hint about suffixes.
pub fn parse_size_option(name: &str, text: &str) -> Result<u64> {
    parse_size(text).map_err(|error| match error {
        SizeError::OutOfRange => out_of_range(name, text),
        SizeError::Malformed => Error::new(format!(
            "Parameter '{name}' expects a non-negative number below 2^64"
        ))
        .hint(
            "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.",
        ),
    })
}

fn out_of_range(name: &str, text: &str) -> Error {
    Error::new(format!(
        "Value '{text}' is out of range for parameter '{name}'"
    ))
}

/// The lines of `-o help`, sorted by name, without a heading.
pub fn help_lines(options: &[OptionDesc]) -> Vec<String> {
    let mut sorted: Vec<_> = options.iter().collect();
    sorted.sort_by_key(|d| d.name);
    sorted
        .into_iter()
        .map(|d| {
            let kind = match d.kind {
                OptionKind::Str => "str",
                OptionKind::Bool => "bool (on/off)",
                OptionKind::Number => "num",
                OptionKind::Size => "size",
            };
            format!("  {:<22} - {}", format!("{}=<{kind}>", d.name), d.help)
        })
        .collect()
}

/// Takes an option out of a node's options as a text; a number stands for its digits.
///
/// # Errors
/// When it is there and is neither.
pub fn take_str(options: &mut Dict, name: &str) -> Result<Option<String>> {
    match options.remove(name) {
        None => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text)),
        Some(Value::Int(number)) => Ok(Some(number.to_string())),
        Some(Value::Uint(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(wrong_type(name, "string")),
    }
}

/// Takes a switch out of a node's options.
///
/// # Errors
/// When it is there and is neither a boolean nor a text that says one.
pub fn take_bool(options: &mut Dict, name: &str) -> Result<Option<bool>> {
    match options.remove(name) {
        None => Ok(None),
        Some(Value::Bool(on)) => Ok(Some(on)),
        Some(Value::Str(text)) => parse_bool(name, &text).map(Some),
        Some(Value::Int(_) | Value::Uint(_)) => parse_bool(name, "").map(Some),
        Some(_) => Err(wrong_type(name, "boolean")),
    }
}

/// Takes a size in bytes out of a node's options.
///
/// # Errors
/// When it is there and is neither a number that is not negative nor a text that says one.
pub fn take_size(options: &mut Dict, name: &str) -> Result<Option<u64>> {
    match options.remove(name) {
        None => Ok(None),
        Some(Value::Int(n)) => u64::try_from(n)
            .map(Some)
            .map_err(|_| wrong_type(name, "uint64")),
        Some(Value::Uint(n)) => Ok(Some(n)),
        Some(Value::Str(text)) => parse_size_option(name, &text).map(Some),
        Some(_) => Err(wrong_type(name, "integer")),
    }
}

/// Takes an integer out of a node's options; a minus sign wraps around, as in QEMU.
///
/// # Errors
/// When it is there and is neither a number nor a text that says one.
pub fn take_number(options: &mut Dict, name: &str) -> Result<Option<u64>> {
    let value = match options.remove(name) {
        Some(Value::Str(text)) => Some(parse_number(name, &text)?),
        other => other,
    };
    match value {
        None => Ok(None),
        Some(Value::Uint(n)) => Ok(Some(n)),
        Some(Value::Int(n)) => Ok(Some(n.cast_unsigned())),
        Some(_) => Err(Error::new(format!("Parameter '{name}' expects a number"))),
    }
}

fn wrong_type(name: &str, wanted: &str) -> Error {
    Error::new(format!(
        "Invalid parameter type for '{name}', expected: {wanted}"
    ))
}

/// Gathers dotted names into nested objects: `file.driver=x` becomes `file: {driver: x}`.
///
/// # Errors
/// When a name is used both as a value and as an object.
pub fn nest(flat: Dict) -> Result<Dict> {
    let mut out = Dict::new();
    for (name, value) in flat.into_entries() {
        insert_nested(&mut out, &name, value)?;
    }
    Ok(out)
}

fn insert_nested(into: &mut Dict, name: &str, value: Value) -> Result<()> {
    let Some((head, rest)) = name.split_once('.') else {
        let value = match value {
            Value::Dict(inner) => Value::Dict(nest(inner)?),
            other => other,
        };
        into.insert(name, value);
        return Ok(());
    };
    let mut inner = match into.remove(head) {
        None => Dict::new(),
        Some(Value::Dict(inner)) => inner,
        Some(_) => {
            return Err(Error::new(format!(
                "Cannot mix values and objects for '{head}'"
            )));
        }
    };
    insert_nested(&mut inner, rest, value)?;
    into.insert(head, inner);
    Ok(())
}
