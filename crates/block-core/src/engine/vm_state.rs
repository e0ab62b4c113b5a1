//! The area behind the disk in which snapshots keep a machine's state.

use std::io;

use super::{Mapped, unsupported};
use crate::{Event, WriteFlags};

/// Largest offset that anything has: of a signed number of 64 bits.
const MAX_OFFSET: u64 = i64::MAX.unsigned_abs();

impl Mapped {
    fn vm_state_place(&self, position: u64, len: usize) -> io::Result<u64> {
        let start = self.format.vm_state_offset().ok_or_else(unsupported)?;
        let end = start
            .checked_add(position)
            .and_then(|at| at.checked_add(len as u64));
        match end {
            Some(end) if end <= MAX_OFFSET => Ok(start + position),
            _ => Err(io::ErrorKind::FileTooLarge.into()),
        }
    }

    /// Fills `buf` from `position` in the area.
    pub(crate) async fn read_vm_state(&self, position: u64, buf: &mut [u8]) -> io::Result<()> {
        let at = self.vm_state_place(position, buf.len())?;
        self.event(Event::VmstateLoad).await;
        self.read_anywhere(at, buf).await
    }

    /// Writes `buf` at `position` in the area, which grows as needed.
    pub(crate) async fn write_vm_state(&self, position: u64, buf: &[u8]) -> io::Result<()> {
        let at = self.vm_state_place(position, buf.len())?;
        self.event(Event::VmstateSave).await;
        self.write(at, buf, WriteFlags::default()).await
    }
}
