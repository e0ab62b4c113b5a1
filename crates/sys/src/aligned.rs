//! Memory whose start is aligned for direct I/O, and a store of such memory that is free.

use std::sync::{Mutex, PoisonError};

/// Alignment that every device and file system takes, in bytes.
const ALIGN: usize = 4096;

/// Free memory that is kept, in bytes.
const KEPT: usize = 16 << 20;

/// Bytes that start at a multiple of 4096.
#[derive(Debug, Default)]
pub struct Aligned {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Zeroes.
    pub fn new(len: usize) -> Self {
        let memory = vec![0; len.saturating_add(ALIGN)];
        let address = memory.as_ptr().addr();
        Self {
            start: address.next_multiple_of(ALIGN) - address,
            memory,
            len,
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }

    fn room(&self) -> usize {
        self.memory.len().saturating_sub(ALIGN)
    }
}

/// Memory that was used before and is free now.
#[derive(Debug, Default)]
pub struct AlignedStore(Mutex<(Vec<Aligned>, usize)>);

impl AlignedStore {
    /// `len` bytes of any content.
    pub fn take(&self, len: usize) -> Aligned {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The one given back last is in the processor's cache.
        let fits = kept.0.iter().rposition(|buf| buf.room() >= len);
        let Some(mut buf) = fits.map(|at| kept.0.swap_remove(at)) else {
            drop(kept);
            return Aligned::new(len);
        };
        kept.1 -= buf.room();
        buf.len = len;
        buf
    }

    /// Keeps memory for the next who needs some.
    pub fn give(&self, buf: Aligned) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = buf.room();
        if room > 0 && kept.1 + room <= KEPT {
            kept.1 += room;
            kept.0.push(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_used_again() {
        let store = AlignedStore::default();
        let mut first = store.take(5000);
        assert!(first.bytes().as_ptr().addr().is_multiple_of(4096));
        first.bytes_mut().fill(7);
        store.give(first);
        let second = store.take(512);
        assert_eq!(second.bytes(), [7; 512]);
        store.give(second);
        assert_eq!(store.take(5000).bytes(), [7; 5000]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let store = AlignedStore::default();
        for _ in 0..4 {
            store.give(Aligned::new(KEPT / 2));
        }
        assert_eq!(store.0.lock().unwrap().0.len(), 2);
    }
}
