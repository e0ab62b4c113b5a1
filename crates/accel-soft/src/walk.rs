//! Page tables (Intel SDM volume 3, chapter 4): all formats, exact error codes, accessed and dirty bits.

use accel_core::Slot;
use x86_cpu::CpuState;
use x86_cpu::cpuid::PHYSICAL_BITS;
use x86_cpu::flags;
use x86_cpu::state::{cr, efer};

use crate::map::Map;
use crate::tlb::{Access, Rights};

/// Entry bits.
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;

/// Error code bits.
mod code {
    pub(super) const PROTECTION: u16 = 1;
    pub(super) const WRITE: u16 = 1 << 1;
    pub(super) const USER: u16 = 1 << 2;
    pub(super) const RESERVED: u16 = 1 << 3;
    pub(super) const FETCH: u16 = 1 << 4;
    pub(super) const KEY: u16 = 1 << 5;
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who {
    /// Privilege level 3.
    pub(crate) user: bool,
    /// SMAP lets a supervisor through (AC is on, and it is not the processor itself).
    pub(crate) access: bool,
}

impl Who {
    /// The running code.
    pub(crate) fn code(cpu: &CpuState) -> Self {
        Self {
            user: cpu.cpl == 3,
            access: cpu.flags.has(flags::AC),
        }
    }

    /// The processor itself.
    pub(crate) const SYSTEM: Self = Self {
        user: false,
        access: false,
    };
}

/// A translated page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// Physical address of what was asked for.
    pub(crate) physical: u64,
    /// What else may be done with it.
    pub(crate) rights: Rights,
    /// Bits of a linear address that name the page.
    pub(crate) mask: u64,
}

/// Page tables in guest memory.
pub(crate) struct Walker<'a> {
    pub(crate) map: &'a Map,
    /// Physical address lines that exist (A20).
    pub(crate) lines: u64,
}

/// Format of the tables.
struct Format {
    levels: u32,
    entry_bytes: u64,
    /// Index bits of a level.
    bits: u32,
    /// Physical bits that must be zero in an entry.
    reserved: u64,
}

impl Format {
    fn of(cpu: &CpuState) -> Self {
        let beyond = (1u64 << 52) - (1 << PHYSICAL_BITS);
        let execute = if cpu.efer & efer::NXE == 0 {
            NO_EXECUTE
        } else {
            0
        };
        if cpu.efer & efer::LMA != 0 {
            let levels = if cpu.cr4 & cr::LA57 == 0 { 4 } else { 5 };
            Self {
                levels,
                entry_bytes: 8,
                bits: 9,
                reserved: beyond | execute,
            }
        } else if cpu.cr4 & cr::PAE != 0 {
            let reserved = beyond | execute | (NO_EXECUTE - (1 << 52));
            Self {
                levels: 3,
                entry_bytes: 8,
                bits: 9,
                reserved,
            }
        } else {
            Self {
                levels: 2,
                entry_bytes: 4,
                bits: 10,
                reserved: 0,
            }
        }
    }

    /// The bits of an entry that must be zero at a level, given the entry.
    fn reserved_at(&self, cpu: &CpuState, level: u32, entry: u64) -> u64 {
        let large = entry & LARGE != 0;
        let mut reserved = self.reserved;
        match (self.entry_bytes, level) {
            (4, 2) if large && cpu.cr4 & cr::PSE != 0 => {
                reserved |= 1 << 21;
            }
            (4, _) => {}
            // PAE's four top entries have hardly any bits.
            (_, 3) if self.levels == 3 => reserved |= 0x1e6 | NO_EXECUTE,
            (_, 2) if large => reserved |= 0x1f_e000,
            (_, 3)
                if large
                    && cpu
                        .features
                        .has(x86_cpu::cpuid::Feature(x86_cpu::cpuid::Leaf::X1Edx, 26)) =>
            {
                reserved |= 0x3fff_e000;
            }
            (_, 3..) => reserved |= LARGE,
            _ => {}
        }
        reserved
    }
}

impl Walker<'_> {
    fn slot(&self, physical: u64) -> Option<(&Slot, u64)> {
        let page = self.map.find(physical & self.lines)?;
        let slot = self.map.slot(page.slot)?;
        Some((slot, slot.offset + ((physical & self.lines) - slot.start)))
    }

    /// Reads an entry; what is no memory reads as not present.
    fn entry(&self, physical: u64, bytes: u64) -> u64 {
        self.slot(physical)
            .and_then(|(slot, offset)| slot.ram.read_uint(offset, x86_cpu::word::index(bytes)).ok())
            .unwrap_or(0)
    }

    /// Switches bits of an entry on, unless it has changed meanwhile.
    fn mark(&self, physical: u64, bytes: u64, entry: u64, bits: u64) {
        if entry & bits == bits {
            return;
        }
        if let Some(page) = self.map.find(physical & self.lines)
            && !page.read_only
        {
            crate::soft::set_entry_bits(page, physical & 0xfff, bytes, entry, bits);
            if let Some(slot) = self.map.slot(page.slot) {
                slot.ram.code().written(page.page);
            }
        }
    }

    /// Translates.
    ///
    /// # Errors
    /// The error code of the page fault.
    pub(crate) fn translate(
        &self,
        cpu: &CpuState,
        linear: u64,
        access: Access,
        who: Who,
    ) -> Result<Page, u16> {
        if cpu.cr0 & cr::PG == 0 {
            let rights = Rights {
                read: true,
                write: true,
                execute: true,
                global: false,
            };
            return Ok(Page {
                physical: linear & 0xffff_ffff & self.lines,
                rights,
                mask: !0xfff,
            });
        }
        let format = Format::of(cpu);
        let request = request_code(cpu, access, who);
        let mut table = cpu.cr3
            & if cpu.efer & efer::LMA != 0 {
                0x000f_ffff_ffff_f000
            } else if format.levels == 3 {
                0xffff_ffe0
            } else {
                0xffff_f000
            };
        let mut both = WRITABLE | USER;
        let mut no_execute = 0;
        let mut path = [(0, 0); 5];
        let mut level = format.levels;
        loop {
            let shift = 12 + (level - 1) * format.bits;
            let top = format.levels == 3 && level == 3;
            let index = linear >> shift & if top { 3 } else { (1 << format.bits) - 1 };
            let at = table + index * format.entry_bytes;
            let entry = self.entry(at, format.entry_bytes);
            if entry & PRESENT == 0 {
                return Err(request);
            }
            if entry & format.reserved_at(cpu, level, entry) != 0 {
                return Err(request | code::PROTECTION | code::RESERVED);
            }
            if !top {
                both &= entry;
                no_execute |= entry & NO_EXECUTE;
            }
            path[x86_cpu::word::index(u64::from(level - 1))] = (at, entry);
            let pse = format.entry_bytes == 8 || cpu.cr4 & cr::PSE != 0;
            let large = level > 1 && entry & LARGE != 0 && pse && !top;
            if level == 1 || large {
                let found = Leaf {
                    entry,
                    both,
                    no_execute: no_execute != 0,
                    shift,
                };
                return self.leaf(cpu, linear, access, who, &format, &path, level, &found);
            }
            table = entry
                & if format.entry_bytes == 4 {
                    0xffff_f000
                } else {
                    0x000f_ffff_ffff_f000
                };
            level -= 1;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the second half of one walk")]
    fn leaf(
        &self,
        cpu: &CpuState,
        linear: u64,
        access: Access,
        who: Who,
        format: &Format,
        path: &[(u64, u64); 5],
        level: u32,
        found: &Leaf,
    ) -> Result<Page, u16> {
        let denied = request_code(cpu, access, who) | code::PROTECTION;
        let mut rights = found.rights(cpu, who);
        let allowed = match access {
            Access::Read => rights.read,
            Access::Write => rights.write,
            Access::Execute => rights.execute,
        };
        if !allowed {
            return Err(denied);
        }
        let (read, write) = keys(cpu, found, who);
        rights.read &= read;
        rights.write &= write;
        if access == Access::Read && !read || access == Access::Write && !write {
            return Err(denied | code::KEY);
        }
        for (n, (at, entry)) in (1..)
            .zip(path)
            .skip(x86_cpu::word::index(u64::from(level - 1)))
        {
            if n > format.levels || format.levels == 3 && n == 3 {
                break;
            }
            let dirty = if n == level && access == Access::Write {
                DIRTY
            } else {
                0
            };
            self.mark(*at, format.entry_bytes, *entry, ACCESSED | dirty);
        }
        if found.entry & DIRTY == 0 && access != Access::Write {
            rights.write = false;
        }
        rights.global = found.entry & GLOBAL != 0 && cpu.cr4 & cr::PGE != 0;
        let offset = (1 << found.shift) - 1;
        let base = if format.entry_bytes == 4 && level == 2 {
            found.entry & 0xffc0_0000 | (found.entry & 0x1f_e000) << 19
        } else {
            found.entry & 0x000f_ffff_ffff_f000 & !offset
        };
        let physical = (base | linear & offset) & self.lines;
        Ok(Page {
            physical,
            rights,
            mask: !offset,
        })
    }
}

struct Leaf {
    entry: u64,
    /// Writable and user bits of all levels together.
    both: u64,
    no_execute: bool,
    shift: u32,
}

impl Leaf {
    fn rights(&self, cpu: &CpuState, who: Who) -> Rights {
        let user_page = self.both & USER != 0;
        let writable = self.both & WRITABLE != 0;
        if who.user {
            return Rights {
                read: user_page,
                write: user_page && writable,
                execute: user_page && !self.no_execute,
                global: false,
            };
        }
        let data = !user_page || cpu.cr4 & cr::SMAP == 0 || who.access;
        Rights {
            read: data,
            write: data && (writable || cpu.cr0 & cr::WP == 0),
            execute: !(self.no_execute || user_page && cpu.cr4 & cr::SMEP != 0),
            global: false,
        }
    }
}

/// What the protection key lets pass: reads, writes.
fn keys(cpu: &CpuState, leaf: &Leaf, who: Who) -> (bool, bool) {
    let user_page = leaf.both & USER != 0;
    let (on, keys) = if user_page {
        (cpu.cr4 & cr::PKE != 0, u64::from(cpu.pkru))
    } else {
        (cpu.cr4 & cr::PKS != 0, cpu.msr.pkrs)
    };
    if !on || cpu.efer & efer::LMA == 0 {
        return (true, true);
    }
    let key = leaf.entry >> 59 & 15;
    let bits = keys >> (2 * key);
    let read = bits & 1 == 0;
    let checked = who.user || cpu.cr0 & cr::WP != 0;
    (read, read && (bits & 2 == 0 || !checked))
}

/// The error code bits that the access itself gives.
fn request_code(cpu: &CpuState, access: Access, who: Who) -> u16 {
    let fetch = cpu.cr4 & cr::SMEP != 0 || cpu.cr4 & cr::PAE != 0 && cpu.efer & efer::NXE != 0;
    let kind = match access {
        Access::Read => 0,
        Access::Write => code::WRITE,
        Access::Execute if fetch => code::FETCH,
        Access::Execute => 0,
    };
    kind | if who.user { code::USER } else { 0 }
}
