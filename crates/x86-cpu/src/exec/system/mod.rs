//! Instructions of the system: segments, far transfers, interrupts, control registers, MSRs.

pub(crate) mod control;
pub(crate) mod descriptor;
pub(crate) mod event;
pub(crate) mod far;
pub(crate) mod identify;
pub(crate) mod io;
pub(crate) mod iret;
pub(crate) mod msr;
pub(crate) mod segment;
pub(crate) mod syscall;
pub(crate) mod table;
pub(crate) mod task;

use crate::fault::Step;
use crate::memory::Memory;
use crate::state::CpuState;

/// Sets the privilege level and tells the memory.
pub(crate) fn set_cpl<M: Memory>(cpu: &mut CpuState, m: &mut M, cpl: u8) {
    if cpu.cpl != cpl {
        cpu.cpl = cpl;
        m.mode_changed(cpu);
    }
}

/// #GP(0) unless at privilege level 0.
#[inline]
pub(crate) fn privileged(cpu: &mut CpuState) -> Step {
    if cpu.cpl == 0 { Ok(()) } else { Err(cpu.gp()) }
}
