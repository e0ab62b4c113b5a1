//! virtio over memory registers (VIRTIO 1.2, section 4.2), microvm's way: version 2, or version 1 for legacy drivers (4.2.4).
//!
//! ```text
//! 0x000 "virt"   0x004 version 2   0x008 device id   0x00c vendor "QEMU"
//! 0x010 features offered   0x014 their half   0x020 features taken   0x024 their half
//! 0x030 queue select   0x034 largest size   0x038 size   0x044 on   0x050 kick
//! 0x060 interrupt status   0x064 acknowledge   0x070 status
//! 0x080 0x084 descriptors   0x090 0x094 available ring   0x0a0 0x0a4 used ring   0x0fc generation   0x100 configuration
//! version 1 instead of 0x044 and 0x080 to 0x0a4:   0x028 bytes of a page   0x03c alignment of used rings   0x040 queue's page
//! ```

#[cfg(test)]
mod tests;

use hw_core::bits::{low8, low16, low32};
use hw_core::device::{restore_record, save_record};
use hw_core::irq::Line;
use hw_core::memory::{Dma, Shared};
use hw_core::{Device, StateError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::{Core, Model, RingOptions, Tell};

const MAGIC: u64 = 0x7472_6976;
const VENDOR: u64 = 0x554d_4551;
const QUEUE_NEWS: u32 = 1;
const CONFIG_NEWS: u32 = 2;
/// Bytes of registers, configuration included.
pub const SIZE: u64 = 0x200;

/// A slot with or without a device.
pub struct VirtioMmio {
    core: Option<Core>,
    line: Line,
    news: u32,
    legacy: Option<Legacy>,
}

/// What legacy drivers say of their queues' places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Legacy {
    /// Bytes of a page, a power of two.
    page: u32,
    /// What used rings are aligned to, a power of two.
    align: u32,
}

impl Legacy {
    const POWER_ON: Self = Self { page: 1, align: 1 };

    fn is_sound(self) -> bool {
        self.page.is_power_of_two() && self.align.is_power_of_two()
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    core: Option<Value>,
    news: u32,
    legacy: Option<Legacy>,
}

impl VirtioMmio {
    /// A slot; without a device its id reads as zero.
    pub fn new(model: Option<Box<dyn Model>>, line: Line, memory: &Shared) -> Self {
        Self {
            core: model.map(|model| Core::new(model, Dma::new(memory))),
            line,
            news: 0,
            legacy: None,
        }
    }

    /// The same slot with the registers of version 1.
    #[must_use]
    pub fn for_legacy(mut self) -> Self {
        self.legacy = Some(Legacy::POWER_ON);
        self
    }

    /// The same slot with other rings than the usual ones.
    #[must_use]
    pub fn with_rings(mut self, rings: RingOptions) -> Self {
        if let Some(core) = &mut self.core {
            core.rings = rings;
        }
        self
    }

    fn tell(&mut self, tell: &Tell) {
        if !tell.queues.is_empty() {
            self.news |= QUEUE_NEWS;
        }
        if tell.config {
            self.news |= CONFIG_NEWS;
        }
        self.line.set(self.news != 0);
    }

    fn reset_device(&mut self) {
        if let Some(core) = &mut self.core {
            core.reset();
        }
        self.legacy = self.legacy.map(|_| Legacy::POWER_ON);
        self.news = 0;
        self.line.set(false);
    }

    fn register(&mut self, offset: u64) -> u64 {
        let news = self.news;
        let legacy = self.legacy;
        let Some(core) = &mut self.core else {
            return 0;
        };
        match offset {
            0x010 => core.offered_half(legacy.is_some()).into(),
            0x034 => core.queue().map_or(0, |q| q.most().into()),
            0x040 => match (legacy, core.queue()) {
                (Some(legacy), Some(queue)) => queue.descriptors / u64::from(legacy.page),
                _ => 0,
            },
            0x044 if legacy.is_none() => core.queue().map_or(0, |q| q.is_on().into()),
            0x060 => news.into(),
            0x070 => core.status().into(),
            0x0fc => core.generation().into(),
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u64, value: u32) {
        match offset {
            0x064 => {
                self.news &= !value;
                self.line.set(self.news != 0);
            }
            0x070 if value == 0 => self.reset_device(),
            0x040 if value == 0 && self.legacy.is_some() => self.reset_device(),
            0x028 if self.legacy.is_some() => {
                let legacy = self.legacy.as_mut();
                // The lowest bit, where it is no power of two.
                let page = 1_u32.checked_shl(value.trailing_zeros()).unwrap_or(1);
                legacy.into_iter().for_each(|legacy| legacy.page = page);
            }
            0x03c if value.is_power_of_two() => {
                let legacy = self.legacy.as_mut();
                legacy.into_iter().for_each(|legacy| legacy.align = value);
            }
            0x050 => {
                let index = usize::try_from(value).unwrap_or(usize::MAX);
                if let Some(tell) = self.core.as_mut().map(|core| core.kick(index)) {
                    self.tell(&tell);
                }
            }
            _ => {
                let legacy = self.legacy;
                match (&mut self.core, legacy) {
                    (Some(core), None) => set(core, offset, value),
                    (Some(core), Some(legacy)) => set_legacy(core, legacy, offset, value),
                    (None, _) => {}
                }
            }
        }
    }
}

/// Registers that only change the device's own state.
fn set(core: &mut Core, offset: u64, value: u32) {
    match offset {
        0x014 => core.set_feature_half(value),
        0x020 => {
            let half = core.driver_half();
            core.take_half(half, value, false);
        }
        0x024 => core.set_driver_half(value),
        0x030 => core.select(low16(value.into())),
        0x038 => {
            if let Some(queue) = core.queue_to_set() {
                queue.size = low16(value.into());
            }
        }
        0x044 if value & 1 != 0 => core.switch_on(),
        0x070 => core.set_status(low8(value.into()), false),
        0x080..=0x0a7 => set_place(core, offset, value),
        _ => {}
    }
}

/// The same for legacy drivers.
fn set_legacy(core: &mut Core, legacy: Legacy, offset: u64, value: u32) {
    match offset {
        0x020 => {
            let half = core.driver_half();
            core.take_half(half, value, true);
        }
        0x040 => {
            if let Some(queue) = core.queue_to_set() {
                let start = u64::from(value) * u64::from(legacy.page);
                queue.lie_at(start, legacy.align.into());
                core.switch_on();
            }
        }
        0x070 => core.set_status(low8(value.into()), true),
        0x014 | 0x024 | 0x030 | 0x038 => set(core, offset, value),
        _ => {}
    }
}

fn set_place(core: &mut Core, offset: u64, value: u32) {
    let Some(queue) = core.queue_to_set() else {
        return;
    };
    let place = match offset & !7 {
        0x080 => &mut queue.descriptors,
        0x090 => &mut queue.available,
        0x0a0 => &mut queue.used,
        _ => return,
    };
    *place = if offset & 4 == 0 {
        *place & !0xffff_ffff | u64::from(value)
    } else {
        *place & 0xffff_ffff | u64::from(value) << 32
    };
}

impl Device for VirtioMmio {
    fn name(&self) -> &'static str {
        "virtio-mmio"
    }

    fn read(&mut self, _region: u32, offset: u64, bytes: usize) -> u64 {
        if let Some(at) = offset.checked_sub(0x100) {
            return self
                .core
                .as_ref()
                .map_or(0, |core| core.config_read(at, bytes));
        }
        if bytes != 4 {
            return 0;
        }
        match offset {
            0x000 => MAGIC,
            0x004 if self.legacy.is_some() => 1,
            0x004 => 2,
            0x008 => self.core.as_ref().map_or(0, |core| core.model.id().into()),
            0x00c => VENDOR,
            _ => self.register(offset),
        }
    }

    fn write(&mut self, _region: u32, offset: u64, bytes: usize, value: u64) {
        if let Some(at) = offset.checked_sub(0x100) {
            if let Some(core) = &mut self.core {
                core.config_write(at, bytes, value);
            }
        } else if bytes == 4 {
            self.set_register(offset, low32(value));
        }
    }

    fn completed(&mut self) {
        if let Some(tell) = self.core.as_mut().map(Core::completed) {
            self.tell(&tell);
        }
    }

    fn reset(&mut self) {
        self.reset_device();
    }

    fn save(&self) -> Value {
        save_record(&Saved {
            core: self.core.as_ref().map(Core::save),
            news: self.news,
            legacy: self.legacy,
        })
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        let same_kind = saved.legacy.is_some() == self.legacy.is_some();
        if !same_kind || !saved.legacy.is_none_or(Legacy::is_sound) {
            return Err(StateError("registers of another version".to_owned()));
        }
        match (&mut self.core, saved.core) {
            (Some(core), Some(state)) => core.restore(&state)?,
            (None, None) => {}
            _ => return Err(StateError("a slot with another device".to_owned())),
        }
        self.legacy = saved.legacy;
        self.news = saved.news & (QUEUE_NEWS | CONFIG_NEWS);
        self.line.set(self.news != 0);
        Ok(())
    }
}
