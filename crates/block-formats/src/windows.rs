//! Names of files as Windows programs write them into images.

/// Longest name that is followed.
const MAX: usize = 1023;

/// A text of 16-bit units, little endian; `None` when it is none, or has an end before its end.
pub(crate) fn utf16le(bytes: &[u8]) -> Option<String> {
    let units = bytes
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]));
    text(units)
}

/// The same, big endian.
pub(crate) fn utf16be(bytes: &[u8]) -> Option<String> {
    let units = bytes
        .chunks_exact(2)
        .map(|b| u16::from_be_bytes([b[0], b[1]]));
    text(units)
}

fn text(units: impl Iterator<Item = u16>) -> Option<String> {
    let mut units: Vec<u16> = units.collect();
    while units.last() == Some(&0) {
        units.pop();
    }
    let text = String::from_utf16(&units).ok()?;
    (!text.contains('\0')).then_some(text)
}

/// A relative name, as it is here: `.\dir\disk.vhd` is `dir/disk.vhd`.
pub(crate) fn relative(name: &str) -> String {
    let name = name.replace('\\', "/");
    let name = name.trim_start_matches("./");
    if name.starts_with('/') || name.as_bytes().get(1) == Some(&b':') {
        return beside(name);
    }
    kept(name)
}

/// A name with a drive or volume means nothing here: the file is looked for beside the image.
pub(crate) fn beside(name: &str) -> String {
    kept(name.rsplit(['\\', '/']).next().unwrap_or_default())
}

fn kept(name: &str) -> String {
    // A colon would make it a protocol's name.
    if name.len() > MAX || name.contains(':') {
        return String::new();
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{beside, relative, utf16le};

    #[test]
    fn names_become_ours() {
        assert_eq!(relative(r".\dir\a.vhd"), "dir/a.vhd");
        assert_eq!(relative(r"..\a.vhd"), "../a.vhd");
        assert_eq!(relative(r"C:\dir\a.vhd"), "a.vhd");
        assert_eq!(relative("nbd://host/a"), "");
        assert_eq!(beside(r"\\?\Volume{26A21BDA}\dir\a.vhdx"), "a.vhdx");
        assert_eq!(beside(r"C:a.vhd"), "");
    }

    #[test]
    fn texts_end_at_their_end() {
        assert_eq!(utf16le(b"a\0b\0\0\0").as_deref(), Some("ab"));
        assert_eq!(utf16le(b"a\0\0\0b\0"), None);
        assert_eq!(utf16le(b"\x00\xd8"), None);
    }
}
