//! What the processors of one machine share, and how they call one another.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use accel_core::Kick;

use crate::map::Map;

/// Someone wants the processor to leave the guest.
pub(crate) const KICK: u32 = 1;
/// The memory map changed.
pub(crate) const REMAP: u32 = 1 << 1;
/// Another processor keeps code of a page that this one may write to without looking.
pub(crate) const PROTECT: u32 = 1 << 2;

/// What others want of a processor; it looks between blocks.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    bits: AtomicU32,
    running: AtomicBool,
}

impl Signals {
    /// Whether anything is wanted.
    #[inline(always)]
    pub(crate) fn any(&self) -> bool {
        self.bits.load(Ordering::Relaxed) != 0
    }

    /// What is wanted; it stays until [`Signals::done`].
    pub(crate) fn get(&self) -> u32 {
        self.bits.load(Ordering::Acquire)
    }

    /// Takes back what was done.
    pub(crate) fn done(&self, bits: u32) {
        self.bits.fetch_and(!bits, Ordering::AcqRel);
    }

    /// Asks.
    pub(crate) fn ask(&self, bits: u32) {
        self.bits.fetch_or(bits, Ordering::AcqRel);
    }

    /// Notes that the processor's thread is in the guest, or is not.
    pub(crate) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::SeqCst);
    }
}

impl Kick for Signals {
    fn kick(&self) {
        self.ask(KICK);
    }
}

/// One machine.
#[derive(Default)]
pub(crate) struct Shared {
    map: Mutex<Arc<Map>>,
    processors: Mutex<Vec<Arc<Signals>>>,
}

impl Shared {
    /// The present memory map.
    pub(crate) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the memory map; processors take it over before their next block.
    pub(crate) fn set_map(&self, map: Map) {
        *self.map.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
        self.tell_all();
    }

    fn tell_all(&self) {
        for signals in self.processors().iter() {
            signals.ask(REMAP);
        }
    }

    /// A new processor's signals.
    pub(crate) fn join(&self) -> Arc<Signals> {
        let signals = Arc::new(Signals::default());
        self.processors().push(Arc::clone(&signals));
        signals
    }

    fn processors(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Signals>>> {
        self.processors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes all other processors look before they write to a page, and waits until those that run do.
    pub(crate) fn protect_others(&self, own: &Arc<Signals>, mut meanwhile: impl FnMut()) {
        let others: Vec<Arc<Signals>> = self
            .processors()
            .iter()
            .filter(|other| !Arc::ptr_eq(other, own))
            .map(Arc::clone)
            .collect();
        for other in &others {
            other.ask(PROTECT);
        }
        for other in &others {
            while other.running.load(Ordering::SeqCst) && other.get() & PROTECT != 0 {
                // The other may wait for us in the same way.
                if own.get() & PROTECT != 0 {
                    meanwhile();
                    own.done(PROTECT);
                }
                std::thread::yield_now();
            }
        }
    }
}
