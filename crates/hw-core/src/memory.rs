//! Address spaces: what answers at each guest-physical address or I/O port.
//!
//! Mappings may overlap; the one with the higher priority wins, and among equals the later one. The winners are kept
//! as a sorted list without overlaps, made anew at each change, so look-ups are a binary search:
//! ```text
//!   priority 1        |--ROM--|
//!   priority 0   |--------RAM---------|
//!   flat         |RAM |--ROM--|  RAM  |
//! ```

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use guest_mem::Ram;

#[cfg(test)]
mod tests;

/// What answers in a mapping.
#[derive(Debug, Clone)]
pub enum Backing {
    /// RAM from `offset` of a block.
    Ram {
        /// The block.
        ram: Ram,
        /// Where the mapping starts in it.
        offset: u64,
    },
    /// The same, but writes are dropped.
    Rom {
        /// The block.
        ram: Ram,
        /// Where the mapping starts in it.
        offset: u64,
    },
    /// Registers of a device.
    Device {
        /// The device's number in its machine.
        device: usize,
        /// Which of its regions.
        region: u32,
        /// Where in the region the mapping starts.
        offset: u64,
    },
    /// Memory to read and run, as ROM; writes are a device's.
    Flash {
        /// The block.
        ram: Ram,
        /// The device's number in its machine.
        device: usize,
        /// Which of its regions.
        region: u32,
        /// Where the mapping starts in block and region.
        offset: u64,
    },
    /// Nothing: what is below shows through.
    Off,
}

impl Backing {
    /// A device's region from its start.
    pub fn device(device: usize, region: u32) -> Self {
        Self::Device {
            device,
            region,
            offset: 0,
        }
    }

    fn advanced(&self, by: u64) -> Self {
        let mut moved = self.clone();
        match &mut moved {
            Self::Ram { offset, .. }
            | Self::Rom { offset, .. }
            | Self::Device { offset, .. }
            | Self::Flash { offset, .. } => {
                *offset = offset.wrapping_add(by);
            }
            Self::Off => {}
        }
        moved
    }
}

/// Names a mapping in its space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappingId(usize);

#[derive(Debug)]
struct Mapping {
    start: u64,
    /// Last address, so that a mapping may end at the top.
    last: u64,
    priority: i32,
    backing: Backing,
}

/// A stretch of addresses with one answer.
#[derive(Debug, Clone)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Last address.
    pub last: u64,
    /// What answers, already moved to `start`.
    pub backing: Backing,
}

/// An address space; see the head of this file.
#[derive(Debug, Default)]
pub struct AddressSpace {
    mappings: Vec<Mapping>,
    flat: Vec<Range>,
    generation: u64,
    remap: Option<Arc<dyn Remap>>,
}

/// Translates the addresses of devices' transfers (an IOMMU).
pub trait Remap: Debug + Send + Sync {
    /// Where the transfer of the function `source` (bus, device and function) goes at `address`, and how many bytes
    /// follow there, at least one. `None` when it is refused.
    fn translate(&self, source: u16, address: u64, write: bool) -> Option<(u64, u64)>;
}

/// What decides about a function's transfers.
#[derive(Debug, Default)]
pub struct Master {
    /// It may make some.
    pub on: AtomicBool,
    /// Who it is.
    pub source: AtomicU16,
}

/// An address space that devices and processors share.
pub type Shared = Arc<RwLock<AddressSpace>>;

impl AddressSpace {
    /// An empty space.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty space to share.
    pub fn shared() -> Shared {
        Arc::new(RwLock::new(Self::new()))
    }

    /// Adds a mapping of `size` bytes; what passes the top of the space is cut, and size zero maps nothing.
    pub fn map(&mut self, start: u64, size: u64, priority: i32, backing: Backing) -> MappingId {
        let (last, backing) = match size.checked_sub(1) {
            Some(rest) => (start.saturating_add(rest), backing),
            None => (start, Backing::Off),
        };
        self.mappings.push(Mapping {
            start,
            last,
            priority,
            backing,
        });
        self.flatten();
        MappingId(self.mappings.len() - 1)
    }

    /// Moves a mapping.
    pub fn move_to(&mut self, id: MappingId, start: u64) {
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            let size = mapping.last - mapping.start;
            mapping.start = start;
            mapping.last = start.saturating_add(size);
            self.flatten();
        }
    }

    /// Changes what answers in a mapping; [`Backing::Off`] takes it away.
    pub fn set_backing(&mut self, id: MappingId, backing: Backing) {
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.backing = backing;
            self.flatten();
        }
    }

    /// What answers at `address`, with the rest of its stretch.
    pub fn find(&self, address: u64) -> Option<Range> {
        let index = self.flat.partition_point(|range| range.last < address);
        let range = self
            .flat
            .get(index)
            .filter(|range| range.start <= address)?;
        Some(Range {
            start: address,
            last: range.last,
            backing: range.backing.advanced(address - range.start),
        })
    }

    /// All stretches in order.
    pub fn ranges(&self) -> &[Range] {
        &self.flat
    }

    /// Has transfers of functions translated from now on.
    pub fn set_remap(&mut self, remap: Arc<dyn Remap>) {
        self.remap = Some(remap);
    }

    /// Counts changes, so that a cache knows when it is stale.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn flatten(&mut self) {
        self.generation += 1;
        let on: Vec<&Mapping> = self
            .mappings
            .iter()
            .filter(|mapping| !matches!(mapping.backing, Backing::Off))
            .collect();
        let mut edges: Vec<u64> = on.iter().map(|m| m.start).collect();
        edges.extend(on.iter().filter_map(|m| m.last.checked_add(1)));
        edges.sort_unstable();
        edges.dedup();
        let mut flat: Vec<Range> = Vec::new();
        let mut winner_before: Option<usize> = None;
        for (n, &start) in edges.iter().enumerate() {
            let last = edges.get(n + 1).map_or(u64::MAX, |next| next - 1);
            // `max_by_key` gives the last of equals: the later mapping wins.
            let winner = (0..on.len())
                .filter(|&i| on[i].start <= start && start <= on[i].last)
                .max_by_key(|&i| on[i].priority);
            match (winner, flat.last_mut()) {
                (Some(_), Some(range)) if winner == winner_before => range.last = last,
                (Some(i), _) => flat.push(Range {
                    start,
                    last,
                    backing: on[i].backing.advanced(start - on[i].start),
                }),
                (None, _) => {}
            }
            winner_before = winner;
        }
        self.flat = flat;
    }
}

/// Locks a shared space for looking.
pub fn look(space: &Shared) -> RwLockReadGuard<'_, AddressSpace> {
    space.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks a shared space for changing.
pub fn change(space: &Shared) -> RwLockWriteGuard<'_, AddressSpace> {
    space.write().unwrap_or_else(PoisonError::into_inner)
}

/// A device's way to guest memory. Only RAM and ROM are reached: transfers to device registers are refused, so that no
/// device can be re-entered by its own transfer.
#[derive(Debug, Clone)]
pub struct Dma {
    space: Shared,
    /// Bus mastering; a function that is no master reaches nothing.
    master: Option<Arc<Master>>,
    /// Its addresses are translated where there is something that does so.
    translated: bool,
}

/// A transfer met an address that is no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaError;

impl Dma {
    /// A view of a whole space.
    pub fn new(space: &Shared) -> Self {
        Self {
            space: Arc::clone(space),
            master: None,
            translated: false,
        }
    }

    /// A function's view, while `master` lets it.
    pub fn of(space: &Shared, master: Arc<Master>, translated: bool) -> Self {
        Self {
            space: Arc::clone(space),
            master: Some(master),
            translated,
        }
    }

    /// Copies from guest memory.
    ///
    /// # Errors
    /// Part of the range is no memory; bytes before it were copied.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DmaError> {
        self.each(address, into.len(), false, |backing, done, bytes| {
            let part = into.get_mut(done..done + bytes).ok_or(DmaError)?;
            match backing {
                Backing::Ram { ram, offset }
                | Backing::Rom { ram, offset }
                | Backing::Flash { ram, offset, .. } => {
                    ram.read(*offset, part).map_err(|_| DmaError)
                }
                _ => Err(DmaError),
            }
        })
    }

    /// Copies to guest memory; ROM drops what is written.
    ///
    /// # Errors
    /// Part of the range is no memory; bytes before it were copied.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), DmaError> {
        self.each(address, from.len(), true, |backing, done, bytes| {
            let part = from.get(done..done + bytes).ok_or(DmaError)?;
            match backing {
                Backing::Ram { ram, offset } => ram.write(*offset, part).map_err(|_| DmaError),
                Backing::Rom { .. } | Backing::Flash { .. } => Ok(()),
                _ => Err(DmaError),
            }
        })
    }

    /// Reads a little-endian number of one to eight bytes.
    ///
    /// # Errors
    /// See [`Dma::read`].
    pub fn read_uint(&self, address: u64, bytes: usize) -> Result<u64, DmaError> {
        let mut raw = [0; 8];
        self.read(address, raw.get_mut(..bytes).ok_or(DmaError)?)?;
        Ok(u64::from_le_bytes(raw))
    }

    fn each(
        &self,
        address: u64,
        total: usize,
        write: bool,
        mut part: impl FnMut(&Backing, usize, usize) -> Result<(), DmaError>,
    ) -> Result<(), DmaError> {
        if let Some(master) = &self.master
            && !master.on.load(Ordering::Acquire)
        {
            return Err(DmaError);
        }
        let remap = self.remap();
        let mut done = 0;
        while done < total {
            let at = address.checked_add(done as u64).ok_or(DmaError)?;
            // Before the space is locked: a translation reads its tables there.
            let (at, most) = match &remap {
                None => (at, u64::MAX),
                Some((remap, source)) => remap.translate(*source, at, write).ok_or(DmaError)?,
            };
            let range = look(&self.space).find(at).ok_or(DmaError)?;
            let room = (range.last - range.start).saturating_add(1).min(most);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let bytes = (total - done).min(room);
            part(&range.backing, done, bytes)?;
            done += bytes;
        }
        Ok(())
    }

    fn remap(&self) -> Option<(Arc<dyn Remap>, u16)> {
        let master = self.master.as_ref().filter(|_| self.translated)?;
        let remap = look(&self.space).remap.clone()?;
        Some((remap, master.source.load(Ordering::Acquire)))
    }
}
