//! Numbers in commands; refusals go to standard output, as results do.

use qapi::SizeError;
use qapi::out;

/// Why a command failed; whatever there is to say was said.
pub(crate) struct Failed;

/// Longest request in bytes.
pub(crate) const MAX_REQUEST: u64 = 0x7fff_fe00;

/// Reads a number with optional suffix.
///
/// # Errors
/// Told.
pub(crate) fn number(text: &str) -> Result<u64, Failed> {
    match qapi::parse_size(text) {
        Ok(value) if i64::try_from(value).is_ok() => Ok(value),
        // A negative number is "too large" too.
        Ok(_) | Err(SizeError::OutOfRange) => {
            out::line(format!("Parsing error: argument too large -- {text}"));
            Err(Failed)
        }
        Err(SizeError::Malformed) => {
            out::line(format!(
                "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- {text}"
            ));
            Err(Failed)
        }
    }
}

/// Reads the length of a request.
///
/// # Errors
/// Told.
pub(crate) fn length(text: &str) -> Result<usize, Failed> {
    let value = number(text)?;
    if value > MAX_REQUEST {
        out::line(format!("length cannot exceed {MAX_REQUEST}, given {text}"));
        return Err(Failed);
    }
    usize::try_from(value).map_err(|_| Failed)
}

/// Reads a byte: decimal, hexadecimal or octal.
///
/// # Errors
/// Told.
pub(crate) fn pattern(text: &str) -> Result<u8, Failed> {
    let byte = qapi::parse_integer(text).and_then(|n| u8::try_from(n).ok());
    byte.ok_or_else(|| {
        out::line(format!("{text} is not a valid pattern byte"));
        Failed
    })
}

/// Reads the lengths of several buffers: their sum, and each.
///
/// # Errors
/// Told.
pub(crate) fn lengths(texts: &[String]) -> Result<Vec<usize>, Failed> {
    let mut all = Vec::new();
    let mut sum = 0;
    for text in texts {
        let value = number(text)?;
        if value > MAX_REQUEST {
            out::line(format!(
                "Argument '{text}' exceeds maximum size {MAX_REQUEST}"
            ));
            return Err(Failed);
        }
        sum += value;
        if sum > MAX_REQUEST {
            out::line(format!(
                "The total number of bytes exceed the maximum size {MAX_REQUEST}"
            ));
            return Err(Failed);
        }
        all.push(usize::try_from(value).map_err(|_| Failed)?);
    }
    Ok(all)
}
