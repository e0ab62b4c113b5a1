//! virtio-blk: a disk (VIRTIO 1.2, section 5.2).
//!
//! ```text
//! request:  readable  type u32, priority u32, sector u64, then data to write
//!           writable  room for data read, then one byte of status (0 well, 1 error, 2 unknown)
//! ```
//! Requests are read whole when they are taken from the ring, run on the backend in any order, and are given back when
//! they end. How many bytes are under way at once is limited; what does not fit waits in the ring.

mod request;

use std::collections::BTreeMap;

use backend_core::disk::{Disk, Done};
use hw_core::bits::low32;

use crate::core::{Model, Rings};
use crate::pci::PciIdentity;
use crate::queue::Chain;
use request::{Step, Taken};

/// As a PCI function.
pub const PCI: PciIdentity = PciIdentity {
    device: 0x1001,
    class: 0x01_00_00,
    ports: 128,
};

/// Size of a sector, whatever the disk's blocks are.
const SECTOR: u64 = 512;
/// Bytes under way at once; one request alone may have as many.
const MOST_BYTES: u64 = 64 << 20;
/// Bytes of an identity.
const ID_BYTES: usize = 20;

mod bits {
    pub(super) const SEG_MAX: u64 = 1 << 2;
    pub(super) const GEOMETRY: u64 = 1 << 4;
    pub(super) const RO: u64 = 1 << 5;
    pub(super) const BLK_SIZE: u64 = 1 << 6;
    pub(super) const FLUSH: u64 = 1 << 9;
    pub(super) const TOPOLOGY: u64 = 1 << 10;
    pub(super) const CONFIG_WCE: u64 = 1 << 11;
    pub(super) const MQ: u64 = 1 << 12;
    pub(super) const DISCARD: u64 = 1 << 13;
    pub(super) const WRITE_ZEROES: u64 = 1 << 14;
}

/// What a user may set.
#[derive(Debug, Clone)]
pub struct BlkOptions {
    /// Queues, one for each processor at best.
    pub queues: u16,
    /// Entries of each.
    pub queue_size: u16,
    /// At most 20 bytes.
    pub serial: String,
    /// Whether the guest may discard.
    pub discard: bool,
    /// Whether the guest may write zeroes.
    pub write_zeroes: bool,
    /// Whether the guest may switch the write cache.
    pub config_wce: bool,
    /// Bytes of a block as the guest sees them.
    pub logical_block: u32,
}

impl Default for BlkOptions {
    fn default() -> Self {
        Self {
            queues: 1,
            queue_size: 256,
            serial: String::new(),
            discard: true,
            write_zeroes: true,
            config_wce: true,
            logical_block: 512,
        }
    }
}

/// The disk device.
pub struct Blk {
    disk: Box<dyn Disk>,
    options: BlkOptions,
    /// The guest wants a cache that it flushes itself.
    write_back: bool,
    under_way: BTreeMap<u64, UnderWay>,
    bytes: u64,
    /// Names requests for the backend; never reused, so what ends after a reset is known to be old.
    next_token: u64,
}

/// A request on its way.
struct UnderWay {
    queue: usize,
    chain: Chain,
    /// Bytes that it holds.
    bytes: u64,
    /// What is left to do behind the step that runs.
    then: Vec<Step>,
}

impl Blk {
    /// A device on a backend.
    pub fn new(disk: Box<dyn Disk>, options: BlkOptions) -> Self {
        Self {
            disk,
            options,
            write_back: true,
            under_way: BTreeMap::new(),
            bytes: 0,
            next_token: 0,
        }
    }

    fn start(&mut self, queue: usize, chain: Chain, rings: &mut Rings<'_>) {
        let geometry = self.disk.geometry();
        let block = u64::from(self.options.logical_block);
        match request::take(&chain, rings.dma(), &geometry, block) {
            Taken::Answer(status) => finish(queue, &chain, status, 0, rings),
            Taken::Id => self.give_id(queue, &chain, rings),
            Taken::Steps(mut steps) => {
                let writes = steps
                    .first()
                    .is_some_and(|s| s.op == backend_core::disk::Op::Write);
                if writes && !self.write_back {
                    steps.push(Step::flush());
                }
                steps.reverse();
                let bytes = chain.readable_bytes() + chain.writable_bytes();
                self.bytes += bytes;
                self.run(
                    UnderWay {
                        queue,
                        chain,
                        bytes,
                        then: steps,
                    },
                    rings,
                );
            }
        }
    }

    /// Starts the next step of a request; one without steps has ended well.
    fn run(&mut self, mut request: UnderWay, rings: &mut Rings<'_>) {
        match request.then.pop() {
            Some(step) => {
                let token = self.next_token;
                self.next_token += 1;
                self.under_way.insert(token, request);
                self.disk.submit(step.into_io(token));
            }
            None => self.end(&request, request::OK, 0, rings),
        }
    }

    fn end(&mut self, request: &UnderWay, status: u8, written: u64, rings: &mut Rings<'_>) {
        self.bytes = self.bytes.saturating_sub(request.bytes);
        finish(request.queue, &request.chain, status, written, rings);
    }

    fn give_id(&self, queue: usize, chain: &Chain, rings: &mut Rings<'_>) {
        let mut id = [0; ID_BYTES];
        for (slot, byte) in id.iter_mut().zip(self.options.serial.bytes()) {
            *slot = byte;
        }
        let room = usize::try_from(chain.writable_bytes().saturating_sub(1)).unwrap_or(0);
        let id = &id[..room.min(ID_BYTES)];
        let status = match chain.write(rings.dma(), 0, id) {
            Ok(_) => request::OK,
            Err(_) => request::IO_ERROR,
        };
        finish(queue, chain, status, id.len() as u64, rings);
    }

    fn ended(&mut self, done: &Done, rings: &mut Rings<'_>) {
        let Some(request) = self.under_way.remove(&done.io.token) else {
            return;
        };
        if let Err(errno) = done.result {
            tracing::debug!(errno, op = ?done.io.op, offset = done.io.offset, "a request failed");
            self.end(&request, request::IO_ERROR, 0, rings);
            return;
        }
        if done.io.op != backend_core::disk::Op::Read {
            self.run(request, rings);
            return;
        }
        let written = done.io.data.len() as u64;
        match request.chain.write(rings.dma(), 0, &done.io.data) {
            Ok(_) => self.end(&request, request::OK, written, rings),
            Err(_) => self.end(&request, request::IO_ERROR, 0, rings),
        }
    }

    fn take_requests(&mut self, queue: usize, rings: &mut Rings<'_>) {
        // A guest that feeds the ring from another processor must not keep this one here for ever.
        for _ in 0..self.options.queue_size {
            if self.bytes >= MOST_BYTES {
                return;
            }
            let Some(chain) = rings.pop(queue) else {
                return;
            };
            self.start(queue, chain, rings);
        }
    }
}

/// Writes the status, the last writable byte, and gives the request back.
fn finish(queue: usize, chain: &Chain, status: u8, written: u64, rings: &mut Rings<'_>) {
    if let Some(last) = chain.writable_bytes().checked_sub(1) {
        // A status that cannot be written is the guest's own loss.
        let _ = chain.write(rings.dma(), last, &[status]);
    }
    rings.push(queue, chain.head, low32(written.saturating_add(1)));
}

impl Model for Blk {
    fn id(&self) -> u16 {
        2
    }

    fn name(&self) -> &'static str {
        "virtio-blk"
    }

    fn features(&self) -> u64 {
        let when = |on: bool, bit: u64| if on { bit } else { 0 };
        bits::SEG_MAX
            | bits::GEOMETRY
            | bits::BLK_SIZE
            | bits::FLUSH
            | bits::TOPOLOGY
            | when(self.disk.geometry().read_only, bits::RO)
            | when(self.options.queues > 1, bits::MQ)
            | when(self.options.config_wce, bits::CONFIG_WCE)
            | when(self.options.discard, bits::DISCARD)
            | when(self.options.write_zeroes, bits::WRITE_ZEROES)
    }

    fn queues(&self) -> Vec<u16> {
        vec![self.options.queue_size; usize::from(self.options.queues.max(1))]
    }

    fn config(&self) -> Vec<u8> {
        let geometry = self.disk.geometry();
        request::config(&geometry, &self.options, self.write_back)
    }

    fn config_write(&mut self, offset: usize, value: u8) {
        if offset == request::WCE_AT && self.options.config_wce {
            self.write_back = value & 1 != 0;
        }
    }

    fn agreed(&mut self, features: u64) {
        // A driver that neither flushes nor sets the cache gets one that is always safe.
        self.write_back = features & (bits::FLUSH | bits::CONFIG_WCE) != 0;
    }

    fn kick(&mut self, index: usize, rings: &mut Rings<'_>) {
        self.take_requests(index, rings);
        self.completed(rings);
    }

    fn completed(&mut self, rings: &mut Rings<'_>) {
        loop {
            let done = self.disk.take_done();
            if done.is_empty() {
                return;
            }
            for one in done {
                self.ended(&one, rings);
            }
            // There may be room now for what waited in the rings.
            for queue in 0..usize::from(self.options.queues.max(1)) {
                self.take_requests(queue, rings);
            }
        }
    }

    fn reset(&mut self) {
        self.under_way.clear();
        self.bytes = 0;
        self.write_back = true;
    }
}
