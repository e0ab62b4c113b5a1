//! FCOM and its kin, FTST, FXAM.

use super::arith::Source;
use super::unit::{
    self, C0, C1, C2, C3, conclude, env, is_empty, pop_times, set_codes, st, stack_fault,
};
use crate::exec::vector::compare::relation_flags;
use crate::fault::Step;
use crate::flags;
use crate::fp::compare::{Nans, Relation, compare};
use crate::fp::raw::Class;
use crate::fp::{Env, F80, Raw};
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;

fn codes(relation: Relation) -> u16 {
    match relation {
        Relation::Unordered => C0 | C2 | C3,
        Relation::Less => C0,
        Relation::Equal => C3,
        Relation::Greater => 0,
    }
}

/// Compares and sets the condition codes. Whether to pop.
fn to_codes(cpu: &mut CpuState, mut env: Env, a: Raw, b: Raw, nans: Nans) -> bool {
    let relation = compare(&mut env, F80, a, b, nans);
    let done = conclude(cpu, &env);
    set_codes(cpu, C0 | C2 | C3, codes(relation));
    done
}

/// The codes of a comparison with an empty register. Whether to pop.
fn empty_operand(cpu: &mut CpuState) -> bool {
    set_codes(cpu, C0 | C2 | C3, C0 | C2 | C3);
    stack_fault(cpu, false)
}

fn stack_run<M: Memory, const SIGNAL: bool, const POPS: u8>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    let other = if POPS == 2 { 1 } else { op.reg[1] };
    let done = if is_empty(cpu, 0) || is_empty(cpu, other) {
        empty_operand(cpu)
    } else {
        let nans = if SIGNAL { Nans::Signal } else { Nans::Quiet };
        let (a, b) = (st(cpu, 0), st(cpu, other));
        let env = env(cpu);
        to_codes(cpu, env, a, b, nans)
    };
    if done {
        pop_times(cpu, POPS);
    }
    Ok(())
}

/// FCOM, FCOMP, FCOMPP (every NaN is invalid), FUCOM, FUCOMP, FUCOMPP (signalling ones are).
pub(crate) fn on_stack<M: Memory, const SIGNAL: bool, const POPS: u8>() -> Form<M> {
    Form::any(stack_run::<M, SIGNAL, POPS>)
}

fn memory_run<M: Memory, S: Source, const POPS: u8>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    unit::ready(cpu)?;
    let mut env = env(cpu);
    let b = S::read(cpu, memory, op, &mut env)?;
    unit::note(cpu, op);
    let done = if is_empty(cpu, 0) {
        empty_operand(cpu)
    } else {
        let a = st(cpu, 0);
        to_codes(cpu, env, a, b, Nans::Signal)
    };
    if done {
        pop_times(cpu, POPS);
    }
    Ok(())
}

/// FCOM, FCOMP, FICOM, FICOMP.
pub(crate) fn with_memory<M: Memory, S: Source, const POPS: u8>() -> Form<M> {
    Form::any(memory_run::<M, S, POPS>)
}

fn flags_run<M: Memory, const SIGNAL: bool, const POPS: u8>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    let unordered = flags::ZF | flags::PF | flags::CF;
    let (bits, done) = if is_empty(cpu, 0) || is_empty(cpu, op.reg[1]) {
        (unordered, stack_fault(cpu, false))
    } else {
        let nans = if SIGNAL { Nans::Signal } else { Nans::Quiet };
        let mut env = env(cpu);
        let relation = compare(&mut env, F80, st(cpu, 0), st(cpu, op.reg[1]), nans);
        // C1 stays as it was, on AMD's processors.
        let kept = cpu.fpu.status & C1;
        let done = conclude(cpu, &env);
        set_codes(cpu, C1, kept);
        (relation_flags(relation), done)
    };
    // The flags come even with an exception that is not masked.
    cpu.flags.set_status(bits);
    if done {
        pop_times(cpu, POPS);
    }
    Ok(())
}

/// FCOMI, FCOMIP, FUCOMI, FUCOMIP.
pub(crate) fn to_flags<M: Memory, const SIGNAL: bool, const POPS: u8>() -> Form<M> {
    Form::any(flags_run::<M, SIGNAL, POPS>)
}

/// FTST.
pub(crate) fn ftst<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if is_empty(cpu, 0) {
        empty_operand(cpu);
    } else {
        let a = st(cpu, 0);
        let env = env(cpu);
        to_codes(cpu, env, a, Raw::zero(false), Nans::Signal);
    }
    Ok(())
}

/// FXAM.
pub(crate) fn fxam<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    let value = st(cpu, 0);
    let class = if is_empty(cpu, 0) {
        C3 | C0
    } else {
        match value.class(F80) {
            Class::Unsupported => 0,
            Class::Quiet | Class::Signalling => C0,
            Class::Finite { denormal: false } => C2,
            Class::Infinite => C2 | C0,
            Class::Zero => C3,
            Class::Finite { denormal: true } => C3 | C2,
        }
    };
    let sign = if value.sign { C1 } else { 0 };
    set_codes(cpu, C0 | C1 | C2 | C3, class | sign);
    Ok(())
}
