//! What both transports share: status, features, queues, and the device behind them.

use hw_core::StateError;
use hw_core::device::{restore_record, save_record};
use hw_core::memory::Dma;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::feature::{
    ANY_LAYOUT, EVENT_IDX, INDIRECT_DESC, NOTIFY_ON_EMPTY, RING_PACKED, VERSION_1,
};
use crate::queue::{Broken, Chain, Queue};

/// Bits of the device's status (VIRTIO 1.2, section 2.1).
pub(crate) mod status {
    pub(crate) const FEATURES_OK: u8 = 8;
    pub(crate) const DRIVER_OK: u8 = 4;
    pub(crate) const NEEDS_RESET: u8 = 64;
}

/// What one kind of device does.
pub trait Model: Send {
    /// Its number (VIRTIO 1.2, section 5).
    fn id(&self) -> u16;
    /// Its name, as messages and saved state have it.
    fn name(&self) -> &'static str;
    /// Features of its own; those of the rings are added.
    fn features(&self) -> u64;
    /// Sizes of its queues.
    fn queues(&self) -> Vec<u16>;
    /// Its configuration space as it is now.
    fn config(&self) -> Vec<u8>;
    /// The driver writes one byte of it.
    fn config_write(&mut self, _offset: usize, _value: u8) {}
    /// The driver has agreed on features.
    fn agreed(&mut self, _features: u64) {}
    /// Queue `index` has requests.
    fn kick(&mut self, index: usize, rings: &mut Rings<'_>);
    /// A backend has finished something.
    fn completed(&mut self, _rings: &mut Rings<'_>) {}
    /// As after power-on. What backends still work on is forgotten.
    fn reset(&mut self);
    /// State beyond queues and features.
    fn save(&self) -> Value {
        Value::Null
    }
    /// Takes over such state.
    ///
    /// # Errors
    /// The record is not one of this device.
    fn restore(&mut self, _state: &Value) -> Result<(), StateError> {
        Ok(())
    }
}

/// What a driver is offered for its rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingOptions {
    /// Packed rings, for drivers that are not legacy.
    pub packed: bool,
    /// Events by index.
    pub event_idx: bool,
    /// Tables of descriptors behind one descriptor.
    pub indirect_desc: bool,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            packed: false,
            event_idx: true,
            indirect_desc: true,
        }
    }
}

impl RingOptions {
    fn features(self, legacy: bool) -> u64 {
        let when = |on: bool, bit: u64| if on { bit } else { 0 };
        when(self.event_idx, EVENT_IDX)
            | when(self.indirect_desc, INDIRECT_DESC)
            | when(self.packed && !legacy, RING_PACKED)
    }
}

/// The queues of a device at work. What the guest breaks stops all of them.
pub struct Rings<'a> {
    queues: &'a mut [Queue],
    dma: &'a Dma,
    broken: Option<Broken>,
}

impl Rings<'_> {
    /// The next request of a queue.
    pub fn pop(&mut self, index: usize) -> Option<Chain> {
        self.ask(index, |queue, dma| queue.pop(dma)).flatten()
    }

    /// Gives a request back.
    pub fn push(&mut self, index: usize, head: u16, written: u32) {
        self.ask(index, |queue, dma| queue.push(dma, head, written));
    }

    /// The guest's memory.
    pub fn dma(&self) -> &Dma {
        self.dma
    }

    fn ask<T>(
        &mut self,
        index: usize,
        question: impl FnOnce(&mut Queue, &Dma) -> Result<T, Broken>,
    ) -> Option<T> {
        if self.broken.is_some() {
            return None;
        }
        match question(self.queues.get_mut(index)?, self.dma) {
            Ok(answer) => Some(answer),
            Err(broken) => {
                self.broken = Some(broken);
                None
            }
        }
    }
}

/// What a transport has to tell the guest after a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tell {
    /// Queues with news.
    pub(crate) queues: Vec<usize>,
    /// The configuration changed (here: the device broke down).
    pub(crate) config: bool,
}

/// The common state of a virtio device.
pub(crate) struct Core {
    pub(crate) model: Box<dyn Model>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) dma: Dma,
    pub(crate) rings: RingOptions,
    state: State,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    status: u8,
    /// Features the driver took.
    driver: u64,
    feature_half: u32,
    driver_half: u32,
    queue: u16,
    generation: u8,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    state: State,
    queues: Vec<Queue>,
    model: Value,
}

impl Core {
    pub(crate) fn new(model: Box<dyn Model>, dma: Dma) -> Self {
        let queues = model.queues().into_iter().map(Queue::new).collect();
        Self {
            model,
            queues,
            dma,
            rings: RingOptions::default(),
            state: State::default(),
        }
    }

    /// Features offered to a driver of this kind.
    pub(crate) fn offered(&self, legacy: bool) -> u64 {
        let common = self.model.features() | self.rings.features(legacy);
        if legacy {
            common | NOTIFY_ON_EMPTY | ANY_LAYOUT
        } else {
            common | VERSION_1
        }
    }

    pub(crate) fn status(&self) -> u8 {
        self.state.status
    }

    /// The driver writes the status; zero resets the device. A modern driver has to take `VERSION_1`.
    pub(crate) fn set_status(&mut self, status: u8, legacy: bool) {
        if status == 0 {
            self.reset();
            return;
        }
        let mut status = status | (self.state.status & status::NEEDS_RESET);
        let agrees = status & !self.state.status & status::FEATURES_OK != 0;
        if agrees && !legacy && self.state.driver & VERSION_1 == 0 {
            status &= !status::FEATURES_OK;
        }
        let starts = status & !self.state.status & status::DRIVER_OK != 0;
        self.state.status = status;
        if (agrees && status & status::FEATURES_OK != 0) || (legacy && starts) {
            self.model.agreed(self.state.driver);
        }
    }

    pub(crate) fn feature_half(&self) -> u32 {
        self.state.feature_half
    }

    pub(crate) fn set_feature_half(&mut self, half: u32) {
        self.state.feature_half = half;
    }

    pub(crate) fn driver_half(&self) -> u32 {
        self.state.driver_half
    }

    pub(crate) fn set_driver_half(&mut self, half: u32) {
        self.state.driver_half = half;
    }

    /// 32 bits of the features offered.
    pub(crate) fn offered_half(&self, legacy: bool) -> u32 {
        half(self.offered(legacy), self.state.feature_half)
    }

    /// 32 bits of the features the driver took.
    pub(crate) fn taken_half(&self) -> u32 {
        half(self.state.driver, self.state.driver_half)
    }

    /// The driver takes features; those not offered are left out, and nothing changes once agreed on.
    pub(crate) fn take_half(&mut self, which: u32, value: u32, legacy: bool) {
        if self.state.status & (status::FEATURES_OK | status::DRIVER_OK) != 0 {
            return;
        }
        let shift = match which {
            0 => 0,
            1 => 32,
            _ => return,
        };
        let mask = u64::from(u32::MAX) << shift;
        let value = u64::from(value) << shift & self.offered(legacy);
        self.state.driver = self.state.driver & !mask | value;
    }

    pub(crate) fn generation(&self) -> u8 {
        self.state.generation
    }

    /// Which queue the driver's registers name.
    pub(crate) fn selected(&self) -> u16 {
        self.state.queue
    }

    pub(crate) fn select(&mut self, queue: u16) {
        self.state.queue = queue;
    }

    pub(crate) fn queue(&mut self) -> Option<&mut Queue> {
        self.queues.get_mut(usize::from(self.state.queue))
    }

    /// The selected queue, while its registers may still be written.
    pub(crate) fn queue_to_set(&mut self) -> Option<&mut Queue> {
        self.queue().filter(|queue| !queue.is_on())
    }

    /// Switches the selected queue on.
    pub(crate) fn switch_on(&mut self) {
        let features = self.state.driver;
        if let Some(queue) = self.queue_to_set() {
            queue.switch_on(features);
        }
    }

    /// The driver kicks a queue.
    pub(crate) fn kick(&mut self, index: usize) -> Tell {
        if self.state.status & status::DRIVER_OK == 0 || index >= self.queues.len() {
            return Tell::default();
        }
        self.work(|model, rings| model.kick(index, rings))
    }

    /// A backend has finished something.
    pub(crate) fn completed(&mut self) -> Tell {
        self.work(|model, rings| model.completed(rings))
    }

    fn work(&mut self, work: impl FnOnce(&mut dyn Model, &mut Rings<'_>)) -> Tell {
        let mut tell = Tell::default();
        if self.state.status & status::NEEDS_RESET != 0 {
            return tell;
        }
        let mut rings = Rings {
            queues: &mut self.queues,
            dma: &self.dma,
            broken: None,
        };
        work(self.model.as_mut(), &mut rings);
        let mut broken = rings.broken;
        for (index, queue) in self.queues.iter_mut().enumerate() {
            match queue.wants_interrupt(&self.dma) {
                Ok(true) => tell.queues.push(index),
                Ok(false) => {}
                Err(why) => broken = broken.or(Some(why)),
            }
        }
        if let Some(Broken(why)) = broken {
            tracing::warn!(
                device = self.model.name(),
                why,
                "the guest broke a virtio ring"
            );
            self.state.status |= status::NEEDS_RESET;
            tell.config = self.state.status & status::DRIVER_OK != 0;
        }
        tell
    }

    /// Reads configuration space of the device; what lies beyond it is zero.
    pub(crate) fn config_read(&self, offset: u64, bytes: usize) -> u64 {
        let config = self.model.config();
        let mut raw = [0; 8];
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (n, slot) in raw.iter_mut().enumerate().take(bytes) {
            let at = start.checked_add(n);
            *slot = at.and_then(|at| config.get(at)).copied().unwrap_or(0);
        }
        u64::from_le_bytes(raw)
    }

    pub(crate) fn config_write(&mut self, offset: u64, bytes: usize, value: u64) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (n, byte) in value.to_le_bytes().into_iter().enumerate().take(bytes) {
            self.model.config_write(start.saturating_add(n), byte);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.state = State::default();
        for queue in &mut self.queues {
            queue.reset();
        }
        self.model.reset();
    }

    pub(crate) fn save(&self) -> Value {
        save_record(&Saved {
            state: self.state.clone(),
            queues: self.queues.clone(),
            model: self.model.save(),
        })
    }

    pub(crate) fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        let sizes = self.model.queues();
        let fits = saved.queues.len() == sizes.len()
            && saved
                .queues
                .iter()
                .zip(sizes)
                .all(|(q, most)| q.is_sound(most));
        if !fits {
            return Err(StateError("other queues than this device has".to_owned()));
        }
        self.model.reset();
        self.model.restore(&saved.model)?;
        self.state = saved.state;
        self.queues = saved.queues;
        let running = status::FEATURES_OK | status::DRIVER_OK;
        if self.state.status & running != 0 {
            self.model.agreed(self.state.driver);
        }
        Ok(())
    }
}

fn half(features: u64, which: u32) -> u32 {
    match which {
        0 => hw_core::bits::low32(features),
        1 => hw_core::bits::low32(features >> 32),
        _ => 0,
    }
}
