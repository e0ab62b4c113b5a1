//! Numbers and bytes as the protocol writes them.

/// A number as C reads it: `0x` hexadecimal, `0` octal, else decimal.
pub(super) fn number(word: Option<&&str>) -> Result<u64, String> {
    let word = word.ok_or("an argument is missing")?;
    let (digits, radix) = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if word.len() > 1 && word.starts_with('0') => (&word[1..], 8),
        None => (*word, 10),
    };
    u64::from_str_radix(digits, radix).map_err(|_| format!("'{word}' is not a number"))
}

/// Bytes as hexadecimal digits after `0x`.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The bytes of hexadecimal digits after `0x`.
pub(super) fn unhex(word: Option<&&str>) -> Result<Vec<u8>, String> {
    let word = word.ok_or("an argument is missing")?;
    let digits = word.strip_prefix("0x").unwrap_or(word).as_bytes();
    let pairs = digits.chunks_exact(2);
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
    bytes.ok_or_else(|| "the data is not hexadecimal".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_does() {
        assert_eq!(number(Some(&"0x1F")), Ok(31));
        assert_eq!(number(Some(&"017")), Ok(15));
        assert_eq!(number(Some(&"0")), Ok(0));
        assert_eq!(number(Some(&"12")), Ok(12));
        assert!(number(Some(&"x")).is_err() && number(None).is_err());
    }

    #[test]
    fn bytes_come_back() {
        assert_eq!(unhex(Some(&"0x00ff7f")), Ok(vec![0, 255, 127]));
        assert_eq!(hex(&[0, 255, 127]), "0x00ff7f");
        assert!(unhex(Some(&"0xzz")).is_err());
    }
}
