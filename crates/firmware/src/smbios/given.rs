//! What a user says about the tables, and structures while they are written.
//! ```text
//!   structure = kind, length, handle (2), fields..., texts with a zero behind each, a zero (two when there is no text)
//! ```
//! Where a text belongs among the fields, its number stands.

use std::collections::BTreeMap;

/// Fields of one structure by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Texts.
    pub texts: BTreeMap<&'static str, String>,
    /// Numbers.
    pub numbers: BTreeMap<&'static str, u64>,
}

impl Fields {
    /// A text that was given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// A number, or what it is if none was given.
    pub(super) fn number(&self, name: &str, otherwise: u64) -> u64 {
        self.numbers.get(name).copied().unwrap_or(otherwise)
    }
}

/// Everything that a user says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Whole structures, with their texts. Nothing is built of their kinds.
    pub files: Vec<Vec<u8>>,
    /// Firmware (0); without it there is no such structure.
    pub bios: Option<Fields>,
    /// System (1).
    pub system: Fields,
    /// Base board (2); without it there is no such structure.
    pub board: Option<Fields>,
    /// Enclosure (3).
    pub enclosure: Fields,
    /// Processors (4).
    pub processor: Fields,
    /// Connectors (8).
    pub connectors: Vec<Fields>,
    /// Texts of the maker (11).
    pub texts: Vec<String>,
    /// Memory devices (17).
    pub memory: Fields,
    /// Devices on the board (41).
    pub on_board: Vec<Fields>,
}

/// The tables while they are written.
#[derive(Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: u16,
    largest: usize,
    /// Kinds of which nothing is built.
    from_files: Vec<u8>,
}

impl Builder {
    /// Adds a whole structure.
    pub(super) fn add_raw(&mut self, raw: &[u8]) {
        self.from_files.extend(raw.first());
        self.put(raw);
    }

    fn put(&mut self, raw: &[u8]) {
        self.bytes.extend(raw);
        self.count = self.count.saturating_add(1);
        self.largest = self.largest.max(raw.len());
    }

    /// Begins a structure.
    pub(super) fn structure(&mut self, kind: u8, handle: u16) -> Structure<'_> {
        Structure {
            builder: self,
            kind,
            handle,
            body: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Structures so far.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Size of the largest.
    pub(super) fn largest(&self) -> usize {
        self.largest
    }

    /// Size of all.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All of them.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A structure while it is written; it counts when it is ended.
pub(super) struct Structure<'b> {
    builder: &'b mut Builder,
    kind: u8,
    handle: u16,
    body: Vec<u8>,
    texts: Vec<String>,
}

impl Structure<'_> {
    /// Fields as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.body.extend(bytes);
        self
    }

    /// The number of a text that was given, or of this one; zero for none.
    pub(super) fn text(&mut self, fields: &Fields, name: &str, otherwise: Option<&str>) {
        match fields
            .get(name)
            .or(otherwise)
            .filter(|text| !text.is_empty())
        {
            Some(text) => {
                self.string(text);
                let number = u8::try_from(self.texts.len()).unwrap_or(u8::MAX);
                self.body.push(number);
            }
            None => self.body.push(0),
        }
    }

    /// A text whose number stands nowhere.
    pub(super) fn string(&mut self, text: &str) {
        self.texts.push(text.replace('\0', ""));
    }

    /// Puts the structure into the tables.
    pub(super) fn end(&mut self) {
        if self.builder.from_files.contains(&self.kind) {
            return;
        }
        let length = u8::try_from(self.body.len() + 4).unwrap_or(u8::MAX);
        let mut raw = vec![self.kind, length];
        raw.extend(self.handle.to_le_bytes());
        raw.append(&mut self.body);
        for text in &self.texts {
            raw.extend(text.as_bytes());
            raw.push(0);
        }
        if self.texts.is_empty() {
            raw.push(0);
        }
        raw.push(0);
        self.builder.put(&raw);
    }
}
