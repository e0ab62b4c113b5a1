//! File names: `json:{...}`, `PROTOCOL:rest`, or a plain path.

use std::os::unix::fs::FileTypeExt;

use block_core::Node;
use block_protocols::{FILTERS, PROTOCOLS};
use qapi::{Dict, Error, Value, json};

use crate::registry::unknown;

/// Options of the node that a name means.
pub(crate) enum Named {
    /// The options of a whole tree.
    Tree(Dict),
    /// The options of a protocol node, with its driver.
    Protocol(Dict),
}

/// The part before the first `:`, when it can be a protocol's: no `/` comes earlier.
fn prefix(name: &str) -> Option<&str> {
    let end = name.find([':', '/'])?;
    (name.as_bytes()[end] == b':' && end > 0).then(|| &name[..end])
}

/// Whether a name is no path of the host.
pub(crate) fn has_protocol(name: &str) -> bool {
    prefix(name).is_some()
}

/// Reads a name as typed by a user.
///
/// # Errors
/// `Unknown protocol 'X'`, or what JSON and the protocol say.
pub(crate) fn parse(name: &str) -> qapi::Result<Named> {
    if let Some(text) = name.strip_prefix("json:") {
        let value =
            json::parse(text).map_err(|e| e.prefix("Could not parse the JSON options: "))?;
        return match value {
            Value::Dict(options) => qapi::opts::nest(options).map(Named::Tree),
            _ => Err(Error::new("Invalid JSON object given")),
        };
    }
    let mut options = Dict::new();
    if name.starts_with(':') {
        return Err(Error::new("Unknown protocol ''"));
    }
    let Some(prefix) = prefix(name) else {
        let driver = if is_device(name) {
            "host_device"
        } else {
            "file"
        };
        options.insert("driver", driver);
        options.insert("filename", name);
        return Ok(Named::Protocol(options));
    };
    let filter = FILTERS.iter().find(|d| d.name == prefix);
    if let Some(filter) = filter
        && let Some(parse_filename) = filter.parse_filename
    {
        parse_filename(name, &mut options)?;
        options.insert("driver", filter.name);
        return Ok(Named::Protocol(options));
    }
    let driver = PROTOCOLS
        .iter()
        .find(|d| d.prefixes.contains(&prefix))
        .ok_or_else(|| unknown("protocol", prefix))?;
    (driver.parse_filename)(name, &mut options)?;
    options.insert("driver", driver.name);
    Ok(Named::Protocol(options))
}

fn is_device(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|m| {
        let kind = m.file_type();
        kind.is_block_device() || kind.is_char_device()
    })
}

/// `name` as an image called `image` means it: relative to the image's folder.
pub fn beside(image: &str, name: &str) -> String {
    if name.starts_with('/') || has_protocol(name) {
        return name.to_owned();
    }
    match image.rfind('/') {
        Some(end) if !has_protocol(image) => format!("{}{name}", &image[..=end]),
        _ => name.to_owned(),
    }
}

/// The name of an image, and what names inside of it are relative to.
#[derive(Clone)]
pub(crate) struct ImageName {
    /// As users see it.
    pub(crate) name: String,
    folder: qapi::Result<String>,
}

impl ImageName {
    /// Of a name alone.
    pub(crate) fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: Ok(name.to_owned()),
        }
    }

    /// Of the node that holds the image.
    pub(crate) fn of(node: &Node) -> Self {
        Self {
            name: node.filename().to_owned(),
            folder: node.folder_of(),
        }
    }

    /// The file whose folder names in the image are relative to.
    pub(crate) fn path(&self) -> &str {
        self.folder.as_ref().map_or(&self.name, String::as_str)
    }

    /// A name found in the image.
    ///
    /// # Errors
    /// When it is relative and the image is in no folder.
    pub(crate) fn resolve(&self, found: &str) -> qapi::Result<String> {
        if found.starts_with('/') || has_protocol(found) {
            return Ok(found.to_owned());
        }
        self.folder.clone().map(|image| beside(&image, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_before_the_colon_makes_a_path() {
        assert!(has_protocol("nbd:x"));
        assert!(!has_protocol("./a:b"));
        assert!(!has_protocol("plain"));
        assert!(!has_protocol(":x"));
    }

    #[test]
    fn names_in_images_are_relative_to_their_folder() {
        assert_eq!(beside("/a/b/top", "base"), "/a/b/base");
        assert_eq!(beside("top", "base"), "base");
        assert_eq!(beside("d/top", "/base"), "/base");
        assert_eq!(beside("d/top", "nbd:x"), "nbd:x");
    }

    #[test]
    fn unknown_protocols_are_refused() {
        let error = parse("foo:bar").err().unwrap();
        assert_eq!(error.message(), "Unknown protocol 'foo'");
    }
}
