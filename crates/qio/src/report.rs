//! What commands print of what they did.

use qapi::out;
use std::time::Duration;

const UNITS: [&str; 7] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size in the largest unit that it fills, with three digits after the point unless they are zeroes.
pub(crate) fn size(bytes: f64) -> String {
    let mut unit = 0;
    let mut value = bytes;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 {
        format!("{value:.6}")
    } else {
        format!("{value:.3}")
    };
    let shown = match digits.find(".000") {
        Some(point) => &digits[..point],
        None => &digits,
    };
    format!("{shown} {}", UNITS[unit])
}

/// A whole number of bytes.
#[expect(clippy::cast_precision_loss, reason = "a size for people")]
pub(crate) fn bytes(bytes: u64) -> String {
    size(bytes as f64)
}

/// One finished request or several.
pub(crate) struct Report {
    pub(crate) what: &'static str,
    pub(crate) offset: u64,
    pub(crate) asked: u64,
    pub(crate) done: u64,
    pub(crate) took: Duration,
    /// One line for machines.
    pub(crate) machine: bool,
}

impl Report {
    /// Prints it.
    pub(crate) fn print(&self) {
        out::text(&self.text());
    }

    /// Its lines.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(crate) fn text(&self) -> String {
        let seconds = self.took.as_secs_f64().max(1e-9);
        let per_second = self.done as f64 / seconds;
        if self.machine {
            return format!(
                "{},1,{},{per_second:.3},{:.3}\n",
                self.done,
                time(self.took, true),
                1.0 / seconds
            );
        }
        format!(
            "{} {}/{} bytes at offset {}\n{}, 1 ops; {} ({}/sec and {:.4} ops/sec)\n",
            self.what,
            self.done,
            self.asked,
            self.offset,
            bytes(self.done),
            time(self.took, false),
            size(per_second),
            1.0 / seconds
        )
    }
}

fn time(took: Duration, whole: bool) -> String {
    let all = took.as_secs();
    let (hours, minutes) = (all / 3600, all / 60 % 60);
    let seconds = took.as_secs_f64() - f64::from(u32::try_from(all / 60 * 60).unwrap_or(0));
    if whole || all > 0 {
        format!("{hours}:{minutes:02}:{seconds:05.2}")
    } else {
        format!("{seconds:05.2} sec")
    }
}

/// Bytes as a dump: 16 a line, in hexadecimal and as characters.
pub(crate) fn dump(buf: &[u8], offset: u64) -> String {
    let mut out = String::new();
    for (line, at) in buf.chunks(16).zip((offset..).step_by(16)) {
        out.push_str(&format!("{at:08x}:  "));
        for byte in line {
            out.push_str(&format!("{byte:02x} "));
        }
        out.push(' ');
        for byte in line {
            let shown = byte.is_ascii_alphanumeric();
            out.push(if shown { char::from(*byte) } else { '.' });
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_lose_zeroes_only() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(65536), "64 KiB");
        assert_eq!(bytes(1_807_000), "1.723 MiB");
        assert_eq!(size(1023.5), "1023.500000 bytes");
    }

    #[test]
    fn times_have_hours_when_asked() {
        assert_eq!(time(Duration::from_millis(5), false), "00.01 sec");
        assert_eq!(time(Duration::from_millis(5), true), "0:00:00.01");
        assert_eq!(time(Duration::from_millis(1500), false), "0:00:01.50");
        assert_eq!(time(Duration::from_secs(3725), false), "1:02:05.00");
    }
}
