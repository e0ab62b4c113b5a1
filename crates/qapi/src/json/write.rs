//! The writer.

use std::fmt::Write;

use crate::{Dict, Value};

/// QEMU's dictionaries have this many buckets and are walked bucket by bucket.
const BUCKETS: u32 = 512;

/// The form `--output=json` has, without a newline at the end.
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out, Some(0));
    out
}

/// One line, `", "` between members and `": "` after keys, as QMP.
pub fn compact(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out, None);
    out
}

/// Members in the order in which QEMU prints them: by bucket, newest first within one.
pub fn qemu_order(dict: &Dict) -> Vec<(&str, &Value)> {
    let mut members: Vec<_> = dict.iter().collect();
    members.reverse();
    members.sort_by_key(|(key, _)| bucket(key));
    members
}

fn bucket(key: &str) -> u32 {
    let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hash = 0x238F_13AF_u32.wrapping_mul(len);
    for (index, byte) in key.bytes().enumerate() {
        hash = hash.wrapping_add(u32::from(byte) << (index * 5 % 24));
    }
    hash.wrapping_mul(1_103_515_243).wrapping_add(12345) % BUCKETS
}

/// `indent`: depth of the pretty form, `None` for one line.
fn write(value: &Value, out: &mut String, indent: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(on) => out.push_str(if *on { "true" } else { "false" }),
        Value::Int(n) => push(out, n),
        Value::Uint(n) => push(out, n),
        Value::Float(n) => out.push_str(&float(*n)),
        Value::Str(text) => string(text, out),
        Value::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                separate(out, n, indent);
                write(item, out, indent.map(|d| d + 1));
            }
            close(out, ']', indent);
        }
        Value::Dict(dict) => {
            out.push('{');
            for (n, (key, item)) in qemu_order(dict).into_iter().enumerate() {
                separate(out, n, indent);
                string(key, out);
                out.push_str(": ");
                write(item, out, indent.map(|d| d + 1));
            }
            close(out, '}', indent);
        }
    }
}

fn push(out: &mut String, number: impl std::fmt::Display) {
    write!(out, "{number}").expect("a String takes everything");
}

fn separate(out: &mut String, index: usize, indent: Option<usize>) {
    match indent {
        Some(depth) => {
            if index > 0 {
                out.push(',');
            }
            newline(out, depth + 1);
        }
        None if index > 0 => out.push_str(", "),
        None => {}
    }
}

fn close(out: &mut String, bracket: char, indent: Option<usize>) {
    if let Some(depth) = indent {
        newline(out, depth);
    }
    out.push(bracket);
}

fn newline(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("    ", depth));
}

/// C's `%.17g`.
fn float(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e17 {
        return format!("{value:.0}");
    }
    let exponent = value.abs().log10().floor();
    if (-5.0..17.0).contains(&exponent) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 21"
        )]
        let decimals = (16.0 - exponent) as usize;
        return format!("{value:.decimals$}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned();
    }
    format!("{value:.16e}")
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04X}").expect("a String takes everything");
                }
            }
        }
    }
    out.push('"');
}

/// A record as an indented tree, four spaces a level, as `info` shows it to people.
pub fn human_tree(record: &Dict, depth: usize, out: &mut String) {
    for (key, value) in qemu_order(record) {
        branch(&format!("{}:", key.replace('-', " ")), value, depth, out);
    }
}

fn branch(label: &str, value: &Value, depth: usize, out: &mut String) {
    let indent = "    ".repeat(depth);
    match value {
        Value::Dict(record) => {
            out.push_str(&format!("{indent}{label}\n"));
            human_tree(record, depth + 1, out);
        }
        Value::List(list) => {
            out.push_str(&format!("{indent}{label}\n"));
            for (index, item) in list.iter().enumerate() {
                branch(&format!("[{index}]:"), item, depth + 1, out);
            }
        }
        Value::Str(text) => out.push_str(&format!("{indent}{label} {text}\n")),
        other => out.push_str(&format!("{indent}{label} {}\n", compact(other))),
    }
}
