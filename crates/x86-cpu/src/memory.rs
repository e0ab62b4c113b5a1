//! What an instruction needs from outside the processor.

use crate::fault::Step;
use crate::state::CpuState;
use crate::word::{Unit, Word};

/// What to forget of translated addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Everything, global pages too.
    All,
    /// All but global pages.
    NotGlobal,
    /// One linear address, global or not.
    Page(u64),
}

/// Memory by linear address, ports, time: what `exec` is generic over.
///
/// Addresses are linear: segmentation is done. An implementation with paging translates with the state's control
/// registers, privilege level and AC flag; on a fault it calls [`CpuState::raise`] and returns its value. An access
/// that fails must have changed nothing. Reads and writes of up to 8 bytes that are aligned are single accesses
/// to other processors; others may be torn.
pub trait Memory: Sized + 'static {
    /// Reads.
    ///
    /// # Errors
    /// The address faults.
    fn read<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T>;

    /// Writes.
    ///
    /// # Errors
    /// The address faults; nothing was written, not even part before a page's end.
    fn write<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64, value: T) -> Step;

    /// Reads what will be written back: faults as a write would. A write of the same width to the same address that
    /// follows at once cannot fail.
    ///
    /// # Errors
    /// The address faults for writing.
    fn read_to_write<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T>;

    /// Checks that `bytes` can be written.
    ///
    /// # Errors
    /// The address faults for writing.
    fn check_write(&mut self, cpu: &mut CpuState, linear: u64, bytes: usize) -> Step;

    /// Replaces a value by `change` of it in one atomic step; gives the old value. `change` may be called again when
    /// another processor was faster, so it must not have effects of its own.
    ///
    /// # Errors
    /// The address faults for writing.
    fn update<W: Word>(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        change: impl FnMut(u64) -> u64,
    ) -> Step<u64>;

    /// CMPXCHG16B: writes `new` if the 16 bytes are `expected`, in one atomic step; gives the old value. The address is
    /// a multiple of 16.
    ///
    /// # Errors
    /// The address faults for writing.
    fn exchange_16(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        expected: u128,
        new: u128,
    ) -> Step<u128>;

    /// Reads as the processor itself (descriptor tables, task state), whatever the privilege level.
    ///
    /// # Errors
    /// The address faults.
    fn read_system<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T>;

    /// Writes as the processor itself.
    ///
    /// # Errors
    /// The address faults.
    fn write_system<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64, value: T) -> Step;

    /// Forgets translated addresses.
    fn flush(&mut self, cpu: &mut CpuState, what: Flush);

    /// The mode changed: privilege level, paging, AC under SMAP, PKRU.
    fn mode_changed(&mut self, cpu: &mut CpuState);

    /// Reads a port; the permission is checked.
    fn port_in(&mut self, port: u16, bytes: usize) -> u32;

    /// Writes a port; the permission is checked.
    fn port_out(&mut self, port: u16, bytes: usize, value: u32);

    /// Time stamp counter without the guest's offset.
    fn time_stamp(&mut self) -> u64;

    /// Reads a model-specific register that the processor core does not have itself; `None` raises #GP.
    fn read_msr(&mut self, cpu: &mut CpuState, number: u32) -> Option<u64>;

    /// Writes such a register; `None` raises #GP.
    fn write_msr(&mut self, cpu: &mut CpuState, number: u32, value: u64) -> Option<()>;

    /// Task priority, bits 0 to 3 (CR8).
    fn task_priority(&mut self) -> u64;

    /// Sets the task priority.
    fn set_task_priority(&mut self, value: u64);

    /// 64 random bits.
    fn random(&mut self) -> u64;

    /// `rep stos` may fill at once: writes `count` units of the low `bytes` of `value` upwards from `linear` without
    /// crossing a page; gives how many it wrote, zero if this address is not plain memory. The default does nothing.
    fn fill(
        &mut self,
        _cpu: &mut CpuState,
        _linear: u64,
        _value: u64,
        _bytes: usize,
        _count: u64,
    ) -> u64 {
        0
    }

    /// `rep movs` may copy at once: copies `count` units of `bytes` upwards within one page on either side, as if unit by unit;
    /// gives how many it copied. The default does nothing.
    fn copy(
        &mut self,
        _cpu: &mut CpuState,
        _from: u64,
        _to: u64,
        _bytes: usize,
        _count: u64,
    ) -> u64 {
        0
    }

    /// Whether a long instruction should stop between two of its steps: an interrupt or a kick waits.
    fn wanted(&mut self) -> bool {
        false
    }
}
