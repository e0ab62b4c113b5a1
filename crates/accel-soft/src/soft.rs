//! Memory, ports and time for the processor: what `x86-cpu` runs on.
#![expect(
    unsafe_code,
    reason = "host addresses from the TLB and the map are read and written by `raw`"
)]

use std::sync::Arc;

use accel_core::{CpuBus, MSR_APIC_BASE, MSR_TSC_DEADLINE};
use x86_cpu::cpuid::{Feature, Leaf, PHYSICAL_BITS};
use x86_cpu::fault::{self, Fault};
use x86_cpu::state::{CpuState, cr};
use x86_cpu::word::{Unit, Word, index, low8, low32};
use x86_cpu::{Flush, Memory, Step, Trap};

use crate::map::{HostPage, Map};
use crate::raw::{self, BusSlot};
use crate::shared::{REMAP, Shared, Signals};
use crate::slow::{Place, note_watch, watched};
use crate::tlb::{Access, Rights, Tlb};
use crate::walk::{Page, Walker, Who};

/// Which set of translations is used.
const SUPERVISOR: usize = 0;
/// Supervisor with AC: SMAP lets it through.
const SUPERVISOR_AC: usize = 1;
const USER: usize = 2;

/// x2APIC mode, in [`MSR_APIC_BASE`].
const APIC_BASE_X2: u64 = 1 << 10;

/// Everything around one processor.
pub(crate) struct Soft {
    pub(crate) bus: BusSlot,
    pub(crate) map: Arc<Map>,
    /// Maps that were replaced within a block, kept to its end.
    former: Vec<Arc<Map>>,
    tlb: [Tlb; 3],
    current: usize,
    /// Physical address lines that exist (A20).
    pub(crate) lines: u64,
    /// Changes whenever code may be found elsewhere.
    pub(crate) stamp: u64,
    /// Physical pages of the running block; writes there stop it. `u64::MAX` while an instruction runs alone.
    pub(crate) running: [u64; 2],
    /// The bus was used: an interrupt may wait.
    pub(crate) used_bus: bool,
    /// Others want something.
    signals: Arc<Signals>,
    shared: Arc<Shared>,
}

/// Switches bits of a page table entry on, if it still is what it was.
pub(crate) fn set_entry_bits(page: HostPage, offset: u64, bytes: u64, entry: u64, bits: u64) {
    let change = |now: u64| if now == entry { now | bits } else { now };
    let at = page.host + (offset & 0xfff);
    if bytes == 4 {
        // SAFETY: the entry is aligned, so it lies in the page, which the map keeps.
        unsafe { raw::update::<u32>(at, change) };
    } else {
        // SAFETY: as above.
        unsafe { raw::update::<u64>(at, change) };
    }
}

impl Soft {
    pub(crate) fn new(shared: Arc<Shared>, signals: Arc<Signals>) -> Self {
        Self {
            bus: BusSlot::default(),
            map: shared.map(),
            former: Vec::new(),
            shared,
            tlb: [Tlb::new(), Tlb::new(), Tlb::new()],
            current: SUPERVISOR,
            lines: u64::MAX,
            stamp: 1,
            running: [u64::MAX; 2],
            used_bus: false,
            signals,
        }
    }

    /// Takes the bus for a run; the runner empties the slot at its end.
    pub(crate) fn take_bus(&mut self, bus: &mut dyn CpuBus) {
        // SAFETY: `SoftVcpu::run`, which borrows the bus, empties the slot before it returns.
        unsafe { self.bus.fill(bus) };
    }

    /// Makes the other processors look before they write to pages with code.
    pub(crate) fn protect_others(&mut self) {
        let (shared, signals) = (Arc::clone(&self.shared), Arc::clone(&self.signals));
        shared.protect_others(&signals, || self.protect_all());
    }

    /// Forgets all translations.
    pub(crate) fn flush_all(&mut self) {
        self.stamp += 1;
        for tlb in &mut self.tlb {
            tlb.flush(true);
        }
    }

    /// Takes the present memory map over, between blocks.
    pub(crate) fn remap(&mut self) {
        self.flush_all();
        self.map = self.shared.map();
        self.former.clear();
    }

    /// After a write to a device, within a block: what the write mapped is seen by the next instruction. Flash that is
    /// asked for its status answers where it was read before.
    pub(crate) fn remap_if_asked(&mut self) {
        if self.signals.get() & REMAP != 0 {
            self.flush_all();
            let former = std::mem::replace(&mut self.map, self.shared.map());
            self.former.push(former);
        }
    }

    /// Lets writes to pages with code come by the slow path again.
    pub(crate) fn protect_all(&mut self) {
        for tlb in &mut self.tlb {
            tlb.protect_all();
        }
    }

    /// The same for one physical page.
    pub(crate) fn protect(&mut self, physical: u64) {
        for tlb in &mut self.tlb {
            tlb.protect(physical & !0xfff);
        }
    }

    fn set_of(who: Who) -> usize {
        match who {
            Who { user: true, .. } => USER,
            Who { access: true, .. } => SUPERVISOR_AC,
            _ => SUPERVISOR,
        }
    }

    /// Translates, and keeps the translation if it leads to memory.
    fn translate(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        access: Access,
        who: Who,
    ) -> Step<(Page, Option<HostPage>)> {
        if cpu.long_mode() && !cpu.canonical(linear) {
            let vector = fault::GP;
            return Err(cpu.raise_fault(Fault {
                vector,
                non_canonical: true,
                ..Fault::default()
            }));
        }
        let walker = Walker {
            map: &self.map,
            lines: self.lines,
        };
        let page = match walker.translate(cpu, linear, access, who) {
            Ok(page) => page,
            Err(code) => return Err(cpu.page_fault(linear, code)),
        };
        let host = self.map.find(page.physical);
        if let Some(found) = host {
            let marked = self.mark_of(found) & 1 != 0;
            let plain = !watched(cpu, linear);
            let rights = Rights {
                read: page.rights.read && plain,
                write: page.rights.write && !found.read_only && !marked && plain,
                ..page.rights
            };
            self.tlb[Self::set_of(who)].put(linear, found.host, page.physical, page.mask, rights);
        }
        Ok((page, host))
    }

    /// Physical address of code.
    pub(crate) fn code_address(&mut self, cpu: &mut CpuState, linear: u64) -> Step<u64> {
        if let Some(physical) = self.tlb[self.current].code(linear) {
            return Ok(physical);
        }
        let who = Who::code(cpu);
        self.translate(cpu, linear, Access::Execute, who)
            .map(|(page, _)| page.physical)
    }

    fn mark_of(&self, page: HostPage) -> u32 {
        self.map
            .slot(page.slot)
            .map_or(0, |slot| slot.ram.code().get(page.page))
    }

    /// Where an access within one page goes; a write to a page with code makes that code stale.
    pub(crate) fn place(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        access: Access,
        who: Who,
    ) -> Step<Place> {
        let (page, host) = self.translate(cpu, linear, access, who)?;
        match host {
            Some(found) if access == Access::Write && found.read_only => {
                Ok(Place::Bus(page.physical))
            }
            Some(found) => {
                if access == Access::Write && self.mark_of(found) & 1 != 0 {
                    if self.running.contains(&(page.physical & !0xfff)) {
                        return Err(Trap::Alone);
                    }
                    if let Some(slot) = self.map.slot(found.slot) {
                        slot.ram.code().written(found.page);
                    }
                }
                Ok(Place::Host(found.host + (page.physical & 0xfff)))
            }
            None => Ok(Place::Bus(page.physical)),
        }
    }

    fn read_as<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64, who: Who) -> Step<T> {
        match self.tlb[Self::set_of(who)].find(linear, T::BYTES, Access::Read) {
            // SAFETY: the TLB only has pages of the map that is kept, and the access lies in one.
            Some(host) => Ok(unsafe { raw::read(host) }),
            None => self.read_slow(cpu, linear, Access::Read, who),
        }
    }
}

impl Memory for Soft {
    #[inline(always)]
    fn read<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T> {
        match self.tlb[self.current % 3].find(linear, T::BYTES, Access::Read) {
            // SAFETY: the TLB only has pages of the map that is kept, and the access lies in one.
            Some(host) => Ok(unsafe { raw::read(host) }),
            None => {
                let who = Who::code(cpu);
                self.read_slow(cpu, linear, Access::Read, who)
            }
        }
    }

    #[inline(always)]
    fn write<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64, value: T) -> Step {
        match self.tlb[self.current % 3].find(linear, T::BYTES, Access::Write) {
            Some(host) => {
                // SAFETY: as for reads.
                unsafe { raw::write(host, value) };
                Ok(())
            }
            None => {
                let who = Who::code(cpu);
                self.write_slow(cpu, linear, value, who)
            }
        }
    }

    #[inline(always)]
    fn read_to_write<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T> {
        match self.tlb[self.current % 3].find(linear, T::BYTES, Access::Write) {
            // SAFETY: as for reads.
            Some(host) => Ok(unsafe { raw::read(host) }),
            None => {
                let who = Who::code(cpu);
                self.read_slow(cpu, linear, Access::Write, who)
            }
        }
    }

    fn check_write(&mut self, cpu: &mut CpuState, linear: u64, bytes: usize) -> Step {
        let who = Who::code(cpu);
        let last = linear.wrapping_add(bytes as u64 - 1);
        let last = if cpu.long_mode() {
            last
        } else {
            last & 0xffff_ffff
        };
        if self.tlb[self.current % 3]
            .find(linear, 1, Access::Write)
            .is_none()
        {
            self.place(cpu, linear, Access::Write, who)?;
        }
        if (linear ^ last) & !0xfff != 0
            && self.tlb[self.current % 3]
                .find(last, 1, Access::Write)
                .is_none()
        {
            self.place(cpu, last & !0xfff, Access::Write, who)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn update<W: Word>(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        change: impl FnMut(u64) -> u64,
    ) -> Step<u64> {
        match self.tlb[self.current % 3].find(linear, W::BYTES, Access::Write) {
            // SAFETY: as for reads.
            Some(host) => Ok(unsafe { raw::update::<W>(host, change) }),
            None => self.update_slow::<W>(cpu, linear, change),
        }
    }

    fn exchange_16(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        expected: u128,
        new: u128,
    ) -> Step<u128> {
        let who = Who::code(cpu);
        let host = match self.tlb[self.current % 3].find(linear, 16, Access::Write) {
            Some(host) => host,
            None => match self.place(cpu, linear, Access::Write, who)? {
                Place::Host(host) => {
                    note_watch(cpu, linear, 16, Access::Write);
                    host
                }
                Place::Bus(_) => {
                    let old = self.read_slow::<u128>(cpu, linear, Access::Write, who)?;
                    let value = if old == expected { new } else { old };
                    self.write_slow(cpu, linear, value, who)?;
                    return Ok(old);
                }
            },
        };
        // SAFETY: the bytes lie in one page of the map that is kept; the caller checked the alignment.
        Ok(unsafe { raw::exchange_pair(host, expected, new) })
    }

    fn read_system<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T> {
        self.read_as(cpu, linear, Who::SYSTEM)
    }

    fn write_system<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64, value: T) -> Step {
        match self.tlb[SUPERVISOR].find(linear, T::BYTES, Access::Write) {
            Some(host) => {
                // SAFETY: as for reads.
                unsafe { raw::write(host, value) };
                Ok(())
            }
            None => self.write_slow(cpu, linear, value, Who::SYSTEM),
        }
    }

    fn flush(&mut self, _: &mut CpuState, what: Flush) {
        self.stamp += 1;
        for tlb in &mut self.tlb {
            match what {
                Flush::All => tlb.flush(true),
                Flush::NotGlobal => tlb.flush(false),
                Flush::Page(linear) => tlb.flush_page(linear),
            }
        }
    }

    fn mode_changed(&mut self, cpu: &mut CpuState) {
        self.current = Self::set_of(Who::code(cpu));
        if cpu.cr4 & (cr::PKE | cr::PKS) != 0 {
            self.flush_all();
        }
    }

    fn port_in(&mut self, port: u16, bytes: usize) -> u32 {
        self.used_bus = true;
        self.bus
            .get()
            .map_or(u32::MAX, |bus| bus.io_read(port, bytes))
    }

    fn port_out(&mut self, port: u16, bytes: usize, value: u32) {
        self.used_bus = true;
        if let Some(bus) = self.bus.get() {
            bus.io_write(port, bytes, value);
        }
    }

    fn time_stamp(&mut self) -> u64 {
        self.bus.get().map_or(0, |bus| bus.time())
    }

    fn read_msr(&mut self, cpu: &mut CpuState, number: u32) -> Option<u64> {
        let value = self.bus.get()?.msr_read(number)?;
        let armed = number == MSR_TSC_DEADLINE && value != 0;
        Some(if armed {
            value.wrapping_add(cpu.msr.tsc_offset)
        } else {
            value
        })
    }

    fn write_msr(&mut self, cpu: &mut CpuState, number: u32, value: u64) -> Option<()> {
        self.used_bus = true;
        let x2apic = cpu.features.has(Feature(Leaf::L1Ecx, 21));
        let beyond = value >> PHYSICAL_BITS != 0 || value & APIC_BASE_X2 != 0 && !x2apic;
        if number == MSR_APIC_BASE && beyond {
            return None;
        }
        let value = match number {
            // A deadline that has passed already is still one: it must not become "none".
            MSR_TSC_DEADLINE if value != 0 => value.saturating_sub(cpu.msr.tsc_offset).max(1),
            _ => value,
        };
        if !self.bus.get()?.msr_write(number, value) {
            return None;
        }
        if number == MSR_APIC_BASE {
            cpu.apic_off = value & 0x800 == 0;
        }
        Some(())
    }

    fn task_priority(&mut self) -> u64 {
        self.bus
            .get()
            .map_or(0, |bus| u64::from(bus.task_priority()))
    }

    fn set_task_priority(&mut self, value: u64) {
        self.used_bus = true;
        if let Some(bus) = self.bus.get() {
            bus.set_task_priority(low8(value));
        }
    }

    fn random(&mut self) -> u64 {
        getrandom::u64().unwrap_or_else(|_| self.time_stamp().wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn fill(&mut self, _: &mut CpuState, linear: u64, value: u64, bytes: usize, count: u64) -> u64 {
        let room = (4096 - (linear & 0xfff)) / bytes as u64;
        let count = count.min(room);
        let length = index(count) * bytes;
        let Some(host) = self.tlb[self.current % 3].find(linear, length.max(1), Access::Write)
        else {
            return 0;
        };
        let raw = value.to_le_bytes();
        if raw[..bytes].iter().all(|byte| *byte == raw[0]) {
            // SAFETY: the bytes lie in one page of the map that is kept.
            unsafe { raw::fill(host, low8(value), length) };
            return count;
        }
        for at in (host..host + length as u64).step_by(bytes) {
            match bytes {
                // SAFETY: as above.
                2 => unsafe { raw::write(at, u16::from_bytes(&raw[..2])) },
                // SAFETY: as above.
                4 => unsafe { raw::write(at, low32(value)) },
                // SAFETY: as above.
                _ => unsafe { raw::write(at, value) },
            }
        }
        count
    }

    fn copy(&mut self, _: &mut CpuState, from: u64, to: u64, bytes: usize, count: u64) -> u64 {
        let room = |linear: u64| (4096 - (linear & 0xfff)) / bytes as u64;
        let count = count.min(room(from)).min(room(to));
        let length = index(count) * bytes;
        let tlb = &self.tlb[self.current % 3];
        let Some(source) = tlb.find(from, length.max(1), Access::Read) else {
            return 0;
        };
        let Some(target) = tlb.find(to, length.max(1), Access::Write) else {
            return 0;
        };
        // A target that begins within the source repeats what was just written: only unit by unit is right.
        if target.wrapping_sub(source) < length as u64 && target != source {
            return 0;
        }
        // SAFETY: both lie in pages of the map that is kept.
        unsafe { raw::copy(source, target, length) };
        count
    }

    fn wanted(&mut self) -> bool {
        self.signals.any()
    }
}
