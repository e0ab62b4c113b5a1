//! COMISS, UCOMISS and their kin.

use super::float::Element;
use super::{Width, available, get, part, settle};
use crate::fault::Step;
use crate::flags;
use crate::fp::Env;
use crate::fp::compare::{Nans, Relation, compare};
use crate::fp::scalar::Float;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::low64;

/// The flags that a comparison sets.
pub(crate) fn relation_flags(relation: Relation) -> u64 {
    match relation {
        Relation::Unordered => flags::ZF | flags::PF | flags::CF,
        Relation::Less => flags::CF,
        Relation::Equal => flags::ZF,
        Relation::Greater => 0,
    }
}

fn comi_run<M: Memory, T: Element, const SIGNAL: bool, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let b = T::cut(low64(part::<T, M>(cpu, memory, op, 1)?));
    let a = T::cut(low64(get(cpu, op.reg[0])[0]));
    let nans = if SIGNAL { Nans::Signal } else { Nans::Quiet };
    let mut env = Env::from_mxcsr(cpu.mxcsr);
    let relation = compare(&mut env, <T as Float>::FORMAT, a.raw(), b.raw(), nans);
    settle(cpu, &env)?;
    cpu.flags.set_status(relation_flags(relation));
    Ok(())
}

/// COMISS (every NaN is invalid) and UCOMISS (signalling ones are).
pub(crate) fn comi<M: Memory, T: Element, const SIGNAL: bool, const W: Width>() -> Form<M> {
    Form::any(comi_run::<M, T, SIGNAL, W>)
}
