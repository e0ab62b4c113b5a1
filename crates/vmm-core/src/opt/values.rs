//! Values of options: sizes, switches, UUIDs.

use qapi::calendar::{Date, seconds_of};
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

/// `2006-06-17T16:01:21` or `2006-06-17` as seconds since 1970.
pub(super) fn date(text: &str) -> Option<i64> {
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, by: char| -> Option<Vec<i64>> {
        text.split(by).map(|part| part.parse().ok()).collect()
    };
    let (day, time) = (numbers(day, '-')?, numbers(time, ':')?);
    let ([year, month, day], [hour, minute, second]) = (day.as_slice(), time.as_slice()) else {
        return None;
    };
    let fits = (1970..=9999).contains(year)
        && (1..=12).contains(month)
        && (1..=31).contains(day)
        && (0..24).contains(hour)
        && (0..60).contains(minute)
        && (0..61).contains(second);
    if !fits {
        return None;
    }
    let small = |number: &i64| u8::try_from(*number).ok();
    Some(seconds_of(&Date {
        year: *year,
        month: small(month)?,
        day: small(day)?,
        hour: small(hour)?,
        minute: small(minute)?,
        second: small(second)?,
        weekday: 0,
    }))
}
