//! How a job's owner watches and stops it, and how fast the job may go.

use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A job's owner. Called between pieces of work, from any worker.
pub trait Watch: Send + Sync {
    /// `done` of `total` units of work.
    fn progress(&self, done: u64, total: u64);
    /// Something the user should know of, without stopping.
    fn warn(&self, message: &str);
    /// The job is to stop at the next point where nothing is left half done.
    fn cancelled(&self) -> bool;
}

/// Keeps a stream of writes to some bytes a second.
pub(crate) struct Pace {
    bytes_per_sec: Option<NonZeroU64>,
    due: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(bytes_per_sec: Option<NonZeroU64>) -> Self {
        Self {
            bytes_per_sec,
            due: Mutex::new(Instant::now()),
        }
    }

    /// Waits until all bytes counted before could have been written, then counts these.
    pub(crate) async fn wait(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_sec else {
            return;
        };
        let now = Instant::now();
        let due = {
            let mut due = self
                .due
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let start = (*due).max(now);
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
            *due = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 2));
            start
        };
        if due > now {
            reactor::sleep(due - now).await;
        }
    }
}
