//! Numbers as C's `strtol` with base 0 reads them: blanks and a sign in front, `0x` for hexadecimal, `0` for octal, and
//! nothing after.

/// A number and its sign.
fn parse(text: &str) -> Option<(bool, u64)> {
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
    let value = u64::from_str_radix(digits, radix).ok()?;
    Some((negative, value))
}

/// Reads a count that is not negative and fits an `int`.
pub(crate) fn count(text: &str) -> Option<u32> {
    match parse(text)? {
        (true, 0) => Some(0),
        (true, _) => None,
        (false, value) => u32::try_from(value)
            .ok()
            .filter(|v| i32::try_from(*v).is_ok()),
    }
}

/// Reads an offset; a minus sign wraps around.
pub(crate) fn offset(text: &str) -> Option<u64> {
    let (negative, value) = parse(text)?;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_strtol() {
        assert_eq!(count("12"), Some(12));
        assert_eq!(count(" +0x10"), Some(16));
        assert_eq!(count("010"), Some(8));
        assert_eq!(count("0"), Some(0));
        for wrong in [
            "",
            "abc",
            "1x",
            "-1",
            "08",
            "0x",
            "--1",
            "+-1",
            "2147483648",
            "1 ",
        ] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
        assert_eq!(offset("-1"), Some(u64::MAX));
        assert_eq!(offset("18446744073709551616"), None);
        assert_eq!(offset("100x"), None);
    }
}
