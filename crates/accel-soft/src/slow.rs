//! Accesses that the TLB does not answer: page crossings, devices, pages with code or breakpoints.
#![expect(
    unsafe_code,
    reason = "host addresses from the map are read and written by `raw`"
)]

use x86_cpu::Step;
use x86_cpu::state::CpuState;
use x86_cpu::word::{Unit, Word, index};

use crate::raw;
use crate::soft::Soft;
use crate::tlb::Access;
use crate::walk::Who;

/// Where a translated access goes.
pub(crate) enum Place {
    Host(u64),
    Bus(u64),
}

/// Largest unit that a device access of `rest` bytes may have.
fn unit(physical: u64, rest: usize) -> usize {
    [8, 4, 2]
        .into_iter()
        .find(|unit| *unit <= rest && physical.is_multiple_of(*unit as u64) || *unit == rest)
        .unwrap_or(1)
}

/// The first byte of the next page.
pub(crate) fn next_page(cpu: &CpuState, linear: u64) -> u64 {
    let next = (linear & !0xfff).wrapping_add(4096);
    if cpu.long_mode() {
        next
    } else {
        next & 0xffff_ffff
    }
}

/// Whether a page has a data breakpoint.
pub(crate) fn watched(cpu: &CpuState, linear: u64) -> bool {
    let control = cpu.debug.control;
    control & 0xff != 0
        && (0..4).any(|n| {
            let on = control >> (2 * n) & 3 != 0;
            on && control >> (16 + 4 * n) & 3 != 0
                && cpu.debug.address[n] & !0xfff == linear & !0xfff
        })
}

/// Notes the data breakpoints that an access to `bytes` from `linear` meets.
pub(crate) fn note_watch(cpu: &mut CpuState, linear: u64, bytes: usize, access: Access) {
    let control = cpu.debug.control;
    if control & 0xff == 0 {
        return;
    }
    for n in 0..4 {
        let kind = control >> (16 + 4 * n) & 3;
        let length = [1, 2, 8, 4][index(control >> (18 + 4 * n) & 3)];
        let start = cpu.debug.address[n] & !(length - 1);
        let kind_meets = kind == 3 || kind == 1 && access == Access::Write;
        let overlap =
            start.wrapping_sub(linear) < bytes as u64 || linear.wrapping_sub(start) < length;
        if control >> (2 * n) & 3 != 0 && kind_meets && overlap {
            cpu.debug_hits |= 1 << n;
        }
    }
}

impl Soft {
    #[inline(never)]
    pub(crate) fn read_slow<T: Unit>(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        access: Access,
        who: Who,
    ) -> Step<T> {
        let mut bytes = [0; 32];
        let first = (4096 - index(linear & 0xfff)).min(T::BYTES);
        let place = self.place(cpu, linear, access, who)?;
        if first < T::BYTES {
            let next = next_page(cpu, linear);
            let other = self.place(cpu, next, access, who)?;
            self.fetch(&place, &mut bytes[..first]);
            self.fetch(&other, &mut bytes[first..T::BYTES]);
        } else {
            self.fetch(&place, &mut bytes[..T::BYTES]);
        }
        note_watch(cpu, linear, T::BYTES, access);
        Ok(T::from_bytes(&bytes[..T::BYTES]))
    }

    #[inline(never)]
    pub(crate) fn write_slow<T: Unit>(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        value: T,
        who: Who,
    ) -> Step {
        let mut bytes = [0; 32];
        value.to_bytes(&mut bytes);
        let first = (4096 - index(linear & 0xfff)).min(T::BYTES);
        let place = self.place(cpu, linear, Access::Write, who)?;
        if first < T::BYTES {
            let next = next_page(cpu, linear);
            let other = self.place(cpu, next, Access::Write, who)?;
            self.put(&place, &bytes[..first]);
            self.put(&other, &bytes[first..T::BYTES]);
        } else {
            self.put(&place, &bytes[..T::BYTES]);
        }
        note_watch(cpu, linear, T::BYTES, Access::Write);
        if self.used_bus {
            self.remap_if_asked();
        }
        Ok(())
    }

    /// Reads from a place, in units that a device knows.
    fn fetch(&mut self, place: &Place, into: &mut [u8]) {
        match *place {
            Place::Host(host) => match into.len() {
                // SAFETY: the place lies in one page of the map that is kept.
                1 => into[0] = unsafe { raw::read::<u8>(host) },
                // SAFETY: as above.
                2 => into.copy_from_slice(&unsafe { raw::read::<u16>(host) }.to_le_bytes()),
                // SAFETY: as above.
                4 => into.copy_from_slice(&unsafe { raw::read::<u32>(host) }.to_le_bytes()),
                // SAFETY: as above.
                8 => into.copy_from_slice(&unsafe { raw::read::<u64>(host) }.to_le_bytes()),
                _ => {
                    for (at, byte) in (host..).zip(into) {
                        // SAFETY: as above.
                        *byte = unsafe { raw::read::<u8>(at) };
                    }
                }
            },
            Place::Bus(physical) => {
                self.used_bus = true;
                let mut done = 0;
                while done < into.len() {
                    let unit = unit(physical + done as u64, into.len() - done);
                    let value = self.bus.get().map_or(u64::MAX, |bus| {
                        bus.memory_read(physical + done as u64, unit)
                    });
                    into[done..done + unit].copy_from_slice(&value.to_le_bytes()[..unit]);
                    done += unit;
                }
            }
        }
    }

    fn put(&mut self, place: &Place, from: &[u8]) {
        match *place {
            Place::Host(host) => match *from {
                // SAFETY: the place lies in one page of the map that is kept.
                [a] => unsafe { raw::write(host, a) },
                // SAFETY: as above.
                [a, b] => unsafe { raw::write(host, u16::from_le_bytes([a, b])) },
                // SAFETY: as above.
                [a, b, c, d] => unsafe { raw::write(host, u32::from_le_bytes([a, b, c, d])) },
                // SAFETY: as above.
                [a, b, c, d, e, f, g, h] => unsafe {
                    raw::write(host, u64::from_le_bytes([a, b, c, d, e, f, g, h]));
                },
                _ => {
                    for (at, byte) in (host..).zip(from) {
                        // SAFETY: as above.
                        unsafe { raw::write(at, *byte) };
                    }
                }
            },
            Place::Bus(physical) => {
                self.used_bus = true;
                let mut done = 0;
                while done < from.len() {
                    let unit = unit(physical + done as u64, from.len() - done);
                    let value = u64::from_bytes(&from[done..done + unit]);
                    if let Some(bus) = self.bus.get() {
                        bus.memory_write(physical + done as u64, unit, value);
                    }
                    done += unit;
                }
            }
        }
    }

    /// Reads code bytes by physical address; what is no memory comes from the bus.
    pub(crate) fn code_bytes(&mut self, physical: u64, into: &mut [u8]) {
        let place = match self.map.find(physical) {
            Some(page) => Place::Host(page.host + (physical & 0xfff)),
            None => Place::Bus(physical),
        };
        self.fetch(&place, into);
    }

    #[inline(never)]
    pub(crate) fn update_slow<W: Word>(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        mut change: impl FnMut(u64) -> u64,
    ) -> Step<u64> {
        let who = Who::code(cpu);
        if linear & 0xfff > 4096 - u64::from(W::BITS / 8) {
            // It crosses a page: no hardware locks that without the bus, and software does not do it.
            let old = self.read_slow::<W>(cpu, linear, Access::Write, who)?.zx();
            self.write_slow(cpu, linear, W::cut(change(old)), who)?;
            return Ok(old);
        }
        match self.place(cpu, linear, Access::Write, who)? {
            Place::Host(host) => {
                note_watch(cpu, linear, W::BYTES, Access::Write);
                // SAFETY: the bytes lie in one page of the map that is kept.
                Ok(unsafe { raw::update::<W>(host, change) })
            }
            Place::Bus(_) => {
                let old = self.read_slow::<W>(cpu, linear, Access::Write, who)?.zx();
                self.write_slow(cpu, linear, W::cut(change(old)), who)?;
                Ok(old)
            }
        }
    }
}
