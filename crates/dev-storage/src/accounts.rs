//! What a disk has done for its device: requests, bytes and time of each kind, as monitors show them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use backend_core::disk::{Io, Op};

/// Requests of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of those that went well.
    pub bytes: u64,
    /// Those that went well.
    pub operations: u64,
    /// Those that did not.
    pub failed: u64,
    /// Time that all of them took together.
    pub time: Duration,
}

/// Requests of a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Reads.
    pub read: Tally,
    /// Writes, zeroes too.
    pub write: Tally,
    /// Flushes.
    pub flush: Tally,
    /// Ranges given up.
    pub unmap: Tally,
    /// Where the highest write ended.
    pub written_to: u64,
    /// When a request last ended.
    pub last: Option<Instant>,
}

/// The accounts of a disk, shared between it and those who look.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<Totals>);

impl Accounts {
    /// What has been done so far.
    pub fn totals(&self) -> Totals {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that began at `start` has ended.
    pub(crate) fn ended(&self, io: &Io, well: bool, start: Instant) {
        let now = Instant::now();
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = match io.op {
            Op::Read => &mut totals.read,
            Op::Write | Op::Zeroes { .. } => &mut totals.write,
            Op::Flush => &mut totals.flush,
            Op::Discard => &mut totals.unmap,
        };
        tally.time += now.duration_since(start);
        if well {
            tally.operations += 1;
            tally.bytes = tally.bytes.saturating_add(io.len);
        } else {
            tally.failed += 1;
        }
        if well && io.op == Op::Write {
            let end = io.offset.saturating_add(io.len);
            totals.written_to = totals.written_to.max(end);
        }
        totals.last = Some(now);
    }
}
