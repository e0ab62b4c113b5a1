//! ACPI tables of the user's: `-acpitable`.
//! ```text
//!   -acpitable data=FILE[:FILE]...[,HEADER=VALUE]...     bytes behind a header that is made
//!   -acpitable file=FILE[:FILE]...[,HEADER=VALUE]...     a table with its header
//!   header = sig(4) length(4) rev(1) checksum(1) oem_id(6) oem_table_id(8) oem_rev(4) asl_compiler_id(4) asl_compiler_rev(4)
//! ```

use std::path::Path;

use qapi::{Error, Result};

use super::values::pairs;
use crate::files;
use crate::plan::Plan;

const HEADER: usize = 36;
const LENGTH: std::ops::Range<usize> = 4..8;
const CHECKSUM: usize = 9;
/// Texts of the header, and numbers.
const TEXTS: [(&str, usize, usize); 4] = [
    ("sig", 0, 4),
    ("oem_id", 10, 6),
    ("oem_table_id", 16, 8),
    ("asl_compiler_id", 28, 4),
];
const NUMBERS: [(&str, usize, usize); 3] = [
    ("rev", 8, 1),
    ("oem_rev", 24, 4),
    ("asl_compiler_rev", 32, 4),
];
/// A table's largest size.
const MOST: u64 = 1 << 20;

/// Takes an option.
pub(super) fn acpitable(plan: &mut Plan, value: &str) -> Result<()> {
    let parts = pairs(value, "");
    let known = |key: &str| {
        matches!(key, "data" | "file")
            || TEXTS.iter().chain(&NUMBERS).any(|(name, ..)| *name == key)
    };
    if let Some((key, _)) = parts.iter().find(|(key, _)| !known(key)) {
        return Err(Error::new(format!("Invalid parameter '{key}'")));
    }
    let named = |wanted: &str| {
        let found = parts.iter().find(|(key, _)| key == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let mut table = match (named("data"), named("file")) {
        (Some(data), None) => {
            let mut table = default_header().to_vec();
            table.extend(content(data)?);
            table
        }
        (None, Some(file)) => content(file)?,
        _ => {
            let text = "'-acpitable' requires one of 'data' or 'file'";
            return Err(Error::new(text));
        }
    };
    if table.len() < HEADER {
        let text = "ACPI table claiming to have header is too short";
        return Err(Error::new(format!(
            "{text}, available: {}, expected: {HEADER}",
            table.len()
        )));
    }
    fill(&mut table, &parts)?;
    plan.acpi_tables.push(table);
    Ok(())
}

fn default_header() -> [u8; HEADER] {
    *b"QEMU\0\0\0\0\x01\0QEMUQEQEMUQEMU\x01\0\0\0QEMU\x01\0\0\0"
}

/// The bytes of files one after the other.
fn content(names: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for name in names.split(':') {
        let bytes = files::content(Path::new(name), MOST)
            .map_err(|error| Error::from_io(format!("can't open file {name}"), &error))?;
        out.extend(bytes);
    }
    if out.len() as u64 > MOST {
        return Err(Error::new("ACPI table is too large"));
    }
    Ok(out)
}

/// Fields that were given, the length, the checksum.
fn fill(table: &mut [u8], parts: &[(String, String)]) -> Result<()> {
    for (key, value) in parts {
        if let Some((_, at, size)) = TEXTS.iter().find(|(name, ..)| name == key) {
            let bytes = value.bytes().chain(std::iter::repeat(0));
            for (slot, byte) in table[*at..at + size].iter_mut().zip(bytes) {
                *slot = byte;
            }
        }
        if let Some((name, at, size)) = NUMBERS.iter().find(|(name, ..)| name == key) {
            let number: u64 = value
                .parse()
                .map_err(|_| Error::new(format!("Parameter '{name}' expects a uint64 value")))?;
            let bytes = number.to_le_bytes();
            if bytes[*size..].iter().any(|byte| *byte != 0) {
                return Err(Error::new(format!("value of '{name}' is too large")));
            }
            table[*at..at + size].copy_from_slice(&bytes[..*size]);
        }
    }
    let length = u32::try_from(table.len()).unwrap_or(u32::MAX);
    table[LENGTH].copy_from_slice(&length.to_le_bytes());
    table[CHECKSUM] = 0;
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    table[CHECKSUM] = sum;
    Ok(())
}
