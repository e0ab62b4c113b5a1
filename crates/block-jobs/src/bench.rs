//! Sends requests of one size at a constant depth, to measure how fast a disk takes them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use block_core::{Root, WriteFlags};
use tokio::sync::{Mutex, RwLock};

use crate::pool::run_all;

/// Flushes among writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushes {
    /// After how many requests, not less than the depth.
    pub interval: u64,
    /// Wait for all requests under way before a flush.
    pub drain: bool,
}

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct BenchOptions {
    /// How many requests.
    pub count: u64,
    /// How many at a time.
    pub depth: usize,
    /// Bytes of each.
    pub len: usize,
    /// Where the first one is.
    pub offset: u64,
    /// From one's start to the next one's; beyond the end of the disk it goes on at the front.
    pub step: u64,
    /// Write this byte instead of reading.
    pub write: Option<u8>,
    /// Flushes in between.
    pub flushes: Option<Flushes>,
}

struct Shared {
    disk: Arc<Root>,
    size: u64,
    options: BenchOptions,
    /// Requests sent, and where the next one goes.
    sent: Mutex<(u64, u64)>,
    /// Held shared by requests, alone by a flush that drains.
    running: RwLock<()>,
    failed: AtomicBool,
}

/// Sends all requests.
///
/// # Errors
/// The first error of a request.
pub async fn bench(disk: Arc<Root>, options: BenchOptions) -> io::Result<()> {
    let shared = Arc::new(Shared {
        size: disk.length()?,
        disk,
        options,
        sent: Mutex::new((0, options.offset)),
        running: RwLock::new(()),
        failed: AtomicBool::new(false),
    });
    let depth = u64::try_from(options.depth).unwrap_or(u64::MAX);
    let workers = depth.min(options.count);
    run_all((0..workers).map(|_| run(Arc::clone(&shared)))).await
}

async fn run(shared: Arc<Shared>) -> io::Result<()> {
    let options = shared.options;
    let mut buf = vec![options.write.unwrap_or(0); options.len];
    while !shared.failed.load(Ordering::Relaxed) {
        let (offset, flush) = {
            let mut sent = shared.sent.lock().await;
            if sent.0 == options.count {
                break;
            }
            sent.0 += 1;
            let offset = sent.1;
            sent.1 = (offset + options.step) % shared.size.max(1);
            let due = |f: Flushes| sent.0.is_multiple_of(f.interval) && sent.0 < options.count;
            (offset, options.flushes.filter(|f| due(*f)))
        };
        let result = shared.request(offset, flush, &mut buf).await;
        if result.is_err() {
            shared.failed.store(true, Ordering::Relaxed);
            return result;
        }
    }
    Ok(())
}

impl Shared {
    async fn request(&self, offset: u64, flush: Option<Flushes>, buf: &mut [u8]) -> io::Result<()> {
        {
            let _running = self.running.read().await;
            if self.options.write.is_some() {
                let flags = WriteFlags::default();
                self.disk.write(offset, buf, flags).await?;
            } else {
                self.disk.read(offset, buf).await?;
            }
        }
        let Some(flush) = flush else { return Ok(()) };
        let alone = if flush.drain {
            Some(self.running.write().await)
        } else {
            None
        };
        let result = self.disk.flush().await;
        drop(alone);
        result
    }
}

#[cfg(test)]
mod tests;
