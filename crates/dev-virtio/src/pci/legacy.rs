//! The legacy registers (VIRTIO 1.2, 4.1.4.10).
//!
//! ```text
//!  0 features offered u32   4 features taken u32   8 queue's page u32   12 queue size u16   14 queue select u16
//! 16 kick u16              18 status u8           19 interrupt status u8
//! with MSI-X on:  20 configuration vector u16   22 queue vector u16, then the device's configuration; else that at 20
//! ```

use hw_core::bits::{low8, low16, low32};

use super::VirtioPci;
use crate::queue::NO_VECTOR;

/// Size of a page, and what the used ring is aligned to.
const PAGE: u64 = 4096;

impl VirtioPci {
    fn config_start(&self) -> u64 {
        if self.msix.on(&self.config) { 24 } else { 20 }
    }

    pub(super) fn legacy_read(&mut self, offset: u64, bytes: usize) -> u64 {
        let start = self.config_start();
        if offset >= start {
            return self.core.config_read(offset - start, bytes);
        }
        let value = match offset {
            0 => low32(self.core.offered(true)).into(),
            4 => {
                let chosen = self.core.driver_half();
                self.core.set_driver_half(0);
                let taken = self.core.taken_half();
                self.core.set_driver_half(chosen);
                taken.into()
            }
            8 => self.core.queue().map_or(0, |q| q.descriptors / PAGE),
            12 => self.core.queue().map_or(0, |q| q.most().into()),
            14 => self.core.selected().into(),
            18 => self.core.status().into(),
            19 => self.take_isr().into(),
            20 => self.config_vector.into(),
            22 => self.core.queue().map_or(NO_VECTOR, |q| q.vector).into(),
            _ => 0,
        };
        value & hw_core::bits::ones(bytes)
    }

    pub(super) fn legacy_write(&mut self, offset: u64, bytes: usize, value: u64) {
        let start = self.config_start();
        if offset >= start {
            self.core.config_write(offset - start, bytes, value);
            return;
        }
        match offset {
            4 => self.core.take_half(0, low32(value), true),
            8 => self.place_queue(u64::from(low32(value))),
            14 => self.core.select(low16(value)),
            16 => {
                let tell = self.core.kick(usize::from(low16(value)));
                self.tell(tell);
            }
            18 => self.set_status(u64::from(low8(value)), true),
            20 => self.config_vector = self.vector(value),
            22 => {
                let vector = self.vector(value);
                if let Some(queue) = self.core.queue() {
                    queue.vector = vector;
                }
            }
            _ => {}
        }
    }

    /// The queue's page: its rings lie behind each other from there. Page zero resets the device.
    fn place_queue(&mut self, page: u64) {
        if page == 0 {
            self.reset_device();
            return;
        }
        if let Some(queue) = self.core.queue_to_set() {
            queue.size = queue.most();
            queue.lie_at(page * PAGE, PAGE);
            self.core.switch_on();
        }
    }
}
