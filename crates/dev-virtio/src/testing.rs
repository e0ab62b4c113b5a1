//! A guest for tests: memory, and a driver's side of one ring.

use guest_mem::Ram;
use hw_core::memory::{AddressSpace, Backing, Shared, change};

use crate::Queue;

pub(crate) const DESCRIPTORS: u64 = 0x1000;
pub(crate) const AVAILABLE: u64 = 0x2000;
pub(crate) const USED: u64 = 0x3000;
pub(crate) const SIZE: u16 = 8;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// Memory of 1 MiB, and what the driver knows of its ring.
pub(crate) struct Guest {
    pub(crate) ram: Ram,
    pub(crate) memory: Shared,
    next_descriptor: u16,
    available: u16,
    seen: u16,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let ram = Ram::new(1 << 20).expect("memory");
        let memory = AddressSpace::shared();
        let backing = Backing::Ram {
            ram: ram.clone(),
            offset: 0,
        };
        change(&memory).map(0, 1 << 20, 0, backing);
        Self {
            ram,
            memory,
            next_descriptor: 0,
            available: 0,
            seen: 0,
        }
    }

    /// A queue over this ring, on.
    pub(crate) fn queue(&self, features: u64) -> Queue {
        let mut queue = Queue::new(SIZE);
        (queue.descriptors, queue.available, queue.used) = (DESCRIPTORS, AVAILABLE, USED);
        queue.switch_on(features);
        queue
    }

    pub(crate) fn put(&self, at: u64, bytes: &[u8]) {
        self.ram.write(at, bytes).expect("in memory");
    }

    pub(crate) fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.ram.read(at, &mut out).expect("in memory");
        out
    }

    pub(crate) fn descriptor(
        &self,
        table: u64,
        index: u16,
        address: u64,
        len: u32,
        flags: u16,
        next: u16,
    ) {
        let mut raw = Vec::new();
        raw.extend(address.to_le_bytes());
        raw.extend(len.to_le_bytes());
        raw.extend(flags.to_le_bytes());
        raw.extend(next.to_le_bytes());
        self.put(table + u64::from(index) * 16, &raw);
    }

    /// Puts a request into the ring: pieces to read, pieces to write. Gives its head.
    pub(crate) fn offer(&mut self, readable: &[(u64, u32)], writable: &[(u64, u32)]) -> u16 {
        let head = self.next_descriptor;
        let count = readable.len() + writable.len();
        for (n, (address, len)) in readable.iter().chain(writable).enumerate() {
            let index = self.next_descriptor;
            let next = (index + 1) % SIZE;
            let last = n + 1 == count;
            let flags = if last { 0 } else { NEXT } | if n < readable.len() { 0 } else { WRITE };
            self.descriptor(DESCRIPTORS, index, *address, *len, flags, next);
            self.next_descriptor = next;
        }
        self.publish(head);
        head
    }

    /// Offers room for `len` bytes in a ring whose parts lie behind each other from `start`.
    pub(crate) fn legacy_offer(&self, start: u64, address: u64, len: u32) {
        self.descriptor(start, 0, address, len, WRITE, 0);
        let available = start + u64::from(SIZE) * 16;
        self.put(available + 4, &0_u16.to_le_bytes());
        self.put(available + 2, &1_u16.to_le_bytes());
    }

    /// Makes a head available.
    pub(crate) fn publish(&mut self, head: u16) {
        let slot = u64::from(self.available % SIZE);
        self.put(AVAILABLE + 4 + slot * 2, &head.to_le_bytes());
        self.available = self.available.wrapping_add(1);
        self.put(AVAILABLE + 2, &self.available.to_le_bytes());
    }

    /// What the device has given back since the last call: head and bytes written.
    pub(crate) fn given_back(&mut self) -> Vec<(u32, u32)> {
        let number = |at, len| self.ram.read_uint(at, len).expect("in memory");
        let index = u16::try_from(number(USED + 2, 2)).expect("two bytes");
        let mut out = Vec::new();
        while self.seen != index {
            let at = USED + 4 + u64::from(self.seen % SIZE) * 8;
            let part = |at| {
                u32::try_from(self.ram.read_uint(at, 4).expect("in memory")).expect("four bytes")
            };
            out.push((part(at), part(at + 4)));
            self.seen = self.seen.wrapping_add(1);
        }
        out
    }
}
