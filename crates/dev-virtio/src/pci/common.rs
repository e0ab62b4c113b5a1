//! The modern registers (VIRTIO 1.2, 4.1.4).
//!
//! ```text
//!  0 feature half offered u32   4 features offered u32   8 feature half taken u32  12 features taken u32
//! 16 configuration vector u16  18 number of queues u16  20 status u8             21 generation u8
//! 22 queue select u16          24 queue size u16        26 queue vector u16      28 queue on u16
//! 30 queue notify offset u16   32 descriptors u64       40 available ring u64    48 used ring u64
//! ```

use hw_core::bits::{low16, low32};

use super::{COMMON, DEVICE, ISR, NOTIFY, PART, VirtioPci};

/// Part of window 4, and the offset in it.
fn part(offset: u64) -> (u32, u64) {
    let part = u64::from(PART);
    (low32(offset - offset % part), offset % part)
}

impl VirtioPci {
    pub(super) fn modern_read(&mut self, offset: u64, bytes: usize) -> u64 {
        match part(offset) {
            (COMMON, at) => self.common_read(at, bytes),
            (ISR, 0) => u64::from(self.take_isr()),
            (DEVICE, at) => self.core.config_read(at, bytes),
            _ => 0,
        }
    }

    pub(super) fn modern_write(&mut self, offset: u64, bytes: usize, value: u64) {
        match part(offset) {
            (COMMON, at) => self.common_write(at, bytes, value),
            (DEVICE, at) => self.core.config_write(at, bytes, value),
            (NOTIFY, at) => {
                let queue = usize::try_from(at / 4).unwrap_or(usize::MAX);
                let tell = self.core.kick(queue);
                self.tell(tell);
            }
            _ => {}
        }
    }

    fn common_read(&mut self, at: u64, bytes: usize) -> u64 {
        let queue = self.core.queue();
        let of_queue = |value: fn(&crate::Queue) -> u64| queue.map_or(0, |q| value(q));
        let value = match at {
            0 => self.core.feature_half().into(),
            4 => self.core.offered_half(false).into(),
            8 => self.core.driver_half().into(),
            12 => self.core.taken_half().into(),
            16 => self.config_vector.into(),
            18 => self.core.queues.len() as u64,
            20 => self.core.status().into(),
            21 => self.core.generation().into(),
            22 => self.core.selected().into(),
            24 => of_queue(|q| q.size.into()),
            26 => of_queue(|q| q.vector.into()),
            28 => of_queue(|q| q.is_on().into()),
            30 => self.core.selected().into(),
            32 | 36 => of_queue(|q| q.descriptors) >> ((at - 32) * 8),
            40 | 44 => of_queue(|q| q.available) >> ((at - 40) * 8),
            48 | 52 => of_queue(|q| q.used) >> ((at - 48) * 8),
            _ => 0,
        };
        value & hw_core::bits::ones(bytes)
    }

    fn common_write(&mut self, at: u64, bytes: usize, value: u64) {
        match at {
            0 => self.core.set_feature_half(low32(value)),
            8 => self.core.set_driver_half(low32(value)),
            12 => {
                let half = self.core.driver_half();
                self.core.take_half(half, low32(value), false);
            }
            16 => self.config_vector = self.vector(value),
            20 => self.set_status(value, false),
            22 => self.core.select(low16(value)),
            24 => {
                if let Some(queue) = self.core.queue_to_set() {
                    queue.size = low16(value);
                }
            }
            26 => {
                let vector = self.vector(value);
                if let Some(queue) = self.core.queue() {
                    queue.vector = vector;
                }
            }
            28 if value & 1 != 0 => self.core.switch_on(),
            32..=55 => self.set_place(at, bytes, value),
            _ => {}
        }
    }

    /// A place of the selected queue, whole or by halves.
    fn set_place(&mut self, at: u64, bytes: usize, value: u64) {
        let Some(queue) = self.core.queue_to_set() else {
            return;
        };
        let place = match at / 8 {
            4 => &mut queue.descriptors,
            5 => &mut queue.available,
            _ => &mut queue.used,
        };
        match (at % 8, bytes) {
            (0, 8) => *place = value,
            (0, 4) => *place = *place & !0xffff_ffff | u64::from(low32(value)),
            (4, 4) => *place = *place & 0xffff_ffff | u64::from(low32(value)) << 32,
            _ => {}
        }
    }
}
