//! Values of options: sizes, switches, UUIDs.

use qapi::{Error, Result};

/// A size; a bare number counts `unit` bytes.
pub(super) fn size(name: &str, text: &str, unit: u64) -> Result<u64> {
    qapi::parse_size_unit(text, unit).map_err(|_| {
        let text = format!("Parameter '{name}' expects a non-negative number below 2^64");
        Error::new(text).hint(
            "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.",
        )
    })
}

/// `on` or `off`.
pub(super) fn switch(name: &str, text: &str) -> Result<bool> {
    qapi::opts::parse_bool(name, text)
}

/// A number.
pub(super) fn number(name: &str, text: &str) -> Result<u32> {
    text.parse()
        .map_err(|_| Error::new(format!("Parameter '{name}' expects a number")))
}

/// A UUID as it is written.
pub(super) fn uuid(text: &str) -> Result<[u8; 16]> {
    let wrong = || Error::new("failed to parse UUID string: wrong format");
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths != [8, 4, 4, 4, 12] || !text.is_ascii() {
        return Err(wrong());
    }
    let digits = groups.concat();
    let mut raw = [0; 16];
    for (n, slot) in raw.iter_mut().enumerate() {
        *slot = u8::from_str_radix(&digits[n * 2..n * 2 + 2], 16).map_err(|_| wrong())?;
    }
    Ok(raw)
}

/// Names and values of an option string; a bare first word is the value of `implied`.
pub(super) fn pairs(text: &str, implied: &str) -> Vec<(String, String)> {
    qapi::opts::split(text, Some(implied))
}
