//! Locks over byte ranges: shared for writes in place, exclusive for what changes a mapping.
//!
//! Reads take none. Waiters are served when a range they overlap goes away; an exclusive waiter is entered
//! at once as waiting, so that a stream of shared holders cannot starve it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Clone, Copy)]
struct Held {
    id: u64,
    start: u64,
    end: u64,
    exclusive: bool,
}

#[derive(Default)]
struct Table {
    next: u64,
    held: Vec<Held>,
}

/// The ranges of one node that are being written.
#[derive(Default)]
pub struct RangeLock {
    table: Mutex<Table>,
    released: Notify,
}

/// Holds a range until dropped.
pub struct RangeGuard<'a> {
    lock: &'a RangeLock,
    id: u64,
}

impl Drop for RangeGuard<'_> {
    fn drop(&mut self) {
        self.lock.table().held.retain(|h| h.id != self.id);
        self.lock.released.notify_waiters();
    }
}

impl RangeLock {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no exclusive holder or earlier exclusive waiter overlaps `[start, end)`.
    pub async fn shared(&self, start: u64, end: u64) -> RangeGuard<'_> {
        self.acquire(start, end, false).await
    }

    /// Waits until nobody who came earlier overlaps `[start, end)`.
    pub async fn exclusive(&self, start: u64, end: u64) -> RangeGuard<'_> {
        self.acquire(start, end, true).await
    }

    async fn acquire(&self, start: u64, end: u64, exclusive: bool) -> RangeGuard<'_> {
        let guard = self.enter(start, end, exclusive);
        loop {
            let released = self.released.notified();
            if !self.must_wait(guard.id) {
                return guard;
            }
            released.await;
        }
    }

    fn enter(&self, start: u64, end: u64, exclusive: bool) -> RangeGuard<'_> {
        let mut table = self.table();
        let id = table.next;
        table.next += 1;
        table.held.push(Held {
            id,
            start,
            end,
            exclusive,
        });
        RangeGuard { lock: self, id }
    }

    /// Entries are in order of arrival, so the earlier ones are those before our own.
    fn must_wait(&self, id: u64) -> bool {
        let table = self.table();
        let Some(at) = table.held.iter().position(|h| h.id == id) else {
            return false;
        };
        let me = table.held[at];
        table.held[..at]
            .iter()
            .any(|h| (h.exclusive || me.exclusive) && h.start < me.end && me.start < h.end)
    }
}
