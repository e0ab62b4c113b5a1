//! A virtqueue as the device sees it: what all have in common, and the split ring (VIRTIO 1.2, section 2.7).
//!
//! ```text
//! descriptor, 16 bytes:  address u64, length u32, flags u16 (1 next, 2 device writes, 4 indirect), next u16
//! available ring:        flags u16 (1 no interrupt), index u16, heads u16 * size, used_event u16
//! used ring:             flags u16 (1 no kick), index u16, { head u32, written u32 } * size, avail_event u16
//! ```

use hw_core::bits::{low16, low32};
use hw_core::memory::{Dma, DmaError};
use packed::Packed;
use serde::{Deserialize, Serialize};

mod packed;
#[cfg(test)]
mod tests;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const NO_INTERRUPT: u64 = 1;
/// Size of a descriptor in bytes.
const DESCRIPTOR: u64 = 16;
/// Descriptors that one request may have, indirect ones counted.
const MOST_PIECES: usize = 1024;

/// The guest broke the rules of the ring; the device needs a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl From<DmaError> for Broken {
    fn from(_: DmaError) -> Self {
        Self("a ring is not in memory")
    }
}

/// A stretch of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// First address.
    pub address: u64,
    /// Length in bytes.
    pub len: u32,
}

/// A request: what the device may read, then what it may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// By which the request is given back.
    pub head: u16,
    /// What the device may read, in order.
    pub readable: Vec<Piece>,
    /// What the device may write, in order.
    pub writable: Vec<Piece>,
}

impl Chain {
    /// Bytes that the device may read.
    pub fn readable_bytes(&self) -> u64 {
        self.readable.iter().map(|p| u64::from(p.len)).sum()
    }

    /// Bytes that the device may write.
    pub fn writable_bytes(&self) -> u64 {
        self.writable.iter().map(|p| u64::from(p.len)).sum()
    }

    /// Copies from the readable part, from byte `skip` of it, as much as `into` takes; gives how much there was.
    ///
    /// # Errors
    /// A piece is not in memory.
    pub fn read(&self, dma: &Dma, skip: u64, into: &mut [u8]) -> Result<usize, DmaError> {
        let mut done = 0;
        each(&self.readable, skip, into.len(), |address, from, len| {
            done += len;
            dma.read(address, &mut into[from..from + len])
        })?;
        Ok(done)
    }

    /// Copies to the writable part, from byte `skip` of it; gives how much there was room for.
    ///
    /// # Errors
    /// A piece is not in memory.
    pub fn write(&self, dma: &Dma, skip: u64, from: &[u8]) -> Result<usize, DmaError> {
        let mut done = 0;
        each(&self.writable, skip, from.len(), |address, at, len| {
            done += len;
            dma.write(address, &from[at..at + len])
        })?;
        Ok(done)
    }
}

/// Walks `total` bytes of pieces from byte `skip`: address, offset in the whole, length.
fn each(
    pieces: &[Piece],
    mut skip: u64,
    total: usize,
    mut visit: impl FnMut(u64, usize, usize) -> Result<(), DmaError>,
) -> Result<(), DmaError> {
    let mut done = 0;
    for piece in pieces {
        let len = u64::from(piece.len);
        if skip >= len {
            skip -= len;
            continue;
        }
        let room = usize::try_from(len - skip).unwrap_or(usize::MAX);
        let now = room.min(total - done);
        if now == 0 {
            break;
        }
        let address = piece.address.checked_add(skip).ok_or(DmaError)?;
        visit(address, done, now)?;
        skip = 0;
        done += now;
    }
    Ok(())
}

/// One queue. Size and places are the driver's to set until the queue is on, and then stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    most: u16,
    /// Entries in each ring, a power of two.
    pub size: u16,
    /// Place of the descriptors.
    pub descriptors: u64,
    /// Place of the available ring.
    pub available: u64,
    /// Place of the used ring.
    pub used: u64,
    /// MSI-X vector, `0xffff` for none.
    pub vector: u16,
    on: bool,
    event_idx: bool,
    indirect: bool,
    next_available: u16,
    next_used: u16,
    /// Index of the used ring when the guest was last interrupted.
    told: Option<u16>,
    /// Requests the device has taken and not given back.
    taken: u16,
    /// The ring is packed; places then are: the ring itself, what the driver wants to hear of, what the device wants to.
    packed: Option<Packed>,
}

/// No MSI-X vector.
pub(crate) const NO_VECTOR: u16 = 0xffff;

impl Queue {
    /// A queue of at most `most` entries, off.
    pub fn new(most: u16) -> Self {
        Self {
            most,
            size: most,
            descriptors: 0,
            available: 0,
            used: 0,
            vector: NO_VECTOR,
            on: false,
            event_idx: false,
            indirect: false,
            next_available: 0,
            next_used: 0,
            told: None,
            taken: 0,
            packed: None,
        }
    }

    /// Entries it can have.
    pub fn most(&self) -> u16 {
        self.most
    }

    /// Whether the driver switched it on.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Switches it on with the features agreed on. A size that is no power of two, or too large, leaves it off.
    pub fn switch_on(&mut self, features: u64) {
        let packed = features & crate::feature::RING_PACKED != 0;
        let fits = self.size.is_power_of_two() || packed && self.size > 0;
        if !fits || self.size > self.most {
            return;
        }
        self.packed = packed.then(Packed::default);
        self.event_idx = features & crate::feature::EVENT_IDX != 0;
        self.indirect = features & crate::feature::INDIRECT_DESC != 0;
        self.next_available = 0;
        self.next_used = 0;
        self.told = None;
        self.taken = 0;
        self.on = true;
    }

    /// Its rings lie behind each other from `start`, the used ring at a multiple of `align`, as legacy drivers have it.
    pub(crate) fn lie_at(&mut self, start: u64, align: u64) {
        let size = u64::from(self.size);
        self.descriptors = start;
        self.available = start + size * DESCRIPTOR;
        self.used = (self.available + 6 + size * 2).next_multiple_of(align);
    }

    /// As after power-on.
    pub fn reset(&mut self) {
        *self = Self::new(self.most);
    }

    /// Checks a saved queue against this one.
    pub(crate) fn is_sound(&self, most: u16) -> bool {
        self.most == most
            && (!self.on || (self.has_size() && self.size <= most))
            && self.taken <= self.size
    }

    fn has_size(&self) -> bool {
        match &self.packed {
            None => self.size.is_power_of_two(),
            Some(packed) => {
                packed.is_sound(self.size) && self.next_available.max(self.next_used) < self.size
            }
        }
    }

    /// The next request, if there is one.
    ///
    /// # Errors
    /// The ring breaks the rules.
    pub fn pop(&mut self, dma: &Dma) -> Result<Option<Chain>, Broken> {
        if !self.on {
            return Ok(None);
        }
        if self.packed.is_some() {
            return self.pop_packed(dma);
        }
        let index = low16(dma.read_uint(self.at(self.available, 2)?, 2)?);
        let waiting = index.wrapping_sub(self.next_available);
        if waiting > self.size {
            return Err(Broken("the available index jumped"));
        }
        if waiting == 0 {
            self.ask_for_kick(dma)?;
            // A request that came before the guest could see that it has to kick.
            let again = low16(dma.read_uint(self.at(self.available, 2)?, 2)?);
            if again == self.next_available {
                return Ok(None);
            }
        }
        if self.taken >= self.size {
            return Err(Broken("more requests than the ring has places"));
        }
        let slot = u64::from(self.next_available & (self.size - 1));
        let head = low16(dma.read_uint(self.at(self.available, 4 + slot * 2)?, 2)?);
        let chain = self.walk(dma, head)?;
        self.next_available = self.next_available.wrapping_add(1);
        self.taken += 1;
        Ok(Some(chain))
    }

    /// Tells the guest that it has to kick for the next request.
    fn ask_for_kick(&self, dma: &Dma) -> Result<(), Broken> {
        if self.event_idx {
            let at = self.at(self.used, 4 + u64::from(self.size) * 8)?;
            dma.write(at, &self.next_available.to_le_bytes())?;
        }
        Ok(())
    }

    fn walk(&self, dma: &Dma, head: u16) -> Result<Chain, Broken> {
        let mut chain = Chain {
            head,
            readable: Vec::new(),
            writable: Vec::new(),
        };
        let mut table = (self.descriptors, self.size);
        let mut index = head;
        let mut steps = 0;
        loop {
            if index >= table.1 {
                return Err(Broken("a descriptor beyond the table"));
            }
            let at = self.at(table.0, u64::from(index) * DESCRIPTOR)?;
            let (address, len, flags, next) = descriptor(dma, at)?;
            if flags & INDIRECT != 0 {
                if !self.indirect || steps != 0 || flags & NEXT != 0 {
                    return Err(Broken("an indirect descriptor where none may be"));
                }
                table = indirect(address, len)?;
                index = 0;
                steps += 1;
                continue;
            }
            steps += 1;
            if steps > MOST_PIECES {
                return Err(Broken("a chain that does not end"));
            }
            chain.add(Piece { address, len }, flags & WRITE != 0)?;
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            index = next;
        }
    }

    /// Gives a request back, `written` bytes filled.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn push(&mut self, dma: &Dma, head: u16, written: u32) -> Result<(), Broken> {
        if !self.on {
            return Ok(());
        }
        if self.packed.is_some() {
            return self.push_packed(dma, head, written);
        }
        let slot = u64::from(self.next_used & (self.size - 1));
        let mut entry = [0; 8];
        entry[..4].copy_from_slice(&u32::from(head).to_le_bytes());
        entry[4..].copy_from_slice(&written.to_le_bytes());
        dma.write(self.at(self.used, 4 + slot * 8)?, &entry)?;
        self.next_used = self.next_used.wrapping_add(1);
        // The entry has to be there before the index counts it: DMA writes are made in order, under the machine lock.
        dma.write(self.at(self.used, 2)?, &self.next_used.to_le_bytes())?;
        self.taken = self.taken.saturating_sub(1);
        Ok(())
    }

    /// Whether the guest wants to hear of what was given back since it was last told.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn wants_interrupt(&mut self, dma: &Dma) -> Result<bool, Broken> {
        if self.packed.is_some() {
            return self.interrupts_packed(dma);
        }
        if !self.on || self.told.unwrap_or(0) == self.next_used {
            return Ok(false);
        }
        let wants = if self.event_idx {
            let at = self.at(self.available, 4 + u64::from(self.size) * 2)?;
            let event = low16(dma.read_uint(at, 2)?);
            match self.told {
                None => true,
                Some(told) => passed(event, self.next_used, told),
            }
        } else {
            dma.read_uint(self.available, 2)? & NO_INTERRUPT == 0
        };
        self.told = Some(self.next_used);
        Ok(wants)
    }

    fn at(&self, base: u64, offset: u64) -> Result<u64, Broken> {
        base.checked_add(offset)
            .ok_or(Broken("a ring that passes the end of memory"))
    }
}

impl Chain {
    fn add(&mut self, piece: Piece, writable: bool) -> Result<(), Broken> {
        if writable {
            self.writable.push(piece);
        } else if self.writable.is_empty() {
            self.readable.push(piece);
        } else {
            return Err(Broken("a readable piece behind a writable one"));
        }
        Ok(())
    }
}

/// Whether `event` lies in what was added from `old` to `new` (VIRTIO 1.2, 2.7.7.2).
fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

fn indirect(address: u64, len: u32) -> Result<(u64, u16), Broken> {
    let entries = u64::from(len) / DESCRIPTOR;
    match u16::try_from(entries) {
        Ok(entries) if entries > 0 && u64::from(len).is_multiple_of(DESCRIPTOR) => {
            Ok((address, entries))
        }
        _ => Err(Broken("an indirect table of a wrong length")),
    }
}

fn descriptor(dma: &Dma, at: u64) -> Result<(u64, u32, u16, u16), Broken> {
    // One copy: the guest may change it meanwhile.
    let mut raw = [0; 16];
    dma.read(at, &mut raw)?;
    let whole = u128::from_le_bytes(raw);
    let word = |shift: u32| u64::try_from(whole >> shift & u128::from(u64::MAX)).unwrap_or(0);
    Ok((word(0), low32(word(64)), low16(word(96)), low16(word(112))))
}
