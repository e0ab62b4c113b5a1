//! Lets workers do one step in the order of their pieces, whatever order they get there in.
//!
//! It makes what a target allocates independent of the number of workers and of their luck.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Numbers from 0 on pass one at a time.
#[derive(Default)]
pub(crate) struct Turnstile {
    next: AtomicU64,
    closed: AtomicBool,
    moved: Notify,
}

impl Turnstile {
    /// Waits until all numbers before `number` have passed. `false`: closed, nobody passes any more.
    pub(crate) async fn wait(&self, number: u64) -> bool {
        loop {
            let moved = self.moved.notified();
            if self.closed.load(Ordering::Acquire) {
                return false;
            }
            if self.next.load(Ordering::Acquire) == number {
                return true;
            }
            moved.await;
        }
    }

    /// Whether somebody failed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The number whose turn it was has passed.
    pub(crate) fn pass(&self) {
        self.next.fetch_add(1, Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    /// Somebody failed: all who wait or come later are turned away.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
