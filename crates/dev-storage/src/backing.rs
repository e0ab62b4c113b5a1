//! A disk of the block layer as devices use it: requests run as tasks of a runtime beside the machine.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use backend_core::Wake;
use backend_core::disk::{Disk, Done, Geometry, Io, Op};
use block_core::{Root, WriteFlags, ZeroFlags};
use reactor::Background;

use crate::accounts::Accounts;

#[cfg(test)]
mod tests;

/// Size of a sector.
const SECTOR: u64 = 512;

/// A root of the block graph behind a device.
pub struct BlockDisk {
    root: Arc<Root>,
    runtime: Arc<Background>,
    wake: Wake,
    read_only: bool,
    done: Arc<Mutex<Vec<Done>>>,
    accounts: Arc<Accounts>,
}

impl BlockDisk {
    /// A disk on `root`; `wake` is called when something has ended.
    pub fn new(root: Arc<Root>, runtime: Arc<Background>, wake: Wake, read_only: bool) -> Self {
        Self {
            root,
            runtime,
            wake,
            read_only,
            done: Arc::default(),
            accounts: Arc::default(),
        }
    }

    /// The same, with what it does written into `accounts`.
    #[must_use]
    pub fn counted(self, accounts: Arc<Accounts>) -> Self {
        Self { accounts, ..self }
    }
}

impl Disk for BlockDisk {
    fn geometry(&self) -> Geometry {
        // A length that cannot be had is an empty disk: every request is then out of range.
        let bytes = self.root.length().unwrap_or(0);
        Geometry {
            bytes: bytes - bytes % SECTOR,
            read_only: self.read_only,
        }
    }

    fn submit(&mut self, mut io: Io) {
        let root = Arc::clone(&self.root);
        let done = Arc::clone(&self.done);
        let wake = self.wake.clone();
        let accounts = Arc::clone(&self.accounts);
        let start = Instant::now();
        self.runtime.spawn(async move {
            let result = carry_out(&root, &mut io).await;
            accounts.ended(&io, result.is_ok(), start);
            let result = result.map_err(|error| error.raw_os_error().unwrap_or(EIO));
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Done { io, result });
            wake.wake();
        });
    }

    fn take_done(&mut self) -> Vec<Done> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut done)
    }
}

/// An error of the host that has no number.
const EIO: i32 = 5;

async fn carry_out(root: &Root, io: &mut Io) -> io::Result<()> {
    match io.op {
        Op::Read => root.read(io.offset, &mut io.data).await,
        Op::Write => root.write(io.offset, &io.data, WriteFlags::default()).await,
        Op::Flush => root.flush().await,
        Op::Discard => root.discard(io.offset, io.len).await,
        Op::Zeroes { unmap } => {
            let flags = ZeroFlags {
                may_unmap: unmap,
                ..ZeroFlags::default()
            };
            root.write_zeroes(io.offset, io.len, flags).await
        }
    }
}
