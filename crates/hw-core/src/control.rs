//! What a device may ask of the whole machine: reset, power off, exit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A wish of the guest that the machine's loop fulfils after the access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Reset the whole machine.
    Reset,
    /// Power off.
    Shutdown,
    /// A watchdog ran out.
    Watchdog,
    /// Sleep to RAM (ACPI S3) until something wakes the machine.
    Suspend,
    /// The guest says it crashed; true when it goes on to save a dump of itself.
    Panicked(bool),
    /// End the program with this code (test devices).
    Exit(i32),
}

/// Where devices put a [`Request`]; copies share it. The first wish stands until it is taken.
#[derive(Debug, Clone, Default)]
pub struct Control {
    wish: Arc<Mutex<Option<Request>>>,
    waiting: Arc<AtomicBool>,
}

impl Control {
    /// Nothing asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks.
    pub fn ask(&self, request: Request) {
        let mut wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        wish.get_or_insert(request);
        self.waiting.store(true, Ordering::Release);
    }

    /// Whether something was asked for.
    pub fn waits(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes the wish away.
    pub fn take(&self) -> Option<Request> {
        let mut wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.store(false, Ordering::Release);
        wish.take()
    }
}
