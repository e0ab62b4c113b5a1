//! Near jumps, calls, returns, loops.

use super::access::{MEM, Place, REG, first, get, pop, push, set, set_stack, stack_moved};
use crate::fault::Step;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::{CpuState, reg, seg};
use crate::word::Word;

/// Checks and sets the instruction pointer.
#[inline(always)]
pub(crate) fn go<W: Word>(cpu: &mut CpuState, target: u64) -> Step {
    let target = target & W::MASK;
    if W::BITS == 64 {
        if !cpu.canonical(target) {
            return Err(cpu.gp());
        }
    } else if !cpu.long_code() && target > u64::from(cpu.seg[seg::CS].limit) {
        return Err(cpu.gp());
    }
    cpu.rip = target;
    Ok(())
}

#[inline(always)]
fn target<M>(cpu: &CpuState, op: &Op<M>) -> u64 {
    cpu.gpr[reg::BLOCK].wrapping_add(op.imm)
}

/// JMP to a constant.
pub(crate) fn jump<W: Word, M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    go::<W>(cpu, target(cpu, op))
}

fn jump_to_run<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let target = first::<W, M, P>(cpu, m, op)?;
    go::<W>(cpu, target)
}

/// JMP `r/m`.
pub(crate) fn jump_to<W: Word, M: Memory>() -> Form<M> {
    Form::two(jump_to_run::<W, M, REG>, jump_to_run::<W, M, MEM>).jumps()
}

/// Jcc.
pub(crate) fn jump_if<W: Word, const CC: u8, M: Memory>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    if cpu.flags.condition::<CC>() {
        go::<W>(cpu, target(cpu, op))
    } else {
        cpu.rip = op.next(cpu);
        Ok(())
    }
}

#[inline(always)]
fn call_target<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>, target: u64) -> Step {
    let next = op.next(cpu);
    let stack = cpu.gpr[reg::RSP];
    push(cpu, m, W::cut(next))?;
    go::<W>(cpu, target).inspect_err(|_| cpu.gpr[reg::RSP] = stack)
}

/// CALL to a constant.
pub(crate) fn call<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    call_target::<W, M>(cpu, m, op, target(cpu, op))
}

fn call_to_run<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let target = first::<W, M, P>(cpu, m, op)?;
    call_target::<W, M>(cpu, m, op, target)
}

/// CALL `r/m`.
pub(crate) fn call_to<W: Word, M: Memory>() -> Form<M> {
    Form::two(call_to_run::<W, M, REG>, call_to_run::<W, M, MEM>).jumps()
}

/// RET, with the bytes to drop as immediate.
pub(crate) fn ret<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let stack = cpu.gpr[reg::RSP];
    let target = pop::<W, M>(cpu, m)?.zx();
    go::<W>(cpu, target).inspect_err(|_| cpu.gpr[reg::RSP] = stack)?;
    if op.imm != 0 {
        set_stack(cpu, stack_moved(cpu, op.imm.cast_signed()));
    }
    Ok(())
}

/// The count register of LOOP and JCXZ, cut to the address size.
fn count<M>(cpu: &CpuState, bits: u32, _: &Op<M>) -> u64 {
    match bits {
        16 => get::<u16>(cpu, 1),
        32 => get::<u32>(cpu, 1),
        _ => cpu.gpr[reg::RCX],
    }
}

/// JCXZ, JECXZ, JRCXZ: `C` is the counter's width, `W` the operand size.
pub(crate) fn jump_if_zero<W: Word, C: Word, M: Memory>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    if count(cpu, C::BITS, op) == 0 {
        go::<W>(cpu, target(cpu, op))
    } else {
        cpu.rip = op.next(cpu);
        Ok(())
    }
}

/// LOOP (0), LOOPE (1), LOOPNE (2).
pub(crate) fn repeat<W: Word, C: Word, const KIND: u8, M: Memory>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    let left = count(cpu, C::BITS, op).wrapping_sub(1) & C::MASK;
    let again = left != 0
        && match KIND {
            0 => true,
            1 => cpu.flags.zf(),
            _ => !cpu.flags.zf(),
        };
    if again {
        go::<W>(cpu, target(cpu, op))?;
    } else {
        cpu.rip = op.next(cpu);
    }
    set::<C>(cpu, 1, left);
    Ok(())
}
