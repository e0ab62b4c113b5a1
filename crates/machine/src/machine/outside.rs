//! A machine from outside: accesses as a processor would make them, interrupt lines, time moved by hand.

use super::Machine;
use crate::core::{Core, Watch};

impl Machine {
    /// Reads a port as a processor would; with an index, that is written to the port first, and the next port read.
    pub fn port(&self, port: u16, bytes: usize, index: Option<u8>) -> u32 {
        self.with(|core| {
            let Some(index) = index else {
                return core.port_read(port, bytes);
            };
            core.port_write(port, 1, u32::from(index));
            core.port_read(port.wrapping_add(1), bytes)
        })
    }

    /// Writes to a port as a processor would.
    pub fn set_port(&self, port: u16, bytes: usize, value: u32) {
        self.with(|core| core.port_write(port, bytes, value));
    }

    /// Reads up to eight bytes of memory or device registers, as the first processor would.
    pub fn load(&self, address: u64, bytes: usize) -> u64 {
        self.with(|core| core.memory_read(0, address, bytes))
    }

    /// Writes there.
    pub fn store(&self, address: u64, bytes: usize, value: u64) {
        self.with(|core| core.memory_write(0, address, bytes, value));
    }

    /// Calls `watch` with every change of an input of the I/O APIC from now on: its number and its level. The call comes
    /// under the machine lock.
    pub fn watch_interrupts(&self, watch: Watch) {
        self.with(|core| core.watch = Some(watch));
    }

    /// Whether guest time moves only by [`Machine::step_time`].
    pub fn time_by_hand(&self) -> bool {
        self.shared.accel.time_by_hand()
    }

    /// Guest time in nanoseconds.
    pub fn guest_time(&self) -> u64 {
        self.shared.clock.now()
    }

    /// Moves guest time on by nanoseconds, or to when the next device is due; what is due on the way happens in its order.
    /// Gives the time then; `None` when nothing is due ever.
    pub fn step_time(&self, by: Option<u64>) -> Option<u64> {
        let clock = &self.shared.clock;
        let due = || self.shared.peek(Core::deadline);
        let end = match by {
            Some(by) => clock.now().saturating_add(by),
            None => due()?.max(clock.now()),
        };
        loop {
            let now = clock.now();
            // What stays due after its tick does not hold time up.
            let next = due().filter(|at| (now + 1..end).contains(at));
            clock.advance(next.unwrap_or(end).saturating_sub(now));
            self.with(Core::tick);
            if next.is_none() {
                return Some(clock.now());
            }
        }
    }
}
