//! What may differ between two good tools: dates, sizes on disk, the random content ids of some formats, the
//! random numbers of unnamed nodes, the seconds that `bench` took, and a warning about a guessed format that the reference
//! says again when it opens a file a second time. Nothing else is forgiven.

use std::collections::HashSet;

/// `text` with those things replaced by fixed words.
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut warned = HashSet::new();
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        if line.starts_with("WARNING: Image format was not specified") && !warned.insert(line) {
            // Its two lines of explanation.
            lines.next();
            lines.next();
            continue;
        }
        out.push_str(&normalise_line(line));
    }
    out
}

fn normalise_line(line: &str) -> String {
    let trimmed = line.trim_start();
    let indent = &line[..line.len() - trimmed.len()];
    let end = if line.ends_with('\n') { "\n" } else { "" };
    for key in ["disk size:", "cid:", "parent cid:"] {
        if trimmed.starts_with(key) {
            return format!("{indent}{key} *{end}");
        }
    }
    for key in [
        "\"actual-size\":",
        "\"cid\":",
        "\"parent-cid\":",
        "\"date-sec\":",
        "\"date-nsec\":",
    ] {
        if trimmed.starts_with(key) {
            let comma = if trimmed.trim_end().ends_with(',') {
                ","
            } else {
                ""
            };
            return format!("{indent}{key} *{comma}{end}");
        }
    }
    if trimmed.starts_with("Run completed in ") {
        return format!("{indent}Run completed in * seconds.{end}");
    }
    replace_node_numbers(&replace_dates(line))
}

/// Replaces the digits of `#block123`.
fn replace_node_numbers(line: &str) -> String {
    let mut parts = line.split("#block");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("#block*");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// Replaces `YYYY-MM-DD HH:MM:SS`.
fn replace_dates(line: &str) -> String {
    const SHAPE: &[u8] = b"0000-00-00 00:00:00";
    let bytes = line.as_bytes();
    let fits = |at: usize| {
        bytes.get(at..at + SHAPE.len()).is_some_and(|window| {
            window.iter().zip(SHAPE).all(|(b, shape)| {
                if *shape == b'0' {
                    b.is_ascii_digit()
                } else {
                    b == shape
                }
            })
        })
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if fits(at) {
            out.extend_from_slice(b"DATE");
            at += SHAPE.len();
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What the io tools print, without times and rates.
pub fn without_rates(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(line.split(" ops; ").next().unwrap_or(line));
        out.push('\n');
    }
    out
}

/// The first difference between two texts, shown line by line; `None` when they are equal.
pub fn difference(reference: &str, ours: &str) -> Option<String> {
    use std::fmt::Write;
    if reference == ours {
        return None;
    }
    let mut shown = String::new();
    let (mut theirs, mut mine) = (reference.lines(), ours.lines());
    loop {
        match (theirs.next(), mine.next()) {
            (None, None) => break,
            (a, b) if a == b => {
                let _ = writeln!(shown, "    {}", a.unwrap_or_default());
            }
            (a, b) => {
                for (mark, line) in [('-', a), ('+', b)] {
                    if let Some(line) = line {
                        let _ = writeln!(shown, "  {mark} {line}");
                    }
                }
            }
        }
    }
    if reference.trim_end() == ours.trim_end() {
        shown.push_str("  (they differ in the final line ends)\n");
    }
    Some(shown)
}

#[cfg(test)]
mod tests;
