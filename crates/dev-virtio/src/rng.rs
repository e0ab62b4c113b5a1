//! virtio-rng: random bytes from the host (VIRTIO 1.2, section 5.4).

use backend_core::Wake;
use hw_core::bits::low32;

use crate::core::{Model, Rings};
use crate::pci::PciIdentity;

/// As a PCI function.
pub const PCI: PciIdentity = PciIdentity {
    device: 0x1005,
    class: 0x00_ff_00,
    ports: 32,
};

/// Bytes given for one request.
const MOST: u64 = 64 << 10;
/// Entries of the queue, and requests served at a time: a guest that asks without end must not hold up the others.
const SIZE: u16 = 8;

/// The entropy device.
#[derive(Debug)]
pub struct Rng {
    wake: Wake,
    again: bool,
}

impl Rng {
    /// A device that asks by `wake` to be called again when much is left to do.
    pub fn new(wake: Wake) -> Self {
        Self { wake, again: false }
    }
}

impl Model for Rng {
    fn id(&self) -> u16 {
        4
    }

    fn name(&self) -> &'static str {
        "virtio-rng"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> Vec<u16> {
        vec![SIZE]
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn kick(&mut self, index: usize, rings: &mut Rings<'_>) {
        self.again = false;
        for _ in 0..SIZE {
            let Some(chain) = rings.pop(index) else {
                return;
            };
            let wanted = chain.writable_bytes().min(MOST);
            let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
            // Without randomness the guest gets nothing, and asks again.
            let written = match getrandom::fill(&mut bytes) {
                Ok(()) => chain.write(rings.dma(), 0, &bytes).unwrap_or(0),
                Err(_) => 0,
            };
            rings.push(index, chain.head, low32(written as u64));
        }
        self.again = true;
        self.wake.wake();
    }

    fn completed(&mut self, rings: &mut Rings<'_>) {
        if self.again {
            self.kick(0, rings);
        }
    }

    fn reset(&mut self) {
        self.again = false;
    }
}
