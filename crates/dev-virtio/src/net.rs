//! virtio-net: a network card (VIRTIO 1.2, section 5.1) with one pair of queues, 0 to the guest and 1 from it.
//!
//! Each frame has a header of 12 bytes (10 for a legacy driver that did not take merged buffers), which is zero: sums and
//! large frames are not left to the device. GAP: no control queue, no offloads.

use backend_core::net::{MOST_FRAME, Network};
use hw_core::bits::low32;

use crate::core::{Model, Rings};
use crate::feature::VERSION_1;
use crate::pci::PciIdentity;

/// As a PCI function.
pub const PCI: PciIdentity = PciIdentity {
    device: 0x1000,
    class: 0x02_00_00,
    ports: 32,
};

const MAC: u64 = 1 << 5;
const MERGED: u64 = 1 << 15;
const STATUS: u64 = 1 << 16;
const LINK_UP: u16 = 1;
const TO_GUEST: usize = 0;
const FROM_GUEST: usize = 1;
/// Entries of a queue, and frames moved at a time.
const SIZE: u16 = 256;
const HEADER: usize = 12;
const SHORT_HEADER: usize = 10;

/// The card.
pub struct Net {
    network: Box<dyn Network>,
    mac: [u8; 6],
    header: usize,
    /// A frame that waits for room in the guest.
    waiting: Option<Vec<u8>>,
    running: bool,
}

impl Net {
    /// A card with this address.
    pub fn new(network: Box<dyn Network>, mac: [u8; 6]) -> Self {
        Self {
            network,
            mac,
            header: SHORT_HEADER,
            waiting: None,
            running: false,
        }
    }

    fn send(&mut self, rings: &mut Rings<'_>) {
        for _ in 0..SIZE {
            let Some(chain) = rings.pop(FROM_GUEST) else {
                return;
            };
            let len = usize::try_from(chain.readable_bytes()).unwrap_or(usize::MAX);
            let frame = len.checked_sub(self.header).filter(|n| *n <= MOST_FRAME);
            // A frame that is too long, or is not in memory, is lost.
            if let Some(len) = frame {
                let mut bytes = vec![0; len];
                let read = chain.read(rings.dma(), self.header as u64, &mut bytes);
                if read == Ok(len) {
                    self.network.send(&bytes);
                }
            }
            rings.push(FROM_GUEST, chain.head, 0);
        }
    }

    fn receive(&mut self, rings: &mut Rings<'_>) {
        for _ in 0..SIZE {
            let Some(frame) = self.waiting.take().or_else(|| self.network.receive()) else {
                return;
            };
            if !self.running {
                // Nobody listens yet: the wire does not wait.
                continue;
            }
            let Some(chain) = rings.pop(TO_GUEST) else {
                self.waiting = Some(frame);
                return;
            };
            // One buffer is used.
            let mut header = [0; HEADER];
            header[10] = 1;
            let header = &header[..self.header];
            let fits = (header.len() + frame.len()) as u64 <= chain.writable_bytes();
            let written = if fits {
                let put = |at: usize, bytes| chain.write(rings.dma(), at as u64, bytes);
                let head = put(0, header);
                let rest = head.and_then(|head| Ok(head + put(head, &frame)?));
                rest.unwrap_or(0)
            } else {
                0
            };
            rings.push(TO_GUEST, chain.head, low32(written as u64));
        }
    }
}

impl Model for Net {
    fn id(&self) -> u16 {
        1
    }

    fn name(&self) -> &'static str {
        "virtio-net"
    }

    fn features(&self) -> u64 {
        MAC | MERGED | STATUS
    }

    fn queues(&self) -> Vec<u16> {
        vec![SIZE, SIZE]
    }

    fn config(&self) -> Vec<u8> {
        let mut config = self.mac.to_vec();
        config.extend(LINK_UP.to_le_bytes());
        config.extend(1_u16.to_le_bytes());
        config
    }

    fn agreed(&mut self, features: u64) {
        self.running = true;
        self.header = if features & (MERGED | VERSION_1) != 0 {
            HEADER
        } else {
            SHORT_HEADER
        };
    }

    fn kick(&mut self, index: usize, rings: &mut Rings<'_>) {
        match index {
            FROM_GUEST => self.send(rings),
            _ => self.receive(rings),
        }
    }

    fn completed(&mut self, rings: &mut Rings<'_>) {
        self.receive(rings);
    }

    fn reset(&mut self) {
        self.running = false;
        self.waiting = None;
        self.header = SHORT_HEADER;
    }
}

#[cfg(test)]
mod tests {
    use backend_core::net::Loose;
    use hw_core::memory::Dma;

    use super::*;
    use crate::core::Core;
    use crate::testing::{Guest, SIZE as RING};

    const DATA: u64 = 0x8000;

    /// A card whose queue `index` is the guest's ring.
    fn card(guest: &Guest, network: &Loose, index: u16) -> Core {
        let net = Net::new(Box::new(network.clone()), [2, 0, 0, 0, 0, 1]);
        let mut core = Core::new(Box::new(net), Dma::new(&guest.memory));
        core.take_half(0, u32::MAX, false);
        core.take_half(1, u32::MAX, false);
        core.set_status(11, false);
        core.select(index);
        let ring = guest.queue(0);
        if let Some(queue) = core.queue_to_set() {
            queue.size = RING;
            (queue.descriptors, queue.available, queue.used) =
                (ring.descriptors, ring.available, ring.used);
        }
        core.switch_on();
        core.set_status(15, false);
        core
    }

    #[test]
    fn a_frame_leaves_without_its_header() {
        let (mut guest, network) = (Guest::new(), Loose::default());
        let mut core = card(&guest, &network, 1);
        guest.put(DATA, &[0; 12]);
        guest.put(DATA + 12, b"a frame");
        guest.offer(&[(DATA, 12), (DATA + 12, 7)], &[]);
        core.kick(1);
        assert_eq!(network.sent(), [b"a frame"]);
        guest.offer(&[(DATA, 5)], &[]);
        core.kick(1);
        assert_eq!(network.sent().len(), 1);
        assert_eq!(guest.given_back().len(), 2);
    }

    #[test]
    fn a_frame_waits_for_room() {
        let (mut guest, network) = (Guest::new(), Loose::default());
        let mut core = card(&guest, &network, 0);
        network.put(b"first");
        network.put(b"second");
        core.completed();
        guest.offer(&[], &[(DATA, 100)]);
        core.kick(0);
        assert_eq!(guest.given_back(), [(0, 17)]);
        assert_eq!(guest.get(DATA, 17), b"\0\0\0\0\0\0\0\0\0\0\x01\0first");
        guest.offer(&[], &[(DATA, 10)]);
        core.kick(0);
        // Too small: the frame is lost, the buffer goes back.
        assert_eq!(guest.given_back(), [(1, 0)]);
    }
}
