//! Descriptors (Intel SDM volume 3, 3.4.5 and 3.5).

use crate::fault::{self, Step};
use crate::memory::Memory;
use crate::state::{CpuState, Segment, attr};
use crate::word::{low8, low16, low32};

/// The eight bytes of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor(pub(crate) u64);

/// Type of a system descriptor.
pub(crate) mod kind {
    pub(crate) const TSS16: u8 = 1;
    pub(crate) const LDT: u8 = 2;
    pub(crate) const BUSY_TSS16: u8 = 3;
    pub(crate) const CALL16: u8 = 4;
    pub(crate) const TASK_GATE: u8 = 5;
    pub(crate) const TSS: u8 = 9;
    pub(crate) const BUSY_TSS: u8 = 11;
    pub(crate) const CALL: u8 = 12;
}

impl Descriptor {
    /// Bits 40 to 55 without the limit's upper bits.
    pub(crate) fn attributes(self) -> u16 {
        low16(self.0 >> 40) & 0xf0ff
    }

    /// Whether all of `mask` is on.
    pub(crate) fn is(self, mask: u16) -> bool {
        self.attributes() & mask == mask
    }

    /// Type, without the S bit.
    pub(crate) fn kind(self) -> u8 {
        low8(self.0 >> 40) & 15
    }

    /// Whether it is a system descriptor.
    pub(crate) fn system(self) -> bool {
        !self.is(attr::S)
    }

    /// Privilege level.
    pub(crate) fn dpl(self) -> u8 {
        low8(self.0 >> 45) & 3
    }

    /// Whether it is present.
    pub(crate) fn present(self) -> bool {
        self.is(attr::PRESENT)
    }

    /// Base.
    pub(crate) fn base(self) -> u64 {
        self.0 >> 16 & 0xff_ffff | self.0 >> 32 & 0xff00_0000
    }

    /// Limit in bytes.
    pub(crate) fn limit(self) -> u32 {
        let raw = low32(self.0 & 0xffff | self.0 >> 32 & 0xf_0000);
        if self.is(attr::G) {
            raw << 12 | 0xfff
        } else {
            raw
        }
    }

    /// Code that may be read.
    pub(crate) fn readable(self) -> bool {
        !self.is(attr::CODE) || self.is(attr::RW)
    }

    /// As the hidden part of a segment register.
    pub(crate) fn segment(self, selector: u16) -> Segment {
        Segment {
            selector,
            attributes: self.attributes(),
            limit: self.limit(),
            base: self.base(),
            unchecked: false,
        }
    }

    /// Offset of a gate's target.
    pub(crate) fn gate_offset(self) -> u64 {
        self.0 & 0xffff | self.0 >> 32 & 0xffff_0000
    }

    /// Selector of a gate's target.
    pub(crate) fn gate_selector(self) -> u16 {
        low16(self.0 >> 16)
    }
}

/// Whether a selector names nothing.
pub(crate) fn null(selector: u16) -> bool {
    selector & 0xfffc == 0
}

/// Reads a descriptor of GDT or LDT; gives its linear address too.
///
/// # Errors
/// `vector` with the selector: it lies beyond the table.
pub(crate) fn fetch<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
    vector: u8,
) -> Step<(u64, Descriptor)> {
    let (base, limit) = if selector & 4 == 0 {
        (cpu.gdt.base, u32::from(cpu.gdt.limit))
    } else if cpu.ldt.is(attr::PRESENT) && !null(cpu.ldt.selector) {
        (cpu.ldt.base, cpu.ldt.limit)
    } else {
        return Err(cpu.raise(vector, selector & 0xfffc));
    };
    if u32::from(selector | 7) > limit {
        return Err(cpu.raise(vector, selector & 0xfffc));
    }
    let address = base.wrapping_add(u64::from(selector & !7));
    let raw = m.read_system::<u64>(cpu, address)?;
    Ok((address, Descriptor(raw)))
}

/// Upper half of a 16-byte system descriptor in long mode, added to its base.
///
/// # Errors
/// `vector` with the selector: it lies beyond the table.
pub(crate) fn fetch_upper<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
    address: u64,
    vector: u8,
) -> Step<u64> {
    let limit = if selector & 4 == 0 {
        u32::from(cpu.gdt.limit)
    } else {
        cpu.ldt.limit
    };
    if u32::from(selector & !7) + 15 > limit {
        return Err(cpu.raise(vector, selector & 0xfffc));
    }
    let upper = m.read_system::<u64>(cpu, address.wrapping_add(8))?;
    if upper >> 40 & 0x1f != 0 {
        return Err(cpu.raise(vector, selector & 0xfffc));
    }
    Ok(upper << 32)
}

/// Marks a descriptor as accessed.
///
/// # Errors
/// The table cannot be written.
pub(crate) fn mark_accessed<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    address: u64,
    descriptor: &mut Descriptor,
) -> Step {
    if !descriptor.is(attr::ACCESSED) {
        descriptor.0 |= 1 << 40;
        m.write_system(cpu, address.wrapping_add(5), low8(descriptor.0 >> 40))?;
    }
    Ok(())
}

/// Checks what becomes a stack segment at privilege level `cpl`.
///
/// # Errors
/// `vector` (#GP or #TS) or #SS with the selector.
pub(crate) fn check_stack<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
    cpl: u8,
    vector: u8,
) -> Step<Segment> {
    let code = selector & 0xfffc;
    if null(selector) {
        return Err(cpu.raise(vector, code));
    }
    let (address, mut descriptor) = fetch(cpu, m, selector, vector)?;
    let writable = !descriptor.system() && !descriptor.is(attr::CODE) && descriptor.is(attr::RW);
    if low8(u64::from(selector)) & 3 != cpl || !writable || descriptor.dpl() != cpl {
        return Err(cpu.raise(vector, code));
    }
    if !descriptor.present() {
        return Err(cpu.raise(fault::SS, code));
    }
    mark_accessed(cpu, m, address, &mut descriptor)?;
    Ok(descriptor.segment(selector))
}
