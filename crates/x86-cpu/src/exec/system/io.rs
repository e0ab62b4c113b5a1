//! IN and OUT, and the permission to use a port.

use crate::exec::access::{get, set};
use crate::fault::Step;
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::{CpuState, attr};
use crate::word::{Word, low16, low32};

/// Whether the port may be used: by privilege, or by the task's bitmap.
///
/// # Errors
/// #GP(0): it may not.
#[inline]
pub(crate) fn check<M: Memory>(cpu: &mut CpuState, m: &mut M, port: u16, bytes: usize) -> Step {
    if !cpu.protected() || cpu.cpl <= cpu.iopl() && !cpu.v86() {
        return Ok(());
    }
    by_bitmap(cpu, m, port, bytes)
}

#[cold]
fn by_bitmap<M: Memory>(cpu: &mut CpuState, m: &mut M, port: u16, bytes: usize) -> Step {
    // Only 32 and 64-bit task state has a bitmap.
    let task = cpu.task;
    if !task.is(attr::PRESENT | attr::CODE) || task.limit < 103 {
        return Err(cpu.gp());
    }
    let start = m.read_system::<u16>(cpu, task.base.wrapping_add(102))?;
    let at = u32::from(start) + u32::from(port / 8);
    if at + 1 > task.limit {
        return Err(cpu.gp());
    }
    let bits = m.read_system::<u16>(cpu, task.base.wrapping_add(u64::from(at)))?;
    let mask = (1u16 << bytes) - 1;
    if bits >> (port % 8) & mask != 0 {
        return Err(cpu.gp());
    }
    Ok(())
}

/// IN from the immediate port or from DX.
pub(crate) fn input<W: Word, const BY_DX: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let port = if BY_DX {
        low16(cpu.gpr[2])
    } else {
        low16(op.imm & 0xff)
    };
    check(cpu, m, port, W::BYTES)?;
    let value = m.port_in(port, W::BYTES);
    set::<W>(cpu, 0, u64::from(value));
    Ok(())
}

/// OUT to the immediate port or to DX.
pub(crate) fn output<W: Word, const BY_DX: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let port = if BY_DX {
        low16(cpu.gpr[2])
    } else {
        low16(op.imm & 0xff)
    };
    check(cpu, m, port, W::BYTES)?;
    let value = low32(get::<W>(cpu, 0));
    m.port_out(port, W::BYTES, value);
    Ok(())
}
