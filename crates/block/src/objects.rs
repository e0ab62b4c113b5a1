//! Objects that the user makes beside disks (`--object`), by id.

use object::{ObjectType, Objects};

use crate::open::Session;

pub use block_protocols::OBJECTS as FILTER_OBJECTS;

/// Types that disks use.
pub(crate) const TYPES: &[&[ObjectType]] = &[crypto::OBJECTS, FILTER_OBJECTS];

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
