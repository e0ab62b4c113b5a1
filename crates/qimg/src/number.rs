//! Numbers of the command line, refused in QEMU's words.

use std::ops::RangeInclusive;

use qapi::{Error, SizeError};

/// Any number that QEMU keeps in 63 bits.
pub(crate) const ANY: RangeInclusive<u64> = 0..=0x7fff_ffff_ffff_ffff;

/// Reads a number with optional size suffix. `noun` says in errors what it is.
///
/// # Errors
/// `Invalid NOUN specified: 'TEXT'.` or `Invalid NOUN specified. Must be between MIN and MAX.`
pub(crate) fn parse(noun: &str, text: &str, range: RangeInclusive<u64>) -> qapi::Result<u64> {
    match qapi::parse_size(text) {
        Ok(value) if range.contains(&value) => Ok(value),
        Err(SizeError::Malformed) => {
            Err(Error::new(format!("Invalid {noun} specified: '{text}'.")))
        }
        Ok(_) | Err(SizeError::OutOfRange) => Err(Error::new(format!(
            "Invalid {noun} specified. Must be between {} and {}.",
            range.start(),
            range.end()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_refusals_use_the_known_words() {
        let wrong = |text| {
            parse("bs", text, 1..=0x7fff_ffff)
                .unwrap_err()
                .message()
                .to_owned()
        };
        assert_eq!(wrong("x"), "Invalid bs specified: 'x'.");
        let range = "Invalid bs specified. Must be between 1 and 2147483647.";
        assert_eq!(wrong("0"), range);
        assert_eq!(wrong("4G"), range);
        assert_eq!(wrong("-1"), range);
        assert_eq!(parse("bs", "64k", 1..=0x7fff_ffff).unwrap(), 65536);
    }
}
