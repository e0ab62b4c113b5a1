//! Parallel flash with Intel's command set (CFI 01, JESD68.01), one byte wide, as firmware keeps its variables in.
//!
//! ```text
//!   array --10 40--> program --data--> status      60 lock   70 status   90 identity   98 query   50 clear status
//!         --20-----> erase --d0------> status      ff f0 array
//!         --e8-----> count --> data * (count + 1) --d0--> status
//! ```
//! In array mode the guest reads (and runs) memory; every write, and every read in other modes, comes here.

use backend_core::disk::{Disk, Io, Op};
use guest_mem::Ram;
use hw_core::bits::low8;
use hw_core::device::{restore_record, save_record};
use hw_core::memory::{Backing, MappingId, Shared, change};
use hw_core::{Device, StateError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(test)]
mod tests;

/// Bytes that are erased at a time; a flash is a multiple of it.
pub const BLOCK: u64 = 4096;
const READY: u8 = 0x80;
const PROGRAM_FAILED: u8 = 0x10;
const ERASE_FAILED: u8 = 0x20;
const CONFIRM: u8 = 0xd0;
const SECTOR: u64 = 512;

/// What a read shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Shown {
    Array,
    Status,
    Identity,
    Query,
}

/// What the next write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Next {
    Command,
    Data,
    EraseConfirm,
    LockConfirm,
    Count,
    /// So many bytes follow.
    Buffer(u8),
    BufferConfirm,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    shown: Shown,
    next: Next,
    status: u8,
    /// Bytes of a buffer that waits for its confirmation.
    buffer: Vec<(u64, u8)>,
}

impl State {
    fn new() -> Self {
        Self {
            shown: Shown::Array,
            next: Next::Command,
            status: READY,
            buffer: Vec::new(),
        }
    }
}

/// A flash; see the head of this file. What it holds is the machine's memory, not its state.
pub struct Flash {
    ram: Ram,
    memory: Shared,
    number: usize,
    mapping: MappingId,
    /// What is written goes here too; without it the flash is read-only.
    disk: Option<Box<dyn Disk>>,
    /// First and last byte that the disk does not have yet.
    dirty: Option<(u64, u64)>,
    storing: bool,
    state: State,
}

impl Flash {
    /// Maps a flash at `start`, as device `number` of its machine. `ram` holds its content and is a multiple of
    /// [`BLOCK`].
    pub fn new(
        ram: Ram,
        start: u64,
        number: usize,
        memory: &Shared,
        disk: Option<Box<dyn Disk>>,
    ) -> Self {
        let mapping = change(memory).map(start, ram.size(), 0, array(&ram, number));
        Self {
            ram,
            memory: Shared::clone(memory),
            number,
            mapping,
            disk,
            dirty: None,
            storing: false,
            state: State::new(),
        }
    }

    fn show(&mut self, shown: Shown) {
        let before = std::mem::replace(&mut self.state.shown, shown);
        if (before == Shown::Array) != (shown == Shown::Array) {
            self.follow();
        }
    }

    /// Brings the mapping in line with what is shown.
    fn follow(&self) {
        let backing = match self.state.shown {
            Shown::Array => array(&self.ram, self.number),
            _ => Backing::device(self.number, 0),
        };
        change(&self.memory).set_backing(self.mapping, backing);
    }

    fn command(&mut self, code: u8) {
        let (shown, next) = match code {
            0x10 | 0x40 => (Shown::Status, Next::Data),
            0x20 => (Shown::Status, Next::EraseConfirm),
            0x60 => (Shown::Status, Next::LockConfirm),
            0x70 => (Shown::Status, Next::Command),
            0x90 => (Shown::Identity, Next::Command),
            0x98 => (Shown::Query, Next::Command),
            0xe8 => {
                self.state.status |= READY;
                (Shown::Status, Next::Count)
            }
            0x50 => {
                self.state.status = 0;
                (Shown::Array, Next::Command)
            }
            _ => (Shown::Array, Next::Command),
        };
        self.state.next = next;
        self.show(shown);
    }

    /// The command is over; its outcome is in the status.
    fn done(&mut self, failed: u8) {
        self.state.status |= READY | failed;
        self.state.next = Next::Command;
    }

    fn program(&mut self, bytes: &[(u64, u8)]) {
        if self.disk.is_none() {
            return self.done(PROGRAM_FAILED);
        }
        for (at, byte) in bytes {
            // Beyond the end there is nothing.
            let _ = self.ram.write(*at, &[*byte]);
        }
        let places = bytes.iter().map(|(at, _)| *at);
        if let (Some(first), Some(last)) = (places.clone().min(), places.max()) {
            self.store(first, last);
        }
        self.done(0);
    }

    fn erase(&mut self, at: u64) {
        if self.disk.is_none() {
            return self.done(ERASE_FAILED);
        }
        let first = at & !(BLOCK - 1);
        let ones = [0xff; 4096];
        if self.ram.write(first, &ones).is_ok() {
            self.store(first, first + BLOCK - 1);
        }
        self.done(0);
    }

    /// Notes that the disk lacks these bytes, and writes what it lacks unless a write is under way.
    fn store(&mut self, first: u64, last: u64) {
        let (from, to) = self.dirty.unwrap_or((first, last));
        self.dirty = Some((from.min(first), to.max(last)));
        self.flush();
    }

    fn flush(&mut self) {
        let (Some(disk), Some((first, last)), false) = (&mut self.disk, self.dirty, self.storing)
        else {
            return;
        };
        let first = first & !(SECTOR - 1);
        let end = (last | (SECTOR - 1)).saturating_add(1).min(self.ram.size());
        let Some(len) = end.checked_sub(first) else {
            self.dirty = None;
            return;
        };
        let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
        if self.ram.read(first, &mut data).is_err() {
            self.dirty = None;
            return;
        }
        disk.submit(Io {
            token: 0,
            op: Op::Write,
            offset: first,
            len,
            data,
        });
        self.dirty = None;
        self.storing = true;
    }

    fn shown_byte(&self, offset: u64) -> u8 {
        match self.state.shown {
            Shown::Array => {
                let mut byte = [0xff];
                // Beyond the end there is nothing.
                let _ = self.ram.read(offset, &mut byte);
                byte[0]
            }
            Shown::Status => self.state.status,
            Shown::Identity => match low8(offset) {
                0 => 0x89,
                1 => 0x18,
                _ => 0,
            },
            Shown::Query => query(self.ram.size(), low8(offset)),
        }
    }
}

fn array(ram: &Ram, number: usize) -> Backing {
    Backing::Flash {
        ram: ram.clone(),
        device: number,
        region: 0,
        offset: 0,
    }
}

/// A byte of the query table: who made the command set, voltages, times, size, one region of equal blocks.
fn query(size: u64, at: u8) -> u8 {
    let blocks = (size / BLOCK).saturating_sub(1).to_le_bytes();
    let log2 = u8::try_from(size.max(1).ilog2()).unwrap_or(0);
    let block = (BLOCK >> 8).to_le_bytes();
    match at {
        0x10..=0x12 => b"QRY"[usize::from(at - 0x10)],
        0x13 => 1,
        0x15 => 0x31,
        0x1b => 0x45,
        0x1c => 0x55,
        0x1f | 0x20 => 7,
        0x21 => 10,
        0x23..=0x25 => 4,
        0x27 => log2,
        0x2a => 8,
        0x2c => 1,
        0x2d => blocks[0],
        0x2e => blocks[1],
        0x2f => block[0],
        0x30 => block[1],
        0x31..=0x35 => b"PRI10"[usize::from(at - 0x31)],
        _ => 0,
    }
}

impl Device for Flash {
    fn name(&self) -> &'static str {
        "cfi.pflash01"
    }

    fn read(&mut self, _region: u32, offset: u64, bytes: usize) -> u64 {
        let mut raw = [0; 8];
        for (n, slot) in (0..).zip(raw.iter_mut().take(bytes)) {
            *slot = self.shown_byte(offset.wrapping_add(n));
        }
        u64::from_le_bytes(raw)
    }

    fn write(&mut self, _region: u32, offset: u64, bytes: usize, value: u64) {
        let byte = low8(value);
        match self.state.next {
            Next::Command => self.command(byte),
            Next::Data => {
                let all = (offset..).zip(value.to_le_bytes()).take(bytes);
                self.program(&all.collect::<Vec<_>>());
            }
            Next::EraseConfirm if byte == CONFIRM => self.erase(offset),
            Next::LockConfirm if byte == CONFIRM || byte == 1 => self.done(0),
            Next::Count => {
                self.state.buffer.clear();
                self.state.next = Next::Buffer(byte);
            }
            Next::Buffer(left) => {
                self.state.buffer.push((offset, byte));
                self.state.next = match left.checked_sub(1) {
                    Some(left) => Next::Buffer(left),
                    None => Next::BufferConfirm,
                };
            }
            Next::BufferConfirm if byte == CONFIRM => {
                let buffer = std::mem::take(&mut self.state.buffer);
                self.program(&buffer);
            }
            Next::EraseConfirm | Next::LockConfirm | Next::BufferConfirm => {
                self.state.buffer.clear();
                self.state.next = Next::Command;
                self.show(Shown::Array);
            }
        }
    }

    fn completed(&mut self) {
        let done = match &mut self.disk {
            Some(disk) => disk.take_done(),
            None => return,
        };
        for one in &done {
            if let Err(errno) = one.result {
                tracing::error!(errno, "firmware's flash cannot be stored");
            }
        }
        if !done.is_empty() {
            self.storing = false;
            self.flush();
        }
    }

    fn storing(&self) -> bool {
        self.storing
    }

    fn reset(&mut self) {
        self.state.next = Next::Command;
        self.state.status = READY;
        self.state.buffer.clear();
        self.show(Shown::Array);
    }

    fn save(&self) -> Value {
        save_record(&self.state)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: State = restore_record(state)?;
        if saved.buffer.len() > 256 {
            return Err(StateError("a buffer that cannot be".to_owned()));
        }
        self.state = saved;
        self.follow();
        Ok(())
    }
}
