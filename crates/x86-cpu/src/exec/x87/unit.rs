//! The register stack and the status word.

use crate::fault::{self, Step};
use crate::fp::{Env, F80 as FORMAT, Raw, flag};
use crate::isa::{Op, op};
use crate::state::{CpuState, F80, cr, seg};

/// Status: stack fault.
pub(crate) const STACK_FAULT: u16 = 1 << 6;
/// Status: an exception that is not masked waits.
pub(crate) const ERROR: u16 = 1 << 7;
/// Status: condition codes.
pub(crate) const C0: u16 = 1 << 8;
/// See [`C0`].
pub(crate) const C1: u16 = 1 << 9;
/// See [`C0`].
pub(crate) const C2: u16 = 1 << 10;
/// See [`C0`].
pub(crate) const C3: u16 = 1 << 14;
/// Status: busy, which since the 387 is a copy of [`ERROR`].
pub(crate) const BUSY: u16 = 1 << 15;
/// Exceptions in the status and control words.
pub(crate) const EXCEPTIONS: u16 = 0x3f;

/// Raises #NM when the x87 is not to be used.
pub(crate) fn present(cpu: &mut CpuState) -> Step {
    if cpu.cr0 & (cr::EM | cr::TS) != 0 {
        return Err(cpu.raise(fault::NM, 0));
    }
    Ok(())
}

/// Raises #MF when an exception waits.
pub(crate) fn settled(cpu: &mut CpuState) -> Step {
    // GAP: no FERR line; with CR0.NE off nothing tells the interrupt controller
    if cpu.fpu.status & ERROR != 0 && cpu.cr0 & cr::NE != 0 {
        return Err(cpu.raise(fault::MF, 0));
    }
    Ok(())
}

/// What instructions that wait check first.
pub(crate) fn ready(cpu: &mut CpuState) -> Step {
    present(cpu)?;
    settled(cpu)
}

/// Notes where the instruction and its operand are.
pub(crate) fn note<M>(cpu: &mut CpuState, op: &Op<M>) {
    cpu.fpu.instruction = (op.ip(cpu), cpu.seg[seg::CS].selector);
    if op.has(op::MEMORY) {
        let segment = usize::from(op.segment).min(seg::GS);
        cpu.fpu.operand = (op.offset(cpu), cpu.seg[segment].selector);
    }
}

fn place(cpu: &CpuState, i: u8) -> usize {
    usize::from(cpu.fpu.top.wrapping_add(i) & 7)
}

/// Whether ST(i) is empty.
pub(crate) fn is_empty(cpu: &CpuState, i: u8) -> bool {
    cpu.fpu.tags >> (place(cpu, i) * 2) & 3 == 3
}

/// ST(i).
pub(crate) fn st(cpu: &CpuState, i: u8) -> Raw {
    let register = cpu.fpu.registers[place(cpu, i)];
    Raw {
        sign: register.exponent >> 15 != 0,
        exp: register.exponent & 0x7fff,
        sig: register.mantissa,
    }
}

/// Sets ST(i).
pub(crate) fn set_st(cpu: &mut CpuState, i: u8, value: Raw) {
    let at = place(cpu, i);
    cpu.fpu.registers[at] = F80 {
        mantissa: value.sig,
        exponent: (u16::from(value.sign) << 15) | value.exp,
    };
    cpu.fpu.tags &= !(3 << (at * 2));
}

/// Empties ST(i).
pub(crate) fn free(cpu: &mut CpuState, i: u8) {
    cpu.fpu.tags |= 3 << (place(cpu, i) * 2);
}

/// Moves the top of the stack.
pub(crate) fn turn(cpu: &mut CpuState, by: u8) {
    cpu.fpu.top = cpu.fpu.top.wrapping_add(by) & 7;
}

/// Pops.
pub(crate) fn pop(cpu: &mut CpuState) {
    free(cpu, 0);
    turn(cpu, 1);
}

/// Pops `count` times.
pub(crate) fn pop_times(cpu: &mut CpuState, count: u8) {
    for _ in 0..count {
        pop(cpu);
    }
}

/// Pushes onto a stack that was found to have room.
pub(crate) fn push(cpu: &mut CpuState, value: Raw) {
    turn(cpu, 7);
    set_st(cpu, 0, value);
}

/// The environment of the control word.
pub(crate) fn env(cpu: &CpuState) -> Env {
    Env::from_control_word(cpu.fpu.control)
}

/// The NaN of invalid operations.
pub(crate) fn indefinite() -> Raw {
    Raw::indefinite(FORMAT)
}

/// Sets or clears condition codes.
pub(crate) fn set_codes(cpu: &mut CpuState, mask: u16, codes: u16) {
    cpu.fpu.status = (cpu.fpu.status & !mask) | codes;
}

/// Makes ES and B anew from the exceptions and their masks.
pub(crate) fn summarize(cpu: &mut CpuState) {
    let waiting = cpu.fpu.status & !cpu.fpu.control & EXCEPTIONS != 0;
    let bits = if waiting { ERROR | BUSY } else { 0 };
    set_codes(cpu, ERROR | BUSY, bits);
}

/// Puts the flags of a computation into the status word, and its rounding into C1. Whether the result is
/// to be stored.
pub(crate) fn conclude(cpu: &mut CpuState, env: &Env) -> bool {
    let computed = env.unmasked() & flag::BEFORE == 0;
    let shown = if computed {
        env.flags
    } else {
        env.flags & flag::BEFORE
    };
    cpu.fpu.status |= u16::from(shown);
    set_codes(cpu, C1, if computed && env.rounded_up { C1 } else { 0 });
    summarize(cpu);
    computed
}

/// A stack fault: an operand is empty, or a place that is not is to be filled. Whether the masked response is
/// to be given.
pub(crate) fn stack_fault(cpu: &mut CpuState, overflow: bool) -> bool {
    cpu.fpu.status |= STACK_FAULT | u16::from(flag::INVALID);
    set_codes(cpu, C1, if overflow { C1 } else { 0 });
    summarize(cpu);
    cpu.fpu.control & u16::from(flag::INVALID) != 0
}

/// Pushes the result of a computation; a full stack takes the indefinite NaN.
pub(crate) fn push_checked(cpu: &mut CpuState, env: &Env, value: Raw) {
    if !is_empty(cpu, 7) {
        if stack_fault(cpu, true) {
            push(cpu, indefinite());
        }
        return;
    }
    // A denormal operand does not keep a load from loading, masked or not.
    if conclude(cpu, env) || env.unmasked() & flag::INVALID == 0 {
        push(cpu, value);
    }
}
