//! Disk backends: what a disk controller talks to.
//!
//! A device submits a request with the bytes to write, or room for those to read, and goes on. What is done waits until the
//! device takes it. A request owns its bytes until then, so a device that was reset cannot free what the host still
//! writes to.

use std::collections::VecDeque;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Fills `data` from the disk.
    Read,
    /// Writes `data`.
    Write,
    /// Makes what was written before safe.
    Flush,
    /// The range may lose its content.
    Discard,
    /// The range reads as zeroes; the space may be given back.
    Zeroes {
        /// Give the space back where possible.
        unmap: bool,
    },
}

/// One request. Offsets and lengths are in bytes and multiples of 512.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Io {
    /// The device's name for it.
    pub token: u64,
    /// What it does.
    pub op: Op,
    /// Where.
    pub offset: u64,
    /// How much; for reads and writes the length of `data`.
    pub len: u64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A request that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The request, its `data` filled if it was a read that went well.
    pub io: Io,
    /// How it went; a positive errno if not well.
    pub result: Result<(), i32>,
}

/// What a disk is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Its size in bytes, a multiple of 512.
    pub bytes: u64,
    /// Writes are refused.
    pub read_only: bool,
}

/// A disk. The device checks ranges against the size; a backend checks them again.
pub trait Disk: Send {
    /// What the disk is like now.
    fn geometry(&self) -> Geometry;

    /// Starts a request. Requests that run at the same time may end in any order.
    fn submit(&mut self, io: Io);

    /// Takes what has ended.
    fn take_done(&mut self) -> Vec<Done>;
}

/// A disk in memory, for tests: requests end at once, or when they are let go.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    /// The content.
    pub bytes: Vec<u8>,
    /// Writes are refused.
    pub read_only: bool,
    /// Requests wait until [`MemoryDisk::let_go`].
    pub held: bool,
    /// The next requests fail with this errno.
    pub failing: Option<i32>,
    /// What was asked for, in order.
    pub log: Vec<(Op, u64, u64)>,
    waiting: VecDeque<Io>,
    done: Vec<Done>,
}

impl MemoryDisk {
    /// A disk of `bytes` zeroes.
    pub fn new(bytes: usize) -> Self {
        Self {
            bytes: vec![0; bytes],
            ..Self::default()
        }
    }

    /// Lets requests that wait end.
    pub fn let_go(&mut self) {
        while let Some(io) = self.waiting.pop_front() {
            let done = self.carry_out(io);
            self.done.push(done);
        }
    }

    fn carry_out(&mut self, mut io: Io) -> Done {
        let result = match self.failing {
            Some(errno) => Err(errno),
            None => self.try_carry_out(&mut io),
        };
        Done { io, result }
    }

    fn try_carry_out(&mut self, io: &mut Io) -> Result<(), i32> {
        const EINVAL: i32 = 22;
        let start = usize::try_from(io.offset).map_err(|_| EINVAL)?;
        let len = usize::try_from(io.len).map_err(|_| EINVAL)?;
        let end = start.checked_add(len).ok_or(EINVAL)?;
        let range = self.bytes.get_mut(start..end).ok_or(EINVAL)?;
        match io.op {
            Op::Read => io.data.copy_from_slice(range),
            Op::Write => range.copy_from_slice(&io.data),
            Op::Zeroes { .. } => range.fill(0),
            Op::Flush | Op::Discard => {}
        }
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn geometry(&self) -> Geometry {
        Geometry {
            bytes: self.bytes.len() as u64,
            read_only: self.read_only,
        }
    }

    fn submit(&mut self, io: Io) {
        self.log.push((io.op, io.offset, io.len));
        self.waiting.push_back(io);
        if !self.held {
            self.let_go();
        }
    }

    fn take_done(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.done)
    }
}

/// A disk that a test looks at from outside while a device has it.
impl<D: Disk> Disk for std::sync::Arc<std::sync::Mutex<D>> {
    fn geometry(&self) -> Geometry {
        locked(self).geometry()
    }

    fn submit(&mut self, io: Io) {
        locked(self).submit(io);
    }

    fn take_done(&mut self) -> Vec<Done> {
        locked(self).take_done()
    }
}

fn locked<D>(disk: &std::sync::Mutex<D>) -> std::sync::MutexGuard<'_, D> {
    disk.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
