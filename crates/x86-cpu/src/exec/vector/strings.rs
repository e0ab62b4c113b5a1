//! PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.

use super::{Align, Width, available, get, immediate, operand, set};
use crate::exec::access;
use crate::fault::Step;
use crate::flags;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::simd::strings::{compare, explicit_length, implicit_length};
use crate::state::{CpuState, reg};
use crate::word::Word;

/// Where the lengths come from.
pub(crate) trait Lengths: 'static {
    /// The lengths of both strings.
    fn get(cpu: &CpuState, a: u128, b: u128, immediate: u8) -> (usize, usize);
}

/// Zero ends a string.
pub(crate) struct Implicit;
impl Lengths for Implicit {
    fn get(_: &CpuState, a: u128, b: u128, immediate: u8) -> (usize, usize) {
        (implicit_length(a, immediate), implicit_length(b, immediate))
    }
}

/// EAX and EDX, or RAX and RDX.
pub(crate) struct Explicit<T>(std::marker::PhantomData<T>);
impl<T: Word> Lengths for Explicit<T> {
    fn get(cpu: &CpuState, _: u128, _: u128, immediate: u8) -> (usize, usize) {
        let length = |register: usize| {
            let value = T::cut(cpu.gpr[register]).sx().cast_signed();
            explicit_length(value, immediate)
        };
        (length(reg::RAX), length(reg::RDX))
    }
}

fn string_run<L: Lengths, M: Memory, const INDEX: bool, const W: Width>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available::<W>(cpu)?;
    let b = operand::<M, W>(cpu, memory, op, 1, Align::No)?[0];
    let a = get(cpu, op.reg[0])[0];
    let control = immediate(op);
    let (first, second) = L::get(cpu, a, b, control);
    let found = compare(a, first, b, second, control);
    if INDEX {
        access::set::<u64>(
            cpu,
            crate::word::low8(reg::RCX as u64),
            found.index(control).into(),
        );
    } else {
        let value = [found.mask(control), 0];
        set::<W>(cpu, 0, value);
    }
    let bit = |on: bool, flag: u64| if on { flag } else { 0 };
    cpu.flags.set_status(
        bit(found.bits != 0, flags::CF)
            | bit(found.second_ends, flags::ZF)
            | bit(found.first_ends, flags::SF)
            | bit(found.bits & 1 != 0, flags::OF),
    );
    Ok(())
}

/// A string compare that gives an index (in ECX) or a mask (in XMM0).
pub(crate) fn string<L: Lengths, M: Memory, const INDEX: bool, const W: Width>() -> Form<M> {
    Form::any(string_run::<L, M, INDEX, W>)
}
