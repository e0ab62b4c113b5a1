//! Loads, stores, exchanges, constants.

use super::unit::{
    self, C1, conclude, env, free, indefinite, is_empty, pop, push_checked, set_codes, set_st, st,
    stack_fault, turn,
};
use crate::exec::access::{self, Access};
use crate::fault::Step;
use crate::fp::{Env, F32, F64, F80, Format, Raw, Rounding, bcd, convert, flag};
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::{Unit, Word, low16};

/// A floating-point format in memory.
pub(crate) trait Stored: 'static {
    /// Its word.
    type Bits: Word;
    /// Its format.
    const FORMAT: Format;
    /// From the bits.
    fn raw(bits: Self::Bits) -> Raw;
    /// To the bits.
    fn bits(raw: Raw) -> Self::Bits;
}

/// A single.
pub(crate) struct Single;
impl Stored for Single {
    type Bits = u32;
    const FORMAT: Format = F32;
    fn raw(bits: u32) -> Raw {
        Raw::from_f32(bits)
    }
    fn bits(raw: Raw) -> u32 {
        raw.to_f32()
    }
}

/// A double.
pub(crate) struct Double;
impl Stored for Double {
    type Bits = u64;
    const FORMAT: Format = F64;
    fn raw(bits: u64) -> Raw {
        Raw::from_f64(bits)
    }
    fn bits(raw: Raw) -> u64 {
        raw.to_f64()
    }
}

fn load_run<M: Memory, S: Stored>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    let bits = access::load::<S::Bits, M>(cpu, memory, op)?;
    unit::note(cpu, op);
    let mut env = env(cpu);
    let value = convert::convert(&mut env, S::FORMAT, F80, S::raw(bits));
    push_checked(cpu, &env, value);
    Ok(())
}

/// FLD m32, m64.
pub(crate) fn load<M: Memory, S: Stored>() -> Form<M> {
    Form::any(load_run::<M, S>)
}

fn load_integer_run<M: Memory, T: Word>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    let value = access::load::<T, M>(cpu, memory, op)?;
    unit::note(cpu, op);
    let env = env(cpu);
    push_checked(
        cpu,
        &env,
        convert::f80_from_signed(value.sx().cast_signed()),
    );
    Ok(())
}

/// FILD.
pub(crate) fn load_integer<M: Memory, T: Word>() -> Form<M> {
    Form::any(load_integer_run::<M, T>)
}

/// Ten bytes of memory.
fn load_ten<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step<[u8; 10]> {
    let linear = access::linear(cpu, op, 10, Access::Read)?;
    let low = memory.read::<u64>(cpu, linear)?.to_le_bytes();
    let high = memory
        .read::<u16>(cpu, linear.wrapping_add(8))?
        .to_le_bytes();
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&low);
    bytes[8..].copy_from_slice(&high);
    Ok(bytes)
}

fn store_ten<M: Memory>(cpu: &mut CpuState, memory: &mut M, linear: u64, bytes: [u8; 10]) -> Step {
    let [a, b, c, d, e, f, g, h, i, j] = bytes;
    memory.write(cpu, linear, u64::from_le_bytes([a, b, c, d, e, f, g, h]))?;
    memory.write(cpu, linear.wrapping_add(8), u16::from_le_bytes([i, j]))
}

/// A number as ten bytes.
fn ten_bytes(value: Raw) -> [u8; 10] {
    let all = value.to_f80().to_le_bytes();
    std::array::from_fn(|i| all[i])
}

/// FLD m80.
pub(crate) fn load_extended<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    let bytes = load_ten(cpu, memory, op)?;
    unit::note(cpu, op);
    let mut all = [0; 16];
    all[..10].copy_from_slice(&bytes);
    let env = env(cpu);
    push_checked(cpu, &env, Raw::from_f80(u128::from_le_bytes(all)));
    Ok(())
}

/// FBLD.
pub(crate) fn load_decimal<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    let bytes = load_ten(cpu, memory, op)?;
    unit::note(cpu, op);
    let env = env(cpu);
    push_checked(cpu, &env, bcd::load(bytes));
    Ok(())
}

/// FLD ST(i).
pub(crate) fn load_register<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if is_empty(cpu, op.reg[0]) {
        if stack_fault(cpu, false) {
            unit::push(cpu, indefinite());
        }
        return Ok(());
    }
    let value = st(cpu, op.reg[0]);
    let env = env(cpu);
    push_checked(cpu, &env, value);
    Ok(())
}

/// What a store to memory came to.
struct Outcome<T> {
    /// What is written.
    value: T,
    /// Its environment; `None` for a stack fault.
    env: Option<Env>,
}

/// Writes a result unless an exception that is not masked forbids it, then pops.
fn commit<M: Memory, T, const POP: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    outcome: Outcome<T>,
    write: impl FnOnce(&mut CpuState, &mut M, T) -> Step,
) -> Step {
    let forbidding = flag::BEFORE | flag::OVERFLOW | flag::UNDERFLOW;
    let allowed = match &outcome.env {
        Some(env) => env.unmasked() & forbidding == 0,
        None => cpu.fpu.control & u16::from(flag::INVALID) != 0,
    };
    if allowed {
        write(cpu, memory, outcome.value)?;
    }
    match outcome.env {
        Some(mut env) => {
            if !allowed {
                env.rounded_up = false;
                env.flags &= !flag::PRECISION;
            }
            conclude(cpu, &env);
        }
        None => {
            stack_fault(cpu, false);
        }
    }
    if allowed && POP {
        pop(cpu);
    }
    Ok(())
}

fn store_run<M: Memory, S: Stored, const POP: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    unit::ready(cpu)?;
    let linear = access::linear(cpu, op, S::Bits::BYTES, Access::Write)?;
    memory.check_write(cpu, linear, S::Bits::BYTES)?;
    unit::note(cpu, op);
    let outcome = if is_empty(cpu, 0) {
        Outcome {
            value: S::bits(Raw::indefinite(S::FORMAT)),
            env: None,
        }
    } else {
        let mut env = env(cpu);
        let value = convert::convert_quietly(&mut env, F80, S::FORMAT, st(cpu, 0));
        Outcome {
            value: S::bits(value),
            env: Some(env),
        }
    };
    commit::<M, _, POP>(cpu, memory, outcome, |cpu, memory, value| {
        memory.write(cpu, linear, value)
    })
}

/// FST, FSTP m32, m64.
pub(crate) fn store<M: Memory, S: Stored, const POP: bool>() -> Form<M> {
    Form::any(store_run::<M, S, POP>)
}

fn store_integer_run<M: Memory, T: Word, const TRUNCATE: bool, const POP: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    unit::ready(cpu)?;
    let linear = access::linear(cpu, op, T::BYTES, Access::Write)?;
    memory.check_write(cpu, linear, T::BYTES)?;
    unit::note(cpu, op);
    let outcome = if is_empty(cpu, 0) {
        Outcome {
            value: T::cut(T::SIGN),
            env: None,
        }
    } else {
        let mut env = env(cpu);
        let mode = if TRUNCATE {
            Rounding::Zero
        } else {
            env.rounding
        };
        let value = convert::to_signed(&mut env, mode, F80, st(cpu, 0), T::BITS);
        Outcome {
            value: T::cut(value.map_or(T::SIGN, i64::cast_unsigned)),
            env: Some(env),
        }
    };
    commit::<M, _, POP>(cpu, memory, outcome, |cpu, memory, value| {
        memory.write(cpu, linear, value)
    })
}

/// FIST, FISTP, FISTTP.
pub(crate) fn store_integer<M: Memory, T: Word, const TRUNCATE: bool, const POP: bool>() -> Form<M>
{
    Form::any(store_integer_run::<M, T, TRUNCATE, POP>)
}

/// FSTP m80.
pub(crate) fn store_extended<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    let linear = access::linear(cpu, op, 10, Access::Write)?;
    memory.check_write(cpu, linear, 10)?;
    unit::note(cpu, op);
    let outcome = if is_empty(cpu, 0) {
        Outcome {
            value: ten_bytes(indefinite()),
            env: None,
        }
    } else {
        Outcome {
            value: ten_bytes(st(cpu, 0)),
            env: Some(env(cpu)),
        }
    };
    commit::<M, _, true>(cpu, memory, outcome, |cpu, memory, value| {
        store_ten(cpu, memory, linear, value)
    })
}

/// FBSTP.
pub(crate) fn store_decimal<M: Memory>(cpu: &mut CpuState, memory: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    let linear = access::linear(cpu, op, 10, Access::Write)?;
    memory.check_write(cpu, linear, 10)?;
    unit::note(cpu, op);
    let outcome = if is_empty(cpu, 0) {
        Outcome {
            value: bcd::INDEFINITE,
            env: None,
        }
    } else {
        let mut env = env(cpu);
        let value = bcd::store(&mut env, st(cpu, 0));
        Outcome {
            value,
            env: Some(env),
        }
    };
    commit::<M, _, true>(cpu, memory, outcome, |cpu, memory, value| {
        store_ten(cpu, memory, linear, value)
    })
}

/// FST, FSTP ST(i).
pub(crate) fn store_register<M: Memory, const POP: bool>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if is_empty(cpu, 0) {
        if !stack_fault(cpu, false) {
            return Ok(());
        }
        set_st(cpu, op.reg[0], indefinite());
    } else {
        let value = st(cpu, 0);
        set_codes(cpu, C1, 0);
        set_st(cpu, op.reg[0], value);
    }
    if POP {
        pop(cpu);
    }
    Ok(())
}

/// FSTPNCE: as FSTP, but an empty register is not looked at and only popped.
pub(crate) fn store_unchecked<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    set_codes(cpu, C1, 0);
    if !is_empty(cpu, 0) {
        let value = st(cpu, 0);
        set_st(cpu, op.reg[0], value);
    }
    pop(cpu);
    Ok(())
}

/// FXCH.
pub(crate) fn exchange<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    let other = op.reg[1];
    let value = |cpu: &CpuState, i| {
        if is_empty(cpu, i) {
            indefinite()
        } else {
            st(cpu, i)
        }
    };
    let (a, b) = (value(cpu, 0), value(cpu, other));
    if is_empty(cpu, 0) || is_empty(cpu, other) {
        if !stack_fault(cpu, false) {
            return Ok(());
        }
    } else {
        set_codes(cpu, C1, 0);
    }
    set_st(cpu, 0, b);
    set_st(cpu, other, a);
    Ok(())
}

fn move_if_run<M: Memory, const CC: u8>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if is_empty(cpu, 0) || is_empty(cpu, op.reg[1]) {
        if stack_fault(cpu, false) {
            set_st(cpu, 0, indefinite());
        }
        return Ok(());
    }
    if cpu.flags.condition::<CC>() {
        let value = st(cpu, op.reg[1]);
        set_st(cpu, 0, value);
    }
    Ok(())
}

/// FCMOVcc, by the condition's number.
pub(crate) fn move_if<M: Memory, const CC: u8>() -> Form<M> {
    Form::any(move_if_run::<M, CC>)
}

fn free_run<M: Memory, const POP: bool>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    free(cpu, op.reg[0]);
    set_codes(cpu, C1, 0);
    if POP {
        pop(cpu);
    }
    Ok(())
}

/// FFREE, FFREEP.
pub(crate) fn release<M: Memory, const POP: bool>() -> Form<M> {
    Form::any(free_run::<M, POP>)
}

fn turn_run<M: Memory, const BY: u8>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    set_codes(cpu, C1, 0);
    turn(cpu, BY);
    Ok(())
}

/// FINCSTP (1), FDECSTP (7), FNOP (0, which leaves C1 alone elsewhere).
pub(crate) fn rotate<M: Memory, const BY: u8>() -> Form<M> {
    Form::any(turn_run::<M, BY>)
}

/// A constant: the significand cut to 64 bits, with the bits that come after it.
pub(crate) trait Constant: 'static {
    /// Biased exponent.
    const EXP: u16;
    /// Significand, cut.
    const SIG: u64;
    /// Whether what was cut is more than half of the last bit.
    const MORE_THAN_HALF: bool;
    /// Whether anything was cut.
    const INEXACT: bool;
}

macro_rules! constants {
    ($($name:ident: $exp:literal, $sig:literal, $more:literal, $inexact:literal;)*) => {
        $(
            #[doc = concat!("F", stringify!($name), ".")]
            pub(crate) struct $name;
            impl Constant for $name {
                const EXP: u16 = $exp;
                const SIG: u64 = $sig;
                const MORE_THAN_HALF: bool = $more;
                const INEXACT: bool = $inexact;
            }
        )*
    };
}

constants! {
    Ld1: 0x3fff, 0x8000_0000_0000_0000, false, false;
    Ldz: 0, 0, false, false;
    Ldl2t: 0x4000, 0xd49a_784b_cd1b_8afe, false, true;
    Ldl2e: 0x3fff, 0xb8aa_3b29_5c17_f0bb, true, true;
    Ldpi: 0x4000, 0xc90f_daa2_2168_c234, true, true;
    Ldlg2: 0x3ffd, 0x9a20_9a84_fbcf_f798, true, true;
    Ldln2: 0x3ffe, 0xb172_17f7_d1cf_79ab, true, true;
}

fn constant_run<M: Memory, C: Constant>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    let env = env(cpu);
    let up = match env.rounding {
        Rounding::Nearest => C::MORE_THAN_HALF,
        Rounding::Up => C::INEXACT,
        Rounding::Down | Rounding::Zero => false,
    };
    let value = Raw {
        sign: false,
        exp: C::EXP,
        sig: C::SIG + u64::from(up),
    };
    push_checked(cpu, &env, value);
    Ok(())
}

/// FLD1, FLDPI and their kin. They raise nothing, whatever was cut.
pub(crate) fn constant<M: Memory, C: Constant>() -> Form<M> {
    Form::any(constant_run::<M, C>)
}

/// FCHS.
pub(crate) fn change_sign<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    sign(cpu, op, Raw::negated)
}

/// FABS.
pub(crate) fn absolute<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    sign(cpu, op, |value| Raw {
        sign: false,
        ..value
    })
}

fn sign<M>(cpu: &mut CpuState, op: &Op<M>, change: impl Fn(Raw) -> Raw) -> Step {
    unit::ready(cpu)?;
    unit::note(cpu, op);
    if is_empty(cpu, 0) {
        if stack_fault(cpu, false) {
            set_st(cpu, 0, indefinite());
        }
        return Ok(());
    }
    set_codes(cpu, C1, 0);
    let value = change(st(cpu, 0));
    set_st(cpu, 0, value);
    Ok(())
}

/// The status word with the top of the stack in it.
pub(crate) fn status_word(cpu: &CpuState) -> u16 {
    cpu.fpu.status | low16(u64::from(cpu.fpu.top & 7) << 11)
}
