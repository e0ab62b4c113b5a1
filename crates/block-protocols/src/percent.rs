//! Percent escapes of names (RFC 3986, section 2.1).

/// `%41` is `A`. `None`: it is broken, or no text.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        match u8::from_str_radix(digits, 16).ok()? {
            0 => return None,
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}
