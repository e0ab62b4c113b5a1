//! Tables of memory that a controller moves bytes to or from, whatever their entries look like.

use hw_core::bits::low32;
use hw_core::memory::{Dma, DmaError};
use serde::{Deserialize, Serialize};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToMemory,
    FromMemory,
}

/// What is left of a table's entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stretch {
    address: u64,
    left: u32,
}

impl Stretch {
    pub(crate) fn new(address: u64, bytes: u32) -> Self {
        let left = bytes;
        Self { address, left }
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// Moves bytes by this entry and those that `next` gives; gives how many they had room for.
    ///
    /// # Errors
    /// The table or what it names is not in memory.
    pub(crate) fn transfer(
        &mut self,
        dma: &Dma,
        way: Way,
        data: &mut [u8],
        mut next: impl FnMut() -> Result<Option<Self>, DmaError>,
    ) -> Result<usize, DmaError> {
        let mut done = 0;
        while done < data.len() {
            if self.is_used_up() {
                match next()? {
                    Some(entry) => *self = entry,
                    None => break,
                }
            }
            let room = usize::try_from(self.left).unwrap_or(usize::MAX);
            let now = room.min(data.len() - done);
            let part = &mut data[done..done + now];
            match way {
                Way::ToMemory => dma.write(self.address, part)?,
                Way::FromMemory => dma.read(self.address, part)?,
            }
            self.address = self.address.wrapping_add(now as u64);
            self.left -= low32(now as u64);
            done += now;
        }
        Ok(done)
    }
}
