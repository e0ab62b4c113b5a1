//! CPUID.

use crate::exec::access::{get, set};
use crate::fault::Step;
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::low32;

/// CPUID.
pub(crate) fn cpuid<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    let leaf = low32(get::<u32>(cpu, 0));
    let subleaf = low32(get::<u32>(cpu, 1));
    let out = crate::cpuid::query(cpu, leaf, subleaf);
    for (register, value) in [0, 3, 1, 2].into_iter().zip(out) {
        set::<u32>(cpu, register, u64::from(value));
    }
    Ok(())
}
