//! A packed virtqueue (VIRTIO 1.2, section 2.8): one ring of descriptors that the driver and the device write in turn.
//!
//! ```text
//! descriptor, 16 bytes:  address u64, length u32, id u16, flags u16 (1 next, 2 device writes, 4 indirect, 7 available, 15 used)
//! event suppression:     place u16 (bit 15: round), flags u16 (0 tell, 1 do not, 2 tell at that place)
//! ```
//! A round is counted by one bit that turns when the ring begins again: a descriptor is the device's while its bit
//! "available" is that of the round and its bit "used" is not.

use std::collections::BTreeMap;

use hw_core::bits::low16;
use hw_core::memory::Dma;
use serde::{Deserialize, Serialize};

use super::{
    Broken, Chain, DESCRIPTOR, INDIRECT, MOST_PIECES, NEXT, Piece, Queue, WRITE, descriptor,
    indirect,
};

const AVAILABLE: u16 = 1 << 7;
const USED: u16 = 1 << 15;
const ROUND: u16 = 1 << 15;
const TELL: u16 = 0;
const DO_NOT_TELL: u16 = 1;
const TELL_AT: u16 = 2;

/// What a packed ring has beside the places of both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packed {
    /// Bits of the rounds.
    available_round: bool,
    used_round: bool,
    /// Descriptors of each request that the device has, by its id.
    requests: BTreeMap<u16, u16>,
    /// Descriptors given back since the guest was last told.
    fresh: u32,
}

impl Default for Packed {
    fn default() -> Self {
        Self {
            available_round: true,
            used_round: true,
            requests: BTreeMap::new(),
            fresh: 0,
        }
    }
}

impl Packed {
    /// Whether a saved one can be, for a ring of so many entries.
    pub(super) fn is_sound(&self, size: u16) -> bool {
        let counts = self.requests.values();
        counts.map(|count| u32::from(*count)).sum::<u32>() <= size.into()
            && self.requests.values().all(|count| *count > 0)
    }
}

/// The place behind `steps` descriptors, and the bit of its round.
fn ahead(place: u16, round: bool, steps: u16, size: u16) -> (u16, bool) {
    let next = u32::from(place) + u32::from(steps);
    match next.checked_sub(size.into()) {
        Some(over) => (low16(over.into()), !round),
        None => (low16(next.into()), round),
    }
}

impl Queue {
    pub(super) fn pop_packed(&mut self, dma: &Dma) -> Result<Option<Chain>, Broken> {
        if !self.has_packed(dma)? {
            self.ask_for_kick_packed(dma)?;
            // A request that came before the guest could see that it has to kick.
            if !self.has_packed(dma)? {
                return Ok(None);
            }
        }
        let (chain, count) = self.walk_packed(dma)?;
        let size = self.size;
        let place = self.next_available;
        let Some(packed) = &mut self.packed else {
            return Ok(None);
        };
        let there: u32 = packed
            .requests
            .values()
            .map(|count| u32::from(*count))
            .sum();
        if there + u32::from(count) > u32::from(size) {
            return Err(Broken("more requests than the ring has places"));
        }
        if packed.requests.insert(chain.head, count).is_some() {
            return Err(Broken("two requests of one id"));
        }
        let (next, round) = ahead(place, packed.available_round, count, size);
        packed.available_round = round;
        self.next_available = next;
        Ok(Some(chain))
    }

    fn has_packed(&self, dma: &Dma) -> Result<bool, Broken> {
        let at = self.at(
            self.descriptors,
            u64::from(self.next_available) * DESCRIPTOR + 14,
        )?;
        let flags = low16(dma.read_uint(at, 2)?);
        let round = self
            .packed
            .as_ref()
            .is_some_and(|packed| packed.available_round);
        Ok((flags & AVAILABLE != 0) == round && (flags & USED != 0) != round)
    }

    fn ask_for_kick_packed(&self, dma: &Dma) -> Result<(), Broken> {
        let Some(packed) = &self.packed else {
            return Ok(());
        };
        let (place, flags) = match (self.event_idx, packed.available_round) {
            (true, true) => (self.next_available | ROUND, TELL_AT),
            (true, false) => (self.next_available, TELL_AT),
            (false, _) => (0, TELL),
        };
        dma.write(self.used, &place.to_le_bytes())?;
        dma.write(self.at(self.used, 2)?, &flags.to_le_bytes())?;
        Ok(())
    }

    /// The request at the place where the device is, and how many descriptors of the ring it has.
    fn walk_packed(&self, dma: &Dma) -> Result<(Chain, u16), Broken> {
        let mut chain = Chain {
            head: 0,
            readable: Vec::new(),
            writable: Vec::new(),
        };
        let mut place = self.next_available;
        let mut count = 0;
        loop {
            let at = self.at(self.descriptors, u64::from(place) * DESCRIPTOR)?;
            let (address, len, id, flags) = descriptor(dma, at)?;
            count += 1;
            if flags & INDIRECT != 0 {
                if !self.indirect || count != 1 || flags & NEXT != 0 {
                    return Err(Broken("an indirect descriptor where none may be"));
                }
                walk_table(dma, indirect(address, len)?, &mut chain)?;
            } else {
                chain.add(Piece { address, len }, flags & WRITE != 0)?;
            }
            if flags & NEXT == 0 {
                chain.head = id;
                return Ok((chain, count));
            }
            if count == self.size {
                return Err(Broken("a chain that does not end"));
            }
            (place, _) = ahead(place, false, 1, self.size);
        }
    }

    pub(super) fn push_packed(&mut self, dma: &Dma, id: u16, written: u32) -> Result<(), Broken> {
        let (place, size) = (self.next_used, self.size);
        let Some(packed) = &mut self.packed else {
            return Ok(());
        };
        let Some(count) = packed.requests.remove(&id) else {
            return Ok(());
        };
        let round = packed.used_round;
        packed.fresh = packed.fresh.saturating_add(count.into());
        (self.next_used, packed.used_round) = ahead(place, round, count, size);
        let at = self.at(self.descriptors, u64::from(place) * DESCRIPTOR)?;
        let mut entry = [0; 6];
        entry[..4].copy_from_slice(&written.to_le_bytes());
        entry[4..].copy_from_slice(&id.to_le_bytes());
        dma.write(self.at(at, 8)?, &entry)?;
        let mut flags = if round { AVAILABLE | USED } else { 0 };
        if written > 0 {
            flags |= WRITE;
        }
        // The rest has to be there before the flags say so: DMA writes are made in order, under the machine lock.
        dma.write(self.at(at, 14)?, &flags.to_le_bytes())?;
        Ok(())
    }

    pub(super) fn interrupts_packed(&mut self, dma: &Dma) -> Result<bool, Broken> {
        let (size, told) = (i32::from(self.size), self.told);
        // Both rounds as one long ring.
        let long = |place: u16, round: bool| i32::from(place) + if round { 0 } else { size };
        let Some(packed) = &mut self.packed else {
            return Ok(false);
        };
        let fresh = std::mem::take(&mut packed.fresh);
        if !self.on || fresh == 0 {
            return Ok(false);
        }
        let now = long(self.next_used, packed.used_round);
        self.told = Some(low16(u64::from(now.unsigned_abs())));
        let place = low16(dma.read_uint(self.available, 2)?);
        let flags = low16(dma.read_uint(self.at(self.available, 2)?, 2)?);
        Ok(match (flags, told) {
            (DO_NOT_TELL, _) => false,
            (TELL_AT, Some(told)) if self.event_idx => {
                let event = long(place & !ROUND, place & ROUND != 0);
                let distance = (event - i32::from(told)).rem_euclid(2 * size);
                distance.unsigned_abs() < fresh
            }
            _ => true,
        })
    }
}

/// The descriptors of an indirect table: as many as its length says.
fn walk_table(dma: &Dma, (table, entries): (u64, u16), chain: &mut Chain) -> Result<(), Broken> {
    if usize::from(entries) > MOST_PIECES {
        return Err(Broken("a chain that does not end"));
    }
    for n in 0..u64::from(entries) {
        let at = table.checked_add(n * DESCRIPTOR);
        let at = at.ok_or(Broken("a ring that passes the end of memory"))?;
        let (address, len, _, flags) = descriptor(dma, at)?;
        chain.add(Piece { address, len }, flags & WRITE != 0)?;
    }
    Ok(())
}
