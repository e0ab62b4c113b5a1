//! Control and status words, environments, whole states.

use super::area;
use super::transfer::status_word;
use super::unit::{self, BUSY, ERROR, EXCEPTIONS, STACK_FAULT, present, ready, settled, summarize};
use crate::exec::access::{self, Access};
use crate::fault::{self, Step};
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::{CpuState, Fpu, cr, reg};

/// Bits of the control word that are kept; bit 6 reads as one.
const CONTROL: u16 = 0x1f3f;

/// What a loaded control word becomes.
pub(crate) fn control_word(value: u16) -> u16 {
    (value & CONTROL) | 0x40
}

/// FLDCW.
pub(crate) fn load_control<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    let value = access::load::<u16, M>(cpu, memory, op)?;
    cpu.fpu.control = control_word(value);
    summarize(cpu);
    Ok(())
}

/// FNSTCW.
pub(crate) fn store_control<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    present(cpu)?;
    let value = cpu.fpu.control;
    access::store(cpu, memory, op, value)
}

/// FNSTSW m16.
pub(crate) fn store_status<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    present(cpu)?;
    let value = status_word(cpu);
    access::store(cpu, memory, op, value)
}

/// FNSTSW AX.
pub(crate) fn status_to_ax<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    present(cpu)?;
    let value = status_word(cpu);
    access::set::<u16>(cpu, crate::word::low8(reg::RAX as u64), value.into());
    Ok(())
}

/// FNCLEX.
pub(crate) fn clear_exceptions<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    present(cpu)?;
    cpu.fpu.status &= !(EXCEPTIONS | STACK_FAULT | ERROR | BUSY);
    Ok(())
}

/// FNINIT.
pub(crate) fn initialize<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    present(cpu)?;
    reset(cpu);
    Ok(())
}

/// The state that FNINIT leaves: the registers keep their bits, but are empty.
fn reset(cpu: &mut CpuState) {
    cpu.fpu = Fpu {
        registers: cpu.fpu.registers,
        ..Fpu::default()
    };
}

/// What only the 8087 and 287 knew: nothing.
pub(crate) fn obsolete<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    present(cpu)
}

/// FNOP.
pub(crate) fn no_operation<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    ready(cpu)?;
    unit::note(cpu, op);
    Ok(())
}

/// FWAIT.
pub(crate) fn wait<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    if cpu.cr0 & (cr::MP | cr::TS) == cr::MP | cr::TS {
        return Err(cpu.raise(fault::NM, 0));
    }
    settled(cpu)
}

/// FNSTENV; masks all exceptions afterwards.
pub(crate) fn store_environment<M: Memory, const BYTES: usize>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    present(cpu)?;
    let image = area::environment(cpu, BYTES);
    let linear = access::linear(cpu, op, BYTES, Access::Write)?;
    memory.check_write(cpu, linear, BYTES)?;
    area::write(cpu, memory, linear, &image)?;
    cpu.fpu.control |= EXCEPTIONS;
    summarize(cpu);
    Ok(())
}

/// FLDENV.
pub(crate) fn load_environment<M: Memory, const BYTES: usize>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    ready(cpu)?;
    let linear = access::linear(cpu, op, BYTES, Access::Read)?;
    let image = area::read(cpu, memory, linear, BYTES)?;
    area::set_environment(cpu, &image);
    Ok(())
}

/// FNSAVE: the environment and all registers; initializes afterwards.
pub(crate) fn save<M: Memory, const BYTES: usize>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    present(cpu)?;
    let mut image = area::environment(cpu, BYTES);
    for i in 0..8 {
        let value = unit::st(cpu, i).to_f80().to_le_bytes();
        image.extend(&value[..10]);
    }
    let linear = access::linear(cpu, op, image.len(), Access::Write)?;
    memory.check_write(cpu, linear, image.len())?;
    area::write(cpu, memory, linear, &image)?;
    reset(cpu);
    Ok(())
}

/// FRSTOR.
pub(crate) fn restore<M: Memory, const BYTES: usize>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    ready(cpu)?;
    let linear = access::linear(cpu, op, BYTES + 80, Access::Read)?;
    let image = area::read(cpu, memory, linear, BYTES + 80)?;
    let (environment, registers) = image.split_at(BYTES);
    area::set_environment(cpu, environment);
    let tags = cpu.fpu.tags;
    for (i, bytes) in (0_u8..).zip(registers.chunks_exact(10)) {
        unit::set_st(cpu, i, area::ten(bytes));
    }
    cpu.fpu.tags = tags;
    Ok(())
}
