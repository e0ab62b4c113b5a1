//! Objects that the user makes beside disks (`--object`), by id.

use block_protocols::OBJECTS as FILTER_OBJECTS;
use object::{ObjectType, Objects};

use crate::open::Session;

/// Types of objects that disks, their servers and clients use.
pub const OBJECT_TYPES: &[&[ObjectType]] = &[crypto::OBJECTS, FILTER_OBJECTS];

impl Session {
    /// Makes an object from an option string or JSON, for nodes that are opened later.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn add_object(&self, text: &str) -> qapi::Result<()> {
        self.objects.add(text)
    }

    /// All of them.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }
}
