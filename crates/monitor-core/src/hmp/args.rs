//! Arguments of a command: patterns, and what a line gives for them.

use std::collections::BTreeMap;

use super::expr::{Registers, evaluate};

/// What an argument looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word, or a quoted string.
    Word,
    /// A file name: as a word, refused in words of its own.
    File,
    /// A block device: as a word, refused in words of its own.
    Device,
    /// The rest of the line.
    Rest,
    /// An expression of 32 bits.
    Int,
    /// An expression of 64 bits.
    Long,
    /// An expression that counts mebibytes.
    Mebibytes,
    /// A size with a suffix; mebibytes when there is none.
    Size,
    /// `on` or `off`.
    Bool,
    /// `-x`
    Flag(char),
    /// `/FMT` right behind the command.
    Format,
}

/// One argument of a command.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// By which the command asks for it.
    pub name: &'static str,
    /// What it looks like.
    pub kind: Kind,
    /// It may be left out.
    pub optional: bool,
}

impl Arg {
    /// One that must be given.
    pub const fn needed(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            optional: false,
        }
    }

    /// One that may be left out.
    pub const fn optional(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            optional: true,
        }
    }
}

/// How memory is shown: `/4xw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpFormat {
    /// How many.
    pub count: u32,
    /// One of `x d u o c i`; `None` is as before.
    pub letter: Option<char>,
    /// Bytes of each; `None` is as before.
    pub size: Option<u8>,
}

/// What was given for one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A word or the rest of a line.
    Text(String),
    /// A number.
    Number(i64),
    /// On or off; a flag that is there is on.
    Bool(bool),
    /// A way to show memory.
    Format(DumpFormat),
}

/// What a line gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    given: BTreeMap<&'static str, Given>,
}

impl Args {
    /// A word.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.given.get(name) {
            Some(Given::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.given.get(name) {
            Some(Given::Number(n)) => Some(*n),
            _ => None,
        }
    }

    /// On, off or not given.
    pub fn switch(&self, name: &str) -> Option<bool> {
        match self.given.get(name) {
            Some(Given::Bool(on)) => Some(*on),
            _ => None,
        }
    }

    /// Whether a flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.switch(name) == Some(true)
    }

    /// The way to show memory; one item, as before, when none was given.
    pub fn format(&self, name: &str) -> DumpFormat {
        match self.given.get(name) {
            Some(Given::Format(format)) => *format,
            _ => DumpFormat {
                count: 1,
                letter: None,
                size: None,
            },
        }
    }
}

/// Why a line is no call of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Told behind the command's name.
    Named(String),
    /// Told behind the command's name in quotes.
    Failed(String),
    /// Told as it is.
    Plain(String),
    /// Two lines.
    Both(Box<[Fault; 2]>),
}

impl Fault {
    /// The line that tells it.
    pub(super) fn text(&self, command: &str) -> String {
        match self {
            Self::Named(text) => format!("{command}: {text}"),
            Self::Failed(text) => format!("'{command}' has failed: {text}"),
            Self::Plain(text) => text.clone(),
            Self::Both(faults) => {
                let lines = faults.iter().map(|fault| fault.text(command));
                lines.collect::<Vec<_>>().join("\n")
            }
        }
    }

    fn then(self, other: Self) -> Self {
        Self::Both(Box::new([self, other]))
    }
}

/// Reads a line by the pattern of a command.
pub(super) fn read(pattern: &[Arg], line: &str, registers: &dyn Registers) -> Result<Args, Fault> {
    let mut out = Args::default();
    let mut rest = line;
    for (at, arg) in pattern.iter().enumerate() {
        let (given, after) = one(arg, &pattern[at..], rest, registers)?;
        rest = after;
        if let Some(given) = given {
            out.given.insert(arg.name, given);
        }
    }
    if rest.trim().is_empty() {
        Ok(out)
    } else {
        Err(Fault::Named(
            "extraneous characters at the end of line".to_owned(),
        ))
    }
}

type One<'t> = Result<(Option<Given>, &'t str), Fault>;

/// Reads `arg`, the first of what is `left` of the pattern.
fn one<'t>(arg: &Arg, left: &[Arg], line: &'t str, registers: &dyn Registers) -> One<'t> {
    if arg.kind == Kind::Format {
        return format(line);
    }
    let rest = line.trim_start();
    if let Kind::Flag(letter) = arg.kind {
        return flag(letter, left, rest);
    }
    if rest.is_empty() && arg.optional {
        return Ok((None, rest));
    }
    match arg.kind {
        Kind::Int | Kind::Long | Kind::Mebibytes => number(arg.kind, rest, registers),
        Kind::Rest if !rest.is_empty() => Ok((Some(Given::Text(rest.trim_end().to_owned())), "")),
        kind => {
            let (word, after) = match word(rest) {
                Ok(read) => read,
                Err(text) => return Err(Fault::Plain(text).then(missing(kind))),
            };
            typed(kind, word).map(|given| (Some(given), after))
        }
    }
}

const MEBIBYTE: i64 = 1 << 20;

/// What a word means.
fn typed(kind: Kind, word: Option<String>) -> Result<Given, Fault> {
    let word = word.ok_or_else(|| missing(kind))?;
    match kind {
        Kind::Size => {
            let size = qapi::parse_size_unit(&word, MEBIBYTE.unsigned_abs())
                .ok()
                .and_then(|size| i64::try_from(size).ok());
            size.map(Given::Number)
                .ok_or_else(|| Fault::Plain("invalid size".to_owned()))
        }
        Kind::Bool => match word.as_str() {
            "on" => Ok(Given::Bool(true)),
            "off" => Ok(Given::Bool(false)),
            _ => Err(Fault::Plain("Expected 'on' or 'off'".to_owned())),
        },
        _ => Ok(Given::Text(word)),
    }
}

fn missing(kind: Kind) -> Fault {
    let what = match kind {
        Kind::File => "filename",
        Kind::Device => "block device name",
        _ => "string",
    };
    Fault::Named(format!("{what} expected"))
}

fn number<'t>(kind: Kind, rest: &'t str, registers: &dyn Registers) -> One<'t> {
    let (value, after) = evaluate(rest, registers).map_err(Fault::Plain)?;
    let fits = i32::try_from(value).is_ok() || u32::try_from(value).is_ok();
    if kind == Kind::Int && !fits {
        return Err(Fault::Failed("integer is for 32-bit values".to_owned()));
    }
    let unit = if kind == Kind::Mebibytes { MEBIBYTE } else { 1 };
    Ok((Some(Given::Number(value.wrapping_mul(unit))), after))
}

fn flag<'t>(letter: char, left: &[Arg], rest: &'t str) -> One<'t> {
    let Some(given) = rest.strip_prefix('-').and_then(|r| r.chars().next()) else {
        return Ok((None, rest));
    };
    if given == letter {
        return Ok((Some(Given::Bool(true)), &rest[1 + letter.len_utf8()..]));
    }
    if left.iter().any(|arg| arg.kind == Kind::Flag(given)) {
        return Ok((None, rest));
    }
    Err(Fault::Named(format!("unsupported option -{given}")))
}

/// `/FMT`: a count, then letters of form and size in any order.
fn format(line: &str) -> One<'_> {
    let Some(text) = line.trim_start().strip_prefix('/') else {
        return Ok((None, line));
    };
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (text, after) = text.split_at(end);
    let letters = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - letters.len()];
    let mut out = DumpFormat {
        count: if digits.is_empty() {
            1
        } else {
            digits.parse().unwrap_or(u32::MAX)
        },
        letter: None,
        size: None,
    };
    for c in letters.chars() {
        match c {
            'o' | 'd' | 'u' | 'x' | 'i' | 'c' => out.letter = Some(c),
            'b' => out.size = Some(1),
            'h' => out.size = Some(2),
            'w' => out.size = Some(4),
            'g' | 'L' => out.size = Some(8),
            _ => {
                return Err(Fault::Plain(format!("invalid char in format: '{c}'")));
            }
        }
    }
    Ok((Some(Given::Format(out)), after))
}

/// A word, or a string in double quotes with `\n`, `\r`, `\\`, `\'` and `\"`; nothing at the end of the line.
fn word(text: &str) -> Result<(Option<String>, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, after) = text.split_at(end);
        return Ok(((!word.is_empty()).then(|| word.to_owned()), after));
    };
    let mut out = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next() {
            None => return Err("unterminated string".to_owned()),
            Some('"') => return Ok((Some(out), chars.as_str())),
            Some('\\') => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(c @ ('\\' | '\'' | '"')) => out.push(c),
                other => {
                    let c = other.unwrap_or(' ');
                    return Err(format!("unsupported escape code: '\\{c}'"));
                }
            },
            Some(c) => out.push(c),
        }
    }
}
