//! Base64 (RFC 4648, section 4), as secrets are written in: line ends are skipped, and the first `=` ends the text.

use qapi::{Error, Result};
use zeroize::Zeroizing;

/// The bytes a text stands for. The text is not in the error: it may be a secret.
pub(crate) fn decode(text: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    if text.contains(&0) {
        return Err(Error::new("Base64 data contains embedded NUL characters"));
    }
    // No growing: a vector that moves leaves a copy behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut have, mut ended) = (0_u32, 0, false);
    for &c in text {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'\r' | b'\n' => continue,
            b'=' => {
                ended = true;
                continue;
            }
            _ => return Err(Error::new("Base64 data contains invalid characters")),
        };
        if ended {
            continue;
        }
        bits = bits << 6 | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have & 0xff).to_le_bytes()[0]);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn texts_are_decoded() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9v\r\nYmFy\n", b"foobar"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(&decode(text.as_bytes()).unwrap()[..], bytes, "{text:?}");
        }
    }

    #[test]
    fn refusals_do_not_show_the_text() {
        for text in ["hunter%2", "hunter2\0"] {
            let error = decode(text.as_bytes()).unwrap_err();
            assert!(!error.message().contains("hunter"), "{error:?}");
        }
    }
}
