//! FADD, FSUB, FMUL, FDIV with all their operands.

use super::unit::{self, conclude, env, indefinite, is_empty, pop, set_st, st, stack_fault};
use crate::exec::access;
use crate::fault::Step;
use crate::fp::{Env, F32, F64, F80, Format, Raw, arith, convert};
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::Word;

/// An operation on the destination and the source.
pub(crate) trait Operation: 'static {
    /// The operation.
    fn run(env: &mut Env, precision: Format, a: Raw, b: Raw) -> Raw;
}

macro_rules! operations {
    ($($name:ident = |$env:ident, $precision:ident, $a:ident, $b:ident| $body:expr;)*) => {
        $(
            #[doc = concat!("F", stringify!($name), ".")]
            pub(crate) struct $name;
            impl Operation for $name {
                fn run($env: &mut Env, $precision: Format, $a: Raw, $b: Raw) -> Raw {
                    $body
                }
            }
        )*
    };
}

operations! {
    Add = |env, precision, a, b| arith::add(env, F80, precision, a, b);
    Sub = |env, precision, a, b| arith::sub(env, F80, precision, a, b);
    Subr = |env, precision, a, b| arith::sub(env, F80, precision, b, a);
    Mul = |env, precision, a, b| arith::mul(env, F80, precision, a, b);
    Div = |env, precision, a, b| arith::div(env, F80, precision, a, b);
    Divr = |env, precision, a, b| arith::div(env, F80, precision, b, a);
}

/// A memory operand widened to f80. A denormal one is noted in the environment, since it no longer is one.
pub(crate) trait Source: 'static {
    /// Reads it.
    fn read<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>, env: &mut Env) -> Step<Raw>;
}

/// Widens without looking: NaNs keep their kind.
fn widen(env: &mut Env, from: Format, value: Raw) -> Raw {
    if value.exp == from.max {
        return Raw {
            exp: F80.max,
            ..value
        };
    }
    env.denormal_operand = value.exp == 0 && value.sig != 0;
    let mut silent = *env;
    convert::convert_quietly(&mut silent, from, F80, value)
}

/// A single.
pub(crate) struct Single;
impl Source for Single {
    fn read<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>, env: &mut Env) -> Step<Raw> {
        let value = access::load::<u32, M>(cpu, memory, op)?;
        Ok(widen(env, F32, Raw::from_f32(value)))
    }
}

/// A double.
pub(crate) struct Double;
impl Source for Double {
    fn read<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>, env: &mut Env) -> Step<Raw> {
        let value = access::load::<u64, M>(cpu, memory, op)?;
        Ok(widen(env, F64, Raw::from_f64(value)))
    }
}

/// An integer.
pub(crate) struct Integer<T>(std::marker::PhantomData<T>);
impl<T: Word> Source for Integer<T> {
    fn read<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>, _: &mut Env) -> Step<Raw> {
        let value = access::load::<T, M>(cpu, memory, op)?;
        Ok(convert::f80_from_signed(value.sx().cast_signed()))
    }
}

fn compute<O: Operation>(cpu: &mut CpuState, mut env: Env, into: u8, a: Raw, b: Raw) -> bool {
    let precision = arith::x87_precision(cpu.fpu.control);
    let result = O::run(&mut env, precision, a, b);
    let store = conclude(cpu, &env);
    if store {
        set_st(cpu, into, result);
    }
    store
}

fn memory_run<M: Memory, O: Operation, S: Source>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    unit::ready(cpu)?;
    let mut env = env(cpu);
    let b = S::read(cpu, memory, op, &mut env)?;
    unit::note(cpu, op);
    if is_empty(cpu, 0) {
        if stack_fault(cpu, false) {
            set_st(cpu, 0, indefinite());
        }
        return Ok(());
    }
    let a = st(cpu, 0);
    compute::<O>(cpu, env, 0, a, b);
    Ok(())
}

/// ST(0) with memory.
pub(crate) fn with_memory<M: Memory, O: Operation, S: Source>() -> Form<M> {
    Form::any(memory_run::<M, O, S>)
}

fn stack_run<M: Memory, O: Operation, const POP: bool>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    let (into, from) = (op.reg[0], op.reg[1]);
    if is_empty(cpu, into) || is_empty(cpu, from) {
        if stack_fault(cpu, false) {
            set_st(cpu, into, indefinite());
            if POP {
                pop(cpu);
            }
        }
        return Ok(());
    }
    let (a, b) = (st(cpu, into), st(cpu, from));
    let env = env(cpu);
    if compute::<O>(cpu, env, into, a, b) && POP {
        pop(cpu);
    }
    Ok(())
}

/// Operand 0 with operand 1, both on the stack.
pub(crate) fn on_stack<M: Memory, O: Operation, const POP: bool>() -> Form<M> {
    Form::any(stack_run::<M, O, POP>)
}
