//! Work that is got ready side by side and finished in order, by whoever is there.
//!
//! ```text
//!   tray --> get ready (any order) --> desk --> finish (in order) --> tray
//! ```
//!
//! What is ready is put on the desk under its number. Whoever puts something there goes on to finish what is due, unless
//! somebody does so already; then he gets the next one ready instead. So nobody waits for a turn, and work is handed from
//! one to the other only when there is enough of it. What is under way is bounded by the number of trays.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Numbered work, from 0 on without gaps.
pub(crate) struct Desk<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    due: u64,
    ready: BTreeMap<u64, T>,
    /// Somebody is finishing the one before.
    busy: bool,
}

impl<T> Default for Desk<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                due: 0,
                ready: BTreeMap::new(),
                busy: false,
            }),
        }
    }
}

impl<T> Desk<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts down what is ready.
    pub(crate) fn put(&self, number: u64, work: T) {
        self.state().ready.insert(number, work);
    }

    /// What is due, to be finished now, with [`Desk::done`] after it. `None`: it is not ready, or somebody else is at it.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.state();
        if state.busy {
            return None;
        }
        let due = state.due;
        let work = state.ready.remove(&due);
        state.busy = work.is_some();
        work
    }

    /// What was due is finished.
    pub(crate) fn done(&self) {
        let mut state = self.state();
        state.busy = false;
        state.due += 1;
    }
}

/// A number of things to work with, each used by one at a time.
pub(crate) struct Trays<T> {
    free: Mutex<Vec<T>>,
    total: usize,
    freed: Notify,
    closed: AtomicBool,
}

impl<T: Default> Trays<T> {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            free: Mutex::new((0..total).map(|_| T::default()).collect()),
            total,
            freed: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    fn free(&self) -> MutexGuard<'_, Vec<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a free one. `None`: closed.
    pub(crate) async fn take(&self) -> Option<T> {
        loop {
            let freed = self.freed.notified();
            if self.is_closed() {
                return None;
            }
            // The one used last is in the processor's cache.
            if let Some(tray) = self.free().pop() {
                return Some(tray);
            }
            freed.await;
        }
    }

    /// Gives one back. Those who wait are woken for several at once.
    pub(crate) fn give(&self, tray: T) {
        let mut free = self.free();
        free.push(tray);
        let enough = free.len() * 2 >= self.total;
        drop(free);
        if enough {
            self.freed.notify_waiters();
        }
    }

    /// Wakes those who wait, if there is anything for them.
    pub(crate) fn look(&self) {
        if !self.free().is_empty() {
            self.freed.notify_waiters();
        }
    }

    /// Somebody failed: nobody gets any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.freed.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
