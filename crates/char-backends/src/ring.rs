//! The last bytes sent, kept in memory until someone asks for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use backend_core::chars::Sink;

use super::Port;

/// A ring; copies are the same one.
#[derive(Debug, Clone)]
pub struct Ring {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    size: usize,
}

impl Ring {
    /// Takes the oldest bytes out, so many at most.
    pub fn take(&self, most: usize) -> Vec<u8> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = most.min(bytes.len());
        bytes.drain(..count).collect()
    }

    /// Adds bytes; the oldest go when there is no room.
    pub fn put(&self, new: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in new {
            if bytes.len() == self.size {
                bytes.pop_front();
            }
            bytes.push_back(*byte);
        }
    }
}

impl Sink for Ring {
    fn send(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }
}

/// Makes one.
pub(super) fn open(size: usize) -> Port {
    let ring = Ring {
        bytes: Arc::default(),
        size,
    };
    let mut port = Port::new("ringbuf", Box::new(ring.clone()), None);
    port.ring = Some(ring);
    port
}
