//! The registers of window 4 through configuration space (VIRTIO 1.2, 4.1.4.9), for code that cannot reach memory.
//!
//! ```text
//! 0x84  0 capability, 3 type 5, 4 window u8, 8 offset u32, 12 length u32 (1, 2 or 4), 16 data: reads and writes go through
//! ```

use hw_core::pci::Config;

use super::VirtioPci;

const AT: u8 = 0x84;
const WINDOW: usize = AT as usize + 4;
const OFFSET: usize = AT as usize + 8;
const LENGTH: usize = AT as usize + 12;
const DATA: usize = AT as usize + 16;
/// The window that has the registers.
const REGISTERS: u64 = 4;

/// Adds the capability.
pub(super) fn with_window(config: Config) -> Config {
    let mut body = [0; 18];
    body[..2].copy_from_slice(&[20, 5]);
    let mut config = config.with_capability(AT, 9, &body);
    config.allow(WINDOW, 1, 0xff);
    for register in [OFFSET, LENGTH, DATA] {
        config.allow(register, 4, 0xffff_ffff);
    }
    config
}

/// Whether an access touches the data.
pub(super) fn is_data(offset: usize, bytes: usize) -> bool {
    offset < DATA + 4 && offset.saturating_add(bytes) > DATA
}

impl VirtioPci {
    /// What the guest has chosen: offset and length, if they name registers.
    fn chosen(&self) -> Option<(u64, usize)> {
        let length = usize::try_from(self.config.read(LENGTH, 4)).ok()?;
        let offset = self.config.read(OFFSET, 4);
        let inside = self.config.read(WINDOW, 1) == REGISTERS && offset < 0x4000;
        let sensible = matches!(length, 1 | 2 | 4) && offset.is_multiple_of(length as u64);
        (inside && sensible).then_some((offset, length))
    }

    pub(super) fn window_to_data(&mut self) {
        if let Some((offset, length)) = self.chosen() {
            let value = self.modern_read(offset, length);
            self.config.set(DATA, length, value);
        }
    }

    pub(super) fn data_to_window(&mut self) {
        if let Some((offset, length)) = self.chosen() {
            let value = self.config.read(DATA, length);
            self.modern_write(offset, length, value);
        }
    }
}
