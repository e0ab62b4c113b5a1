//! The reader: bounded depth, whole text at once.
//!
//! ```text
//! value  = "null" | "true" | "false" | number | string | "[" [value {"," value}] "]" | "{" [pair {"," pair}] "}"
//! pair   = string ":" value
//! string = '"' chars '"' | "'" chars "'"
//! ```

use crate::{Dict, Error, Result, Value};

/// Values nested deeper than this are refused, as by QEMU.
const MAX_DEPTH: usize = 1024;

/// Reads one value; nothing but white space may follow.
///
/// # Errors
/// `JSON parse error, ...`.
pub fn parse(text: &str) -> Result<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.bad("expecting value"));
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn bad(&self, what: &str) -> Error {
        if self.text.trim().is_empty() {
            return Error::new("Expecting a JSON value");
        }
        if self.at >= self.text.len() {
            return Error::new("JSON parse error, premature EOI");
        }
        Error::new(format!("JSON parse error, {what}"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        self.space();
        self.peek()
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(Error::new(
                "JSON parse error, JSON nesting depth limit exceeded",
            ));
        }
        match self.next() {
            Some(b'{') => self.dict(depth),
            Some(b'[') => self.list(depth),
            Some(quote @ (b'"' | b'\'')) => self.string(quote).map(Value::Str),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z') => self.word(),
            _ => Err(self.bad("expecting value")),
        }
    }

    fn word(&mut self) -> Result<Value> {
        let rest = &self.text[self.at..];
        let len = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let value = match &rest[..len] {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => {
                return Err(Error::new(format!(
                    "JSON parse error, invalid keyword '{other}'"
                )));
            }
        };
        self.at += len;
        Ok(value)
    }

    fn number(&mut self) -> Result<Value> {
        let rest = &self.text[self.at..];
        let len = rest
            .bytes()
            .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        let token = &rest[..len];
        let digits = token.strip_prefix('-').unwrap_or(token);
        let leading_zero =
            digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
        if leading_zero
            || !digits.starts_with(|c: char| c.is_ascii_digit())
            || digits.ends_with(['.', 'e', 'E'])
        {
            return Err(self.bad("stray number"));
        }
        let value = if let Ok(n) = token.parse() {
            Value::Int(n)
        } else if let Ok(n) = token.parse() {
            Value::Uint(n)
        } else {
            let number: f64 = token.parse().map_err(|_| self.bad("stray number"))?;
            if !number.is_finite() {
                return Err(self.bad("number out of range"));
            }
            Value::Float(number)
        };
        self.at += len;
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut items = Vec::new();
        if self.next() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(items));
                }
                _ => return Err(self.bad("expected separator in list")),
            }
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut dict = Dict::new();
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Dict(dict));
        }
        loop {
            let key = match self.next() {
                Some(quote @ (b'"' | b'\'')) => self.string(quote)?,
                _ => {
                    self.value(depth + 1)?;
                    return Err(Error::new(
                        "JSON parse error, key is not a string in object",
                    ));
                }
            };
            if self.next() != Some(b':') {
                return Err(self.bad("missing : in object pair"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            if dict.get(&key).is_some() {
                return Err(self.bad("duplicate key"));
            }
            dict.insert(key, value);
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Dict(dict));
                }
                _ => return Err(self.bad("expected separator in dict")),
            }
        }
    }

    fn string(&mut self, quote: u8) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest
                .bytes()
                .take_while(|b| *b != quote && *b != b'\\' && *b >= 0x20)
                .count();
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b) if b == quote => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.bad("invalid control character in string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        Ok(match letter {
            Some(c @ (b'"' | b'\'' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => {
                return Err(Error::new(
                    "JSON parse error, invalid escape sequence in string",
                ));
            }
        })
    }

    /// Four hexadecimal digits, or two times four for a surrogate pair.
    fn unicode(&mut self) -> Result<char> {
        let bad = || Error::new("JSON parse error, invalid Unicode sequence in string");
        let first = self.hex4().ok_or_else(bad)?;
        let code = if (0xd800..0xdc00).contains(&first) {
            if self.text.get(self.at..self.at + 2) != Some("\\u") {
                return Err(bad());
            }
            self.at += 2;
            let second = self
                .hex4()
                .filter(|s| (0xdc00..0xe000).contains(s))
                .ok_or_else(bad)?;
            0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).filter(|c| *c != '\0').ok_or_else(bad)
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())?
    }
}
