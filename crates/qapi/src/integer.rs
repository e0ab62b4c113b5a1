//! Integers as C's `strtol` with base 0 reads them: blanks and a sign in front, `0x` for hexadecimal, `0` for octal, and
//! nothing after.

use std::num::IntErrorKind;

/// Reads an integer; one that is beyond all that anybody asks for becomes the largest there is.
pub fn parse_integer(text: &str) -> Option<i128> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    // `from_str_radix` would take another sign.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = match i128::from_str_radix(digits, radix) {
        Ok(value) => value,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => i128::MAX,
        Err(_) => return None,
    };
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_strtol() {
        for (text, value) in [
            ("12", 12),
            (" +0x10", 16),
            ("010", 8),
            ("0", 0),
            ("\t-1", -1),
            ("18446744073709551616", 1 << 64),
            ("99999999999999999999999999999999999999999", i128::MAX),
        ] {
            assert_eq!(parse_integer(text), Some(value), "{text}");
        }
        for wrong in ["", "abc", "1x", "08", "0x", "--1", "+-1", "0x-1", "1 ", "-"] {
            assert_eq!(parse_integer(wrong), None, "{wrong}");
        }
    }
}
