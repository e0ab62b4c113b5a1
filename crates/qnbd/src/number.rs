//! Numbers of the command line.

use qapi::parse_integer;

/// Reads a count that is not negative and fits an `int`.
pub(crate) fn count(text: &str) -> Option<u32> {
    let value = i32::try_from(parse_integer(text)?).ok()?;
    u32::try_from(value).ok()
}

/// Reads an offset; a minus sign wraps around.
pub(crate) fn offset(text: &str) -> Option<u64> {
    let value = parse_integer(text)?;
    let size = u64::try_from(value.unsigned_abs()).ok()?;
    Some(if value < 0 { size.wrapping_neg() } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_not_negative_and_fit_an_int() {
        assert_eq!(count("0x10"), Some(16));
        assert_eq!(count("-0"), Some(0));
        for wrong in ["", "-1", "2147483648", "1x"] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn offsets_wrap_around() {
        assert_eq!(offset("-1"), Some(u64::MAX));
        assert_eq!(offset("18446744073709551616"), None);
        assert_eq!(offset("100x"), None);
    }
}
