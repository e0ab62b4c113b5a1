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
    /// Something that may wake the sleeping machine has happened.
    Wake,
    /// The guest says it crashed; true when it goes on to save a dump of itself.
    Panicked(bool),
    /// End the program with this code (test devices).
    Exit(i32),
    /// The guest set its clock, to so many seconds beyond what it showed.
    ClockSet(i64),
}

/// Where devices put a [`Request`]; copies share it. The first wish stands until it is taken; only what wakes a machine
/// waits behind it, as it may come before the machine is asleep, and the last setting of the clock.
#[derive(Debug, Clone, Default)]
pub struct Control {
    wishes: Arc<Mutex<Wishes>>,
    waiting: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Wishes {
    first: Option<Request>,
    wake: bool,
    clock: Option<i64>,
}

impl Control {
    /// Nothing asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks.
    pub fn ask(&self, request: Request) {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        match request {
            Request::Wake => wishes.wake = true,
            Request::ClockSet(offset) => wishes.clock = Some(offset),
            other => {
                wishes.first.get_or_insert(other);
            }
        }
        self.waiting.store(true, Ordering::Release);
    }

    /// Whether something was asked for.
    pub fn waits(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes one wish away; another may still wait.
    pub fn take(&self) -> Option<Request> {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        let wish = wishes
            .first
            .take()
            .or_else(|| std::mem::take(&mut wishes.wake).then_some(Request::Wake))
            .or_else(|| wishes.clock.take().map(Request::ClockSet));
        let more = wishes.wake || wishes.clock.is_some();
        self.waiting.store(more, Ordering::Release);
        wish
    }
}
