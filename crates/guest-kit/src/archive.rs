//! The archive that the kernel unpacks into its first file system (`cpio`, "newc").

/// Kinds of entries, with their permissions below.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive under way.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    number: u32,
}

impl Archive {
    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER | 0o755, b"");
    }

    pub(super) fn file(&mut self, name: &str, bytes: &[u8], mode: u32) {
        self.entry(name, FILE | mode, bytes);
    }

    pub(super) fn link(&mut self, name: &str, to: &str) {
        self.entry(name, LINK | 0o777, to.as_bytes());
    }

    fn entry(&mut self, name: &str, mode: u32, bytes: &[u8]) {
        self.number += 1;
        let len = u32::try_from(bytes.len()).expect("files here are small");
        let name_len = u32::try_from(name.len() + 1).expect("names here are short");
        // inode, mode, owner, group, links, time, length, four device numbers, length of the name, checksum
        let fields = [self.number, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_lie_at_multiples_of_four() {
        let mut archive = Archive::default();
        archive.file("init", b"abcde", 0o755);
        let bytes = archive.finish();
        assert_eq!(&bytes[..14], b"07070100000001");
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..121], b"abcde");
        assert_eq!(&bytes[124..130], b"070701");
    }
}
