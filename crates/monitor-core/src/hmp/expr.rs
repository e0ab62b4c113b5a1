//! Expressions of the human monitor.
//!
//! ```text
//! sum     = logic { ("+" | "-") logic }
//! logic   = product { ("&" | "|" | "^") product }
//! product = unary { ("*" | "/" | "%") unary }
//! unary   = ("+" | "-" | "~") unary | "(" sum ")" | "'" char "'" | "$" register | number
//! ```
//! Numbers are written as in C. The odd order of `&` before `+` is QEMU's. Arithmetic wraps at 64 bits.

/// Registers by name, for `$name`.
pub trait Registers: Sync {
    /// The register's value; `None` for a name that is none.
    fn register(&self, name: &str) -> Option<u64>;
}

/// Nesting of brackets and signs that is followed.
const MAX_DEPTH: usize = 256;

/// Reads an expression at the start of `text`; gives its value and what follows it.
///
/// # Errors
/// What is wrong, in QEMU's words.
pub fn evaluate<'t>(text: &'t str, registers: &dyn Registers) -> Result<(i64, &'t str), String> {
    let mut reader = Reader {
        rest: text.trim_start(),
        registers,
        depth: 0,
    };
    let value = reader.sum()?;
    Ok((value, reader.rest))
}

struct Reader<'t, 'r> {
    rest: &'t str,
    registers: &'r dyn Registers,
    depth: usize,
}

impl Reader<'_, '_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    /// After a token: over it and the spaces behind it.
    fn next(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn sum(&mut self) -> Result<i64, String> {
        let mut value = self.logic()?;
        while let Some(sign @ ('+' | '-')) = self.peek() {
            self.next(1);
            let right = self.logic()?;
            value = match sign {
                '+' => value.wrapping_add(right),
                _ => value.wrapping_sub(right),
            };
        }
        Ok(value)
    }

    fn logic(&mut self) -> Result<i64, String> {
        let mut value = self.product()?;
        while let Some(sign @ ('&' | '|' | '^')) = self.peek() {
            self.next(1);
            let right = self.product()?;
            value = match sign {
                '&' => value & right,
                '|' => value | right,
                _ => value ^ right,
            };
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<i64, String> {
        let mut value = self.unary()?;
        while let Some(sign @ ('*' | '/' | '%')) = self.peek() {
            self.next(1);
            let right = self.unary()?;
            value = match sign {
                '*' => value.wrapping_mul(right),
                _ if right == 0 => return Err("division by zero".to_owned()),
                '/' => value.wrapping_div(right),
                _ => value.wrapping_rem(right),
            };
        }
        Ok(value)
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("expression is nested too deep".to_owned());
        }
        let value = self.unary_inside();
        self.depth -= 1;
        value
    }

    fn unary_inside(&mut self) -> Result<i64, String> {
        match self.peek() {
            None => Err("unexpected end of expression".to_owned()),
            Some('+') => {
                self.next(1);
                self.unary()
            }
            Some('-') => {
                self.next(1);
                self.unary().map(i64::wrapping_neg)
            }
            Some('~') => {
                self.next(1);
                self.unary().map(|n| !n)
            }
            Some('(') => {
                self.next(1);
                let value = self.sum()?;
                match self.peek() {
                    Some(')') => self.next(1),
                    _ => return Err("')' expected".to_owned()),
                }
                Ok(value)
            }
            Some('\'') => self.character(),
            Some('$') => self.register(),
            Some(_) => self.number(),
        }
    }

    fn character(&mut self) -> Result<i64, String> {
        self.skip(1);
        let c = self
            .peek()
            .ok_or_else(|| "character constant expected".to_owned())?;
        self.skip(c.len_utf8());
        if self.peek() != Some('\'') {
            return Err("missing terminating \\' character".to_owned());
        }
        self.next(1);
        Ok(i64::from(u32::from(c)))
    }

    fn register(&mut self) -> Result<i64, String> {
        self.skip(1);
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.' && c != ':')
            .unwrap_or(self.rest.len());
        let value = self
            .registers
            .register(&self.rest[..end])
            .ok_or_else(|| "unknown register".to_owned())?;
        self.next(end);
        Ok(value.cast_signed())
    }

    fn number(&mut self) -> Result<i64, String> {
        let (radix, prefix) = match self.rest.as_bytes() {
            [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (16, 2),
            [b'0', b'0'..=b'7', ..] => (8, 1),
            _ => (10, 0),
        };
        let digits = &self.rest[prefix..];
        let len = digits
            .find(|c: char| !c.is_digit(radix))
            .unwrap_or(digits.len());
        if len == 0 {
            let c = self.peek().unwrap_or(' ');
            return Err(format!("invalid char '{c}' in expression"));
        }
        let value = u64::from_str_radix(&digits[..len], radix)
            .map_err(|_| "number too large".to_owned())?;
        self.next(prefix + len);
        Ok(value.cast_signed())
    }
}
