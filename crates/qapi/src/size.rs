//! Sizes as users type and read them (`qemu-img(1)`, "size" operands).
//!
//! ```text
//! size   = number [suffix]
//! number = digits [ "." [digits] ]  |  "0x" hexdigits
//! suffix = one of b k m g t p e, either case: 1, 2^10, 2^20 ... 2^60
//! ```
//! A fraction needs a suffix above `b` and rounds to the nearest byte, ties up; hexadecimal takes neither fraction
//! nor suffix.

/// Why a text is not a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeError {
    /// Not of the grammar.
    Malformed,
    /// Negative, or 2^64 and more.
    OutOfRange,
}

/// Reads a size in bytes; without suffix the number is multiplied by `unit`.
///
/// # Errors
/// See [`SizeError`]; the caller words it.
pub fn parse_size_unit(text: &str, unit: u64) -> Result<u64, SizeError> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let (text, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    let value = if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        hexadecimal(hex)?
    } else {
        decimal(text, unit)?
    };
    if negative && value != 0 {
        return Err(SizeError::OutOfRange);
    }
    Ok(value)
}

/// Reads a size in bytes.
///
/// # Errors
/// See [`SizeError`]; the caller words it.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    parse_size_unit(text, 1)
}

fn hexadecimal(digits: &str) -> Result<u64, SizeError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(SizeError::Malformed);
    }
    u64::from_str_radix(digits, 16).map_err(|_| SizeError::OutOfRange)
}

fn decimal(text: &str, unit: u64) -> Result<u64, SizeError> {
    let whole_len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(whole_len);
    if whole.is_empty() && !rest.starts_with('.') {
        return Err(SizeError::Malformed);
    }
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, suffix) = rest.split_at(len);
            (Some(fraction), suffix)
        }
        None => (None, rest),
    };
    if whole.is_empty() && fraction.is_none_or(str::is_empty) {
        return Err(SizeError::Malformed);
    }
    let factor = if suffix.is_empty() {
        unit
    } else {
        factor(suffix)?
    };
    if fraction.is_some() && factor == 1 {
        return Err(SizeError::Malformed);
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| SizeError::OutOfRange)?
    };
    let bytes = u64::checked_mul(whole, factor).ok_or(SizeError::OutOfRange)?;
    let part = fraction.map_or(0, |digits| fraction_of(digits, factor));
    bytes.checked_add(part).ok_or(SizeError::OutOfRange)
}

fn factor(suffix: &str) -> Result<u64, SizeError> {
    let mut letters = suffix.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else {
        return Err(SizeError::Malformed);
    };
    let at = "bkmgtpe"
        .find(letter.to_ascii_lowercase())
        .ok_or(SizeError::Malformed)?;
    Ok(1 << (10 * at))
}

/// `0.digits` of `factor`, to the nearest byte, ties up. Digits past the 18th cannot matter for a factor up to 2^60.
fn fraction_of(digits: &str, factor: u64) -> u64 {
    let digits = &digits[..digits.len().min(18)];
    let number: u128 = digits.parse().unwrap_or(0);
    let scale = 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    let bytes = (number * u128::from(factor) * 2 + scale) / (scale * 2);
    u64::try_from(bytes).unwrap_or(factor)
}

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size for people: three significant digits and a unit (`512 B`, `1.5 GiB`); from 1000 of a unit on the next
/// one is used (`0.977 MiB`).
pub fn format_size(bytes: u64) -> String {
    let mut unit = 0;
    let mut scale = 1.0_f64;
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let exact = bytes as f64;
    while exact / scale >= 1000.0 && unit + 1 < UNITS.len() {
        unit += 1;
        scale *= 1024.0;
    }
    format!("{} {}", three_digits(exact / scale), UNITS[unit])
}

/// C's `%0.3g` for numbers from 0 to 1024.
fn three_digits(value: f64) -> String {
    let decimals = match value {
        v if v >= 999.5 => return "1e+03".to_owned(),
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 || v == 0.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
