//! The parent locator of a differencing image: pairs of UTF-16 texts that say which disk it stands on.

use super::header::{Guid, guid};
use crate::bytes::{le16, le32};
use crate::windows;

/// The type of a parent that is a vhdx image.
const VHDX: Guid = [
    0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13,
];
const HEAD: usize = 20;
const PAIR: usize = 12;
/// Where the parent is, best first.
const PATHS: [&str; 3] = ["relative_path", "volume_path", "absolute_win32_path"];

/// What a locator says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Locator {
    /// The parent's file, as it can be looked for here.
    pub(super) path: String,
    /// Ids that its content may have.
    pub(super) ids: Vec<String>,
}

/// As ids are compared: lower case, without braces.
fn plain(id: &str) -> String {
    id.trim_matches(['{', '}']).to_ascii_lowercase()
}

/// A GUID as locators write it, without braces.
pub(super) fn id_text(id: &Guid) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = id;
    let mut text = format!(
        "{d:02x}{c:02x}{b:02x}{a:02x}-{f:02x}{e:02x}-{h:02x}{g:02x}-{:02x}{:02x}-",
        rest[0], rest[1]
    );
    for byte in &rest[2..] {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl Locator {
    /// Reads one; `None` when it is not of a vhdx parent, or damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if guid(bytes, 0) != VHDX {
            return None;
        }
        let count = usize::from(le16(bytes, 18));
        let pairs = bytes.get(HEAD..HEAD + count * PAIR)?;
        let mut locator = Self::default();
        let mut found = [const { None }; PATHS.len()];
        for pair in pairs.chunks_exact(PAIR) {
            let text = |at: usize, length: u16| {
                let at = usize::try_from(le32(pair, at)).ok()?;
                let raw = bytes.get(at..at.checked_add(length.into())?)?;
                windows::utf16le(raw)
            };
            let key = text(0, le16(pair, 8))?;
            let value = text(4, le16(pair, 10))?;
            if key == "parent_linkage" || key == "parent_linkage2" {
                locator.ids.push(plain(&value));
            } else if let Some(number) = PATHS.iter().position(|path| *path == key) {
                found[number] = Some(value);
            }
        }
        let [relative, volume, absolute] = found;
        locator.path = match (relative, volume.or(absolute)) {
            (Some(path), _) => windows::relative(&path),
            (None, Some(path)) => windows::beside(&path),
            (None, None) => return None,
        };
        (!locator.path.is_empty()).then_some(locator)
    }
}
