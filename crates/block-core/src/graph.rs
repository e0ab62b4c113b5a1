//! The names of all nodes. Nodes are kept alive by their parents; the graph only knows them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use qapi::Error;

use crate::Node;

/// All nodes of a process by name.
#[derive(Default)]
pub struct Graph {
    nodes: Mutex<HashMap<String, Weak<Node>>>,
    next: AtomicU64,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for a node nobody named: `#block` and a number.
    pub fn auto_name(&self) -> String {
        format!("#block{:03}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Enters a node under its name.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn add(&self, node: &Arc<Node>) -> qapi::Result<()> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.get(node.name()).is_some_and(|n| n.strong_count() > 0) {
            return Err(Error::new(format!(
                "Duplicate nodes with node-name='{}'",
                node.name()
            )));
        }
        nodes.insert(node.name().to_owned(), Arc::downgrade(node));
        Ok(())
    }

    /// The node called `name`, if it is still there.
    pub fn find(&self, name: &str) -> Option<Arc<Node>> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(name).and_then(Weak::upgrade)
    }

    /// All nodes that are still there, in no order.
    pub fn all(&self) -> Vec<Arc<Node>> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|_, n| n.strong_count() > 0);
        nodes.values().filter_map(Weak::upgrade).collect()
    }
}
