//! The guest's physical memory as one processor sees it: slots by address.

use accel_core::Slot;
use guest_mem::PAGE;

/// A page of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostPage {
    /// Address in this process.
    pub(crate) host: u64,
    /// Writes go to the bus.
    pub(crate) read_only: bool,
    /// Which slot.
    pub(crate) slot: usize,
    /// Page of the slot's block.
    pub(crate) page: usize,
}

/// All slots, by address.
#[derive(Debug, Default)]
pub(crate) struct Map {
    slots: Vec<Slot>,
}

impl Map {
    /// A map of slots that do not overlap; parts beyond their blocks are left out.
    pub(crate) fn new(slots: &[Slot]) -> Self {
        let fits = |slot: &&Slot| {
            let end = slot.offset.checked_add(slot.size);
            let aligned = (slot.start | slot.size | slot.offset).is_multiple_of(PAGE);
            aligned
                && end.is_some_and(|end| end <= slot.ram.size())
                && slot.start.checked_add(slot.size).is_some()
        };
        let mut slots: Vec<Slot> = slots.iter().filter(fits).cloned().collect();
        slots.sort_by_key(|slot| slot.start);
        Self { slots }
    }

    /// A slot by its number.
    pub(crate) fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    /// The page at a physical address, if it is memory.
    pub(crate) fn find(&self, physical: u64) -> Option<HostPage> {
        let after = self.slots.partition_point(|slot| slot.start <= physical);
        let index = after.checked_sub(1)?;
        let slot = self.slots.get(index)?;
        let inside = (physical & !(PAGE - 1)) - slot.start;
        if inside >= slot.size {
            return None;
        }
        let offset = slot.offset + inside;
        Some(HostPage {
            host: slot.ram.host_address() + offset,
            read_only: slot.read_only,
            slot: index,
            page: usize::try_from(offset / PAGE).ok()?,
        })
    }
}
