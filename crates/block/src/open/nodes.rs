//! Nodes by themselves, as `-blockdev` makes them and monitors list them.

use std::sync::Arc;

use block_core::Node;
use qapi::Dict;

use super::{Flags, Session};

impl Session {
    /// Opens a tree of nodes from options. Nobody holds it yet: it is gone when the caller drops it.
    ///
    /// # Errors
    /// In QEMU's words.
    pub async fn add(&self, options: Dict, flags: Flags) -> qapi::Result<Arc<Node>> {
        self.open_tree(options, flags, 0).await
    }

    /// All nodes, in no order.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.graph.all()
    }
}
