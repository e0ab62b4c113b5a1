//! A part of an open disk as a disk of its own.

use std::sync::Arc;

use block_core::Node;
use qapi::Dict;

use crate::open::{Flags, Session};

impl Session {
    /// Puts a raw node over `node` that begins at an offset in bytes.
    ///
    /// # Errors
    /// In QEMU's words, when the disk ends before it.
    pub async fn window(
        &self,
        node: Arc<Node>,
        offset: u64,
        flags: Flags,
    ) -> qapi::Result<Arc<Node>> {
        let mut options = Dict::new();
        options.insert("offset", offset);
        self.open_raw(node, options, flags, false).await
    }
}
