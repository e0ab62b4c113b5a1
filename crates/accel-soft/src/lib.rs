//! Processors run by our own CPU, in software: translation with a TLB, decoded blocks, the loop around them.
//!
//! ```text
//!   SoftVcpu::run -> block by linear address -> its operations -> next block
//!                    |                          |
//!                    Cache (physical address)   Soft: TLB -> guest RAM | bus
//! ```
//! A block is valid while the marks of its pages ([`guest_mem::CodeMarks`]) are what they were. Writes to marked pages, by
//! whichever processor or device, change the mark: the TLB has no write tag for such a page.
#![deny(unsafe_code)]

mod block;
mod convert;
mod map;
mod raw;
mod shared;
mod slow;
mod soft;
mod tlb;
mod vcpu;
mod walk;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use accel_core::{Accel, Slot, Vcpu};
use x86_cpu::cpuid::Features;

use crate::map::Map;
use crate::shared::Shared;

/// The accelerator that needs nothing of the host.
pub struct SoftAccel {
    shared: Arc<Shared>,
    features: Features,
    processors: u32,
}

impl SoftAccel {
    /// A machine of `processors` processors that can do what `features` say.
    pub fn new(features: Features, processors: u32) -> Self {
        Self {
            shared: Arc::new(Shared::default()),
            features,
            processors,
        }
    }
}

impl Accel for SoftAccel {
    fn name(&self) -> &'static str {
        "tcg"
    }

    fn processor(&self, index: u8) -> io::Result<Box<dyn Vcpu>> {
        let features = self.features.clone();
        Ok(Box::new(vcpu::SoftVcpu::new(
            &self.shared,
            features,
            index,
            self.processors,
        )))
    }

    fn map(&self, slots: &[Slot]) -> io::Result<()> {
        self.shared.set_map(Map::new(slots));
        Ok(())
    }
}
