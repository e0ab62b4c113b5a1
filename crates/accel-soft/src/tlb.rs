//! Translations kept: linear page to host address, with a tag for each kind of access.
//!
//! A tag is the page's linear address; an entry that does not allow an access has there a page that belongs to another entry, so
//! that no address which is looked up here can equal it.

/// Entries; a power of two.
const ENTRIES: usize = 1024;

/// Kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Data read.
    Read,
    /// Data write.
    Write,
    /// Instruction fetch.
    Execute,
}

/// One page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) read: u64,
    pub(crate) write: u64,
    pub(crate) execute: u64,
    /// Host address minus linear address.
    pub(crate) addend: u64,
    /// Physical page.
    pub(crate) physical: u64,
    /// It stays when CR3 is loaded.
    pub(crate) global: bool,
    /// The linear page.
    linear: u64,
    /// Bits of an address that name the page that the tables have (it may be larger than ours).
    mask: u64,
}

/// What may be done with a page that is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rights {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) execute: bool,
    pub(crate) global: bool,
}

/// The translations of one privilege.
pub(crate) struct Tlb {
    entries: Box<[Entry; ENTRIES]>,
    used: Vec<u16>,
}

/// A page whose entry is not `slot`'s.
fn nowhere(slot: usize) -> u64 {
    (slot as u64 ^ 1) << 12
}

fn empty(slot: usize) -> Entry {
    let tag = nowhere(slot);
    Entry {
        read: tag,
        write: tag,
        execute: tag,
        addend: 0,
        physical: u64::MAX,
        global: false,
        linear: tag,
        mask: u64::MAX,
    }
}

#[inline(always)]
fn slot_of(linear: u64) -> usize {
    x86_cpu::word::index(linear >> 12) & (ENTRIES - 1)
}

impl Tlb {
    pub(crate) fn new() -> Self {
        let mut entries = Box::new([empty(0); ENTRIES]);
        for (slot, entry) in entries.iter_mut().enumerate() {
            *entry = empty(slot);
        }
        Self {
            entries,
            used: Vec::with_capacity(ENTRIES),
        }
    }

    /// The host address of `bytes` at `linear` that lie in one page, if the access is allowed and known.
    #[inline(always)]
    pub(crate) fn find(&self, linear: u64, bytes: usize, access: Access) -> Option<u64> {
        let entry = &self.entries[slot_of(linear)];
        let tag = match access {
            Access::Read => entry.read,
            Access::Write => entry.write,
            Access::Execute => entry.execute,
        };
        (linear.wrapping_sub(tag) <= 4096 - bytes as u64).then(|| linear.wrapping_add(entry.addend))
    }

    /// Physical address of code, if known.
    #[inline(always)]
    pub(crate) fn code(&self, linear: u64) -> Option<u64> {
        let entry = &self.entries[slot_of(linear)];
        (entry.execute == linear & !0xfff).then_some(entry.physical | linear & 0xfff)
    }

    /// Puts a page in.
    pub(crate) fn put(&mut self, linear: u64, host: u64, physical: u64, mask: u64, rights: Rights) {
        let slot = slot_of(linear);
        let page = linear & !0xfff;
        let tag = |on: bool| if on { page } else { nowhere(slot) };
        let entry = &mut self.entries[slot];
        if entry.physical == u64::MAX {
            self.used.push(x86_cpu::word::low16(slot as u64));
        }
        *entry = Entry {
            read: tag(rights.read),
            write: tag(rights.write),
            execute: tag(rights.execute),
            addend: host.wrapping_sub(page),
            physical: physical & !0xfff,
            global: rights.global,
            linear: page,
            mask,
        };
    }

    /// Forgets all, or all but global pages.
    pub(crate) fn flush(&mut self, global: bool) {
        let entries = &mut self.entries;
        self.used.retain(|slot| {
            let slot = usize::from(*slot) & (ENTRIES - 1);
            let stays = !global && entries[slot].global;
            if !stays {
                entries[slot] = empty(slot);
            }
            stays
        });
    }

    /// Forgets one page, all parts of it if it is a large one.
    pub(crate) fn flush_page(&mut self, linear: u64) {
        let entries = &mut self.entries;
        self.used.retain(|slot| {
            let slot = usize::from(*slot) & (ENTRIES - 1);
            let entry = &mut entries[slot];
            let stays = (entry.linear ^ linear) & entry.mask != 0;
            if !stays {
                *entry = empty(slot);
            }
            stays
        });
    }

    /// Lets no write pass to a physical page, so that the slow path sees it.
    pub(crate) fn protect(&mut self, physical: u64) {
        for slot in &self.used {
            let slot = usize::from(*slot) & (ENTRIES - 1);
            if self.entries[slot].physical == physical {
                self.entries[slot].write = nowhere(slot);
            }
        }
    }

    /// The same for all pages.
    pub(crate) fn protect_all(&mut self) {
        for slot in &self.used {
            let slot = usize::from(*slot) & (ENTRIES - 1);
            self.entries[slot].write = nowhere(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_put_in_is_found() {
        let mut tlb = Tlb::new();
        for linear in [0, 0x1000, 0x40_0000, u64::MAX - 4095] {
            assert_eq!(tlb.find(linear, 1, Access::Read), None);
        }
        let rights = Rights {
            read: true,
            ..Rights::default()
        };
        tlb.put(0x5000, 0x7000_0000, 0x9000, !0xfff, rights);
        assert_eq!(tlb.find(0x5008, 8, Access::Read), Some(0x7000_0008));
        assert_eq!(tlb.find(0x5ff8, 8, Access::Read), Some(0x7000_0ff8));
        assert_eq!(tlb.find(0x5ff9, 8, Access::Read), None);
        assert_eq!(tlb.find(0x5008, 8, Access::Write), None);
        assert_eq!(tlb.find(0x4fff, 2, Access::Read), None);
        tlb.flush(true);
        assert_eq!(tlb.find(0x5008, 8, Access::Read), None);
    }

    #[test]
    fn global_pages_stay() {
        let mut tlb = Tlb::new();
        let rights = Rights {
            read: true,
            write: true,
            global: true,
            execute: false,
        };
        tlb.put(0x5000, 0x7000_0000, 0x9000, !0xfff, rights);
        tlb.flush(false);
        assert!(tlb.find(0x5000, 1, Access::Write).is_some());
        tlb.protect(0x9000);
        assert!(tlb.find(0x5000, 1, Access::Write).is_none());
        tlb.flush_page(0x5000);
        assert!(tlb.find(0x5000, 1, Access::Read).is_none());
    }
}
