//! The descriptor: lines of `key=value`, and lines that name extents.

use qapi::Result;

use super::header::se_sparse;
use crate::make::{invalid, unsupported};

/// Bytes of a descriptor inside an extent, and where it starts.
pub(super) const EMBEDDED: usize = 20 * 512;
pub(super) const EMBEDDED_AT: u64 = 512;
/// Bytes of a descriptor that are read.
pub(super) const MAX: u64 = (1 << 20) - 1;
/// Extents that an image may have.
const MAX_EXTENTS: usize = 65536;

/// Whether bytes are the start of a descriptor: comments and blank lines, then `version=1`, `2` or `3`.
pub(super) fn looks_like(head: &[u8]) -> bool {
    let mut rest = head;
    loop {
        match rest.first() {
            Some(b'#') => {
                let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                    return false;
                };
                rest = &rest[end + 1..];
            }
            Some(b' ') => {
                let blanks = rest.iter().take_while(|b| **b == b' ').count();
                rest = &rest[blanks..];
                rest = rest.strip_prefix(b"\r").unwrap_or(rest);
                let Some(next) = rest.strip_prefix(b"\n") else {
                    return false;
                };
                rest = next;
            }
            _ => break,
        }
    }
    let Some(version) = rest.strip_prefix(b"version=") else {
        return false;
    };
    let [b'1'..=b'3', end @ ..] = version else {
        return false;
    };
    end.starts_with(b"\n") || end.starts_with(b"\r\n")
}

/// What kind of extent a line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Plain bytes from an offset on.
    Flat(u64),
    /// Grains.
    Sparse,
}

/// One extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) sectors: u64,
    pub(super) kind: Kind,
    /// The word of the line.
    pub(super) word: &'static str,
    pub(super) file: String,
}

/// The text up to its first NUL.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The value of `key="value"`.
pub(super) fn quoted<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = text.find(key)? + key.len();
    let value = text.get(at + 2..)?;
    value.split_once('"').map(|(value, _)| value)
}

/// The number behind `key=`, in hexadecimal.
pub(super) fn hex(text: &str, key: &str) -> Option<u32> {
    let at = text.find(key)? + key.len();
    let digits = text.get(at..)?.trim_start();
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let end = digits.find(|c: char| !c.is_ascii_hexdigit());
    u32::from_str_radix(&digits[..end.unwrap_or(digits.len())], 16).ok()
}

/// The type of a descriptor in a file of its own.
///
/// # Errors
/// In the reference's words.
pub(super) fn create_type(text: &str) -> Result<String> {
    let found = quoted(text, "createType");
    let found = found.ok_or_else(|| invalid("invalid VMDK image descriptor"))?;
    let known = [
        "monolithicFlat",
        "vmfs",
        "vmfsSparse",
        "seSparse",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
    ];
    if known.contains(&found) {
        Ok(found.to_owned())
    } else {
        Err(unsupported(format!("Unsupported image type '{found}'")))
    }
}

/// All extents that a descriptor names.
///
/// # Errors
/// In the reference's words.
pub(super) fn extents(text: &str) -> Result<Vec<Line>> {
    let mut all = Vec::new();
    for line in text.lines() {
        if let Some(extent) = extent(line)? {
            all.push(extent);
        }
        if all.len() > MAX_EXTENTS {
            return Err(invalid("Too many extents"));
        }
    }
    Ok(all)
}

/// `RW sectors TYPE "file" [offset]`; `None` for other lines.
fn extent(line: &str) -> Result<Option<Line>> {
    let wrong = || invalid(format!("Invalid extent line: {line}"));
    let Some((head, rest)) = line.split_once('"') else {
        return Ok(None);
    };
    let mut words = head.split_ascii_whitespace();
    let (Some("RW"), Some(sectors), Some(word)) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    let Ok(sectors) = sectors.parse::<i64>() else {
        return Ok(None);
    };
    let Some((file, rest)) = rest.split_once('"') else {
        return Ok(None);
    };
    let rest = rest.trim();
    let offset = match rest.split_ascii_whitespace().next() {
        None => None,
        Some(number) => number.parse::<i64>().ok(),
    };
    let (word, kind) = match (word, offset) {
        ("FLAT", Some(offset)) => {
            let offset = u64::try_from(offset).map_err(|_| wrong())?;
            let bytes = offset.checked_mul(512).ok_or_else(wrong)?;
            ("FLAT", Kind::Flat(bytes))
        }
        ("FLAT", None) | ("VMFS", Some(_)) | ("SPARSE" | "VMFSSPARSE" | "SESPARSE", Some(_)) => {
            return Err(wrong());
        }
        ("VMFS", None) => ("VMFS", Kind::Flat(0)),
        ("SPARSE", None) => ("SPARSE", Kind::Sparse),
        ("VMFSSPARSE", None) => ("VMFSSPARSE", Kind::Sparse),
        ("SESPARSE", None) => return Err(se_sparse()),
        _ => return Ok(None),
    };
    let Some(sectors) = u64::try_from(sectors)
        .ok()
        .filter(|n| *n > 0 && *n < 1 << 53)
    else {
        return Ok(None);
    };
    Ok(Some(Line {
        sectors,
        kind,
        word,
        file: file.to_owned(),
    }))
}

/// What a new descriptor says.
pub(super) struct New<'a> {
    pub(super) cid: u32,
    pub(super) parent_cid: u32,
    pub(super) create_type: &'a str,
    pub(super) parent: Option<&'a str>,
    /// Lines of extents.
    pub(super) extents: &'a str,
    pub(super) hardware: &'a str,
    /// In bytes.
    pub(super) size: u64,
    pub(super) adapter: &'a str,
    pub(super) tools: &'a str,
}

impl New<'_> {
    /// Its text.
    pub(super) fn text(&self) -> String {
        let heads = if self.adapter == "ide" { 16 } else { 255 };
        let parent = self
            .parent
            .map(|name| format!("parentFileNameHint=\"{name}\""));
        format!(
            "# Disk DescriptorFile\nversion=1\nCID={:x}\nparentCID={:x}\ncreateType=\"{}\"\n{}\n\
             # Extent description\n{}\n# The Disk Data Base\n#DDB\n\n\
             ddb.virtualHWVersion = \"{}\"\nddb.geometry.cylinders = \"{}\"\nddb.geometry.heads = \"{heads}\"\n\
             ddb.geometry.sectors = \"63\"\nddb.adapterType = \"{}\"\nddb.toolsVersion = \"{}\"\n",
            self.cid,
            self.parent_cid,
            self.create_type,
            parent.unwrap_or_default(),
            self.extents,
            self.hardware,
            self.size / (63 * heads * 512),
            self.adapter,
            self.tools,
        )
    }
}

/// A descriptor with another content id.
pub(super) fn with_cid(text: &str, cid: u32) -> Option<String> {
    let parent = text.find("parentCID")?;
    let at = text.find("CID")?;
    if at >= parent {
        return None;
    }
    Some(format!("{}CID={cid:x}\n{}", &text[..at], &text[parent..]))
}
