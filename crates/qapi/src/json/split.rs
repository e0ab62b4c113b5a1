//! Cuts a stream of bytes into texts of one JSON value each, as a monitor hears them: values follow each other with or
//! without white space, and may arrive in any pieces.

use crate::{Error, Result};

/// Bytes that one value may have.
const MAX_BYTES: usize = 64 << 20;
/// Brackets that may be open at once.
const MAX_OPEN: usize = 1024;

/// What has come of the value that is not whole yet.
#[derive(Debug, Default)]
pub struct Splitter {
    text: Vec<u8>,
    open: usize,
    quote: Option<u8>,
    escaped: bool,
    /// The value is a bare word or number; the next byte that cannot be part of it ends it.
    bare: bool,
}

impl Splitter {
    /// Takes more bytes; gives the values that are whole now. A value that cannot be read is an error in its place,
    /// and reading goes on behind it.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Result<String>> {
        let mut whole = Vec::new();
        for &byte in bytes {
            self.take(byte, &mut whole);
        }
        whole
    }

    fn take(&mut self, byte: u8, whole: &mut Vec<Result<String>>) {
        if self.bare {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_') {
                return self.push(byte, whole);
            }
            self.finish(whole);
        }
        if let Some(quote) = self.quote {
            self.push(byte, whole);
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == quote {
                self.quote = None;
                self.finish_if_closed(whole);
            }
            return;
        }
        self.outside(byte, whole);
    }

    /// A byte that is no part of a string or a bare word.
    fn outside(&mut self, byte: u8, whole: &mut Vec<Result<String>>) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' if self.text.is_empty() => {}
            b'{' | b'[' => {
                self.open += 1;
                self.push(byte, whole);
                if self.open > MAX_OPEN {
                    self.refuse("JSON nesting depth limit exceeded", whole);
                }
            }
            b'}' | b']' => {
                self.open = self.open.saturating_sub(1);
                self.push(byte, whole);
                self.finish_if_closed(whole);
            }
            b'"' | b'\'' => {
                self.quote = Some(byte);
                self.push(byte, whole);
            }
            _ => {
                self.bare = self.open == 0 && (byte.is_ascii_alphanumeric() || byte == b'-');
                self.push(byte, whole);
                if !self.bare {
                    self.finish_if_closed(whole);
                }
            }
        }
    }

    fn push(&mut self, byte: u8, whole: &mut Vec<Result<String>>) {
        if self.text.len() == MAX_BYTES {
            self.refuse("JSON token size limit exceeded", whole);
            return;
        }
        self.text.push(byte);
    }

    fn finish_if_closed(&mut self, whole: &mut Vec<Result<String>>) {
        if self.open == 0 && !self.text.is_empty() {
            self.finish(whole);
        }
    }

    fn finish(&mut self, whole: &mut Vec<Result<String>>) {
        let text = std::mem::take(self).text;
        whole.push(
            String::from_utf8(text)
                .map_err(|_| Error::new("JSON parse error, invalid UTF-8 sequence in string")),
        );
    }

    fn refuse(&mut self, message: &str, whole: &mut Vec<Result<String>>) {
        *self = Self::default();
        whole.push(Err(Error::new(message)));
    }
}
