//! Network backends: what a network device talks to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Largest frame that goes through a backend.
pub const MOST_FRAME: usize = 68 << 10;

/// One end of a network.
pub trait Network: Send {
    /// Sends a frame; never blocks, and drops what cannot be sent.
    fn send(&mut self, frame: &[u8]);

    /// Takes the next frame that came, if any.
    fn receive(&mut self) -> Option<Vec<u8>>;
}

/// A network in memory, for tests: what was sent is kept, and what comes is put there.
#[derive(Debug, Clone, Default)]
pub struct Loose {
    inner: Arc<Mutex<Frames>>,
}

#[derive(Debug, Default)]
struct Frames {
    sent: Vec<Vec<u8>>,
    coming: VecDeque<Vec<u8>>,
}

impl Loose {
    /// Lets a frame come.
    pub fn put(&self, frame: &[u8]) {
        self.frames().coming.push_back(frame.to_vec());
    }

    /// What was sent so far.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.frames().sent.clone()
    }

    fn frames(&self) -> std::sync::MutexGuard<'_, Frames> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network for Loose {
    fn send(&mut self, frame: &[u8]) {
        self.frames().sent.push(frame.to_vec());
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.frames().coming.pop_front()
    }
}
