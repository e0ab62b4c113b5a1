//! Shifts and rotations.

use super::access::{MEM, Place, REG, get, modify, second, set};
use crate::fault::Step;
use crate::flags::Flags;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::{Word, low32};

/// A shift: `count` is not zero and already cut to 5 or 6 bits.
pub(crate) trait Shift: 'static {
    /// Result and flags.
    fn run<W: Word>(flags: &mut Flags, a: u64, count: u32) -> u64;
}

/// ROL.
pub(crate) struct Rol;
/// ROR.
pub(crate) struct Ror;
/// RCL.
pub(crate) struct Rcl;
/// RCR.
pub(crate) struct Rcr;
/// SHL, SAL.
pub(crate) struct Shl;
/// SHR.
pub(crate) struct Shr;
/// SAR.
pub(crate) struct Sar;

fn top<W: Word>(value: u64) -> bool {
    value & W::SIGN != 0
}

fn next_to_top<W: Word>(value: u64) -> bool {
    value & W::SIGN >> 1 != 0
}

/// `value` moved by a count that may reach the width.
fn left(value: u64, count: u32) -> u64 {
    value.checked_shl(count).unwrap_or(0)
}

fn right(value: u64, count: u32) -> u64 {
    value.checked_shr(count).unwrap_or(0)
}

impl Shift for Rol {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, count: u32) -> u64 {
        let by = count % W::BITS;
        let result = (left(a, by) | right(a, W::BITS - by)) & W::MASK;
        let carry = result & 1 != 0;
        let af = flags.af();
        flags.set_cf_of(carry, top::<W>(result) ^ carry);
        flags.set_af(af);
        result
    }
}

impl Shift for Ror {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, count: u32) -> u64 {
        let by = count % W::BITS;
        let result = (right(a, by) | left(a, W::BITS - by)) & W::MASK;
        let af = flags.af();
        flags.set_cf_of(
            top::<W>(result),
            top::<W>(result) ^ next_to_top::<W>(result),
        );
        flags.set_af(af);
        result
    }
}

impl Shift for Rcl {
    fn run<W: Word>(flags: &mut Flags, a: u64, count: u32) -> u64 {
        let by = count % (W::BITS + 1);
        if by == 0 {
            // The count was the width plus one: nothing moves, but OF is set by CF.
            let carry = flags.cf();
            flags.set_of(top::<W>(a) ^ carry);
            return a;
        }
        let wide = u128::from(a) | u128::from(flags.cf()) << W::BITS;
        let turned = wide << by | wide >> (W::BITS + 1 - by);
        let result = crate::word::low64(turned) & W::MASK;
        let carry = turned >> W::BITS & 1 != 0;
        let af = flags.af();
        flags.set_cf_of(carry, top::<W>(result) ^ carry);
        flags.set_af(af);
        result
    }
}

impl Shift for Rcr {
    fn run<W: Word>(flags: &mut Flags, a: u64, count: u32) -> u64 {
        let by = count % (W::BITS + 1);
        let wide = u128::from(a) | u128::from(flags.cf()) << W::BITS;
        let turned = wide >> by | wide << (W::BITS + 1 - by);
        let result = crate::word::low64(turned) & W::MASK;
        let carry = if by == 0 {
            flags.cf()
        } else {
            turned >> W::BITS & 1 != 0
        };
        let af = flags.af();
        flags.set_cf_of(carry, top::<W>(result) ^ next_to_top::<W>(result));
        flags.set_af(af);
        result
    }
}

impl Shift for Shl {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, count: u32) -> u64 {
        let result = left(a, count) & W::MASK;
        let carry = count <= W::BITS && right(a, W::BITS - count) & 1 != 0;
        flags.set_result::<W>(result);
        flags.set_cf_of(carry, top::<W>(result) ^ carry);
        result
    }
}

impl Shift for Shr {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, count: u32) -> u64 {
        let result = right(a, count);
        let carry = right(a, count - 1) & 1 != 0;
        flags.set_result::<W>(result);
        // For more than one bit OF is undefined; processors compute it from the result's top two bits.
        flags.set_cf_of(carry, top::<W>(result) ^ next_to_top::<W>(result));
        result
    }
}

impl Shift for Sar {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, count: u32) -> u64 {
        let signed = W::cut(a).sx().cast_signed();
        let result = (signed >> count.min(63)).cast_unsigned() & W::MASK;
        let carry = signed >> (count - 1).min(63) & 1 != 0;
        flags.set_result::<W>(result);
        flags.set_cf_of(carry, false);
        result
    }
}

#[inline(always)]
fn shift<W: Word, S: Shift, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
    count: u64,
) -> Step {
    let count = low32(count) & if W::BITS == 64 { 63 } else { 31 };
    modify::<W, M, P>(cpu, m, op, |flags, a| {
        if count == 0 {
            a
        } else {
            S::run::<W>(flags, a, count)
        }
    })
}

fn by_imm_run<W: Word, S: Shift, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    shift::<W, S, M, P>(cpu, m, op, op.imm)
}

fn by_cl_run<W: Word, S: Shift, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let count = cpu.gpr[1];
    shift::<W, S, M, P>(cpu, m, op, count)
}

/// By the immediate; the rows with 1 have it as immediate too.
pub(crate) fn by_imm<W: Word, S: Shift, M: Memory>() -> Form<M> {
    Form::two(by_imm_run::<W, S, M, REG>, by_imm_run::<W, S, M, MEM>)
}

/// By CL.
pub(crate) fn by_cl<W: Word, S: Shift, M: Memory>() -> Form<M> {
    Form::two(by_cl_run::<W, S, M, REG>, by_cl_run::<W, S, M, MEM>)
}

#[inline(always)]
fn double<W: Word, M: Memory, const LEFT: bool, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
    count: u64,
) -> Step {
    let count = low32(count) & if W::BITS == 64 { 63 } else { 31 };
    let b = get::<W>(cpu, op.reg[1]);
    modify::<W, M, P>(cpu, m, op, |flags, a| {
        if count == 0 {
            return a;
        }
        let (a128, b128) = (u128::from(a), u128::from(b));
        // Counts beyond 16 of a 16-bit operand are undefined; AMD's processors take the bits from the second
        // operand again and clear CF.
        let (result, carry) = if LEFT {
            let wide = if W::BITS == 16 {
                a128 << 32 | b128 << 16 | b128
            } else {
                a128 << W::BITS | b128
            };
            if W::BITS == 16 {
                ((wide << count) >> 32, (wide << count) >> 48 & 1 != 0)
            } else {
                (
                    (wide << count) >> W::BITS,
                    right(a, W::BITS - count) & 1 != 0,
                )
            }
        } else {
            let wide = if W::BITS == 16 {
                b128 << 32 | b128 << 16 | a128
            } else {
                b128 << W::BITS | a128
            };
            (wide >> count, wide >> (count - 1) & 1 != 0)
        };
        let result = crate::word::low64(result) & W::MASK;
        flags.set_result::<W>(result);
        let carry = carry && count <= W::BITS;
        flags.set_cf_of(carry, top::<W>(result) ^ top::<W>(a));
        result
    })
}

fn double_imm_run<W: Word, M: Memory, const LEFT: bool, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    double::<W, M, LEFT, P>(cpu, m, op, op.imm)
}

fn double_cl_run<W: Word, M: Memory, const LEFT: bool, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let count = cpu.gpr[1];
    double::<W, M, LEFT, P>(cpu, m, op, count)
}

/// SHLD, SHRD by the immediate.
pub(crate) fn double_imm<W: Word, const LEFT: bool, M: Memory>() -> Form<M> {
    Form::two(
        double_imm_run::<W, M, LEFT, REG>,
        double_imm_run::<W, M, LEFT, MEM>,
    )
}

/// SHLD, SHRD by CL.
pub(crate) fn double_cl<W: Word, const LEFT: bool, M: Memory>() -> Form<M> {
    Form::two(
        double_cl_run::<W, M, LEFT, REG>,
        double_cl_run::<W, M, LEFT, MEM>,
    )
}

fn plain_imm_run<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let value = second::<W, M, P>(cpu, m, op)?;
    let by = low32(op.imm) % W::BITS;
    let result = right(value, by) | left(value, W::BITS - by);
    set::<W>(cpu, op.reg[0], result);
    Ok(())
}

/// RORX.
pub(crate) fn rorx<W: Word, M: Memory>() -> Form<M> {
    Form::two(plain_imm_run::<W, M, REG>, plain_imm_run::<W, M, MEM>)
}

fn plain_by_run<W: Word, M: Memory, const KIND: u8, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let value = second::<W, M, P>(cpu, m, op)?;
    let by = low32(get::<W>(cpu, op.reg[2])) & (W::BITS - 1);
    let result = match KIND {
        0 => value << by,
        1 => value >> by,
        _ => (W::cut(value).sx().cast_signed() >> by).cast_unsigned(),
    };
    set::<W>(cpu, op.reg[0], result);
    Ok(())
}

/// SHLX (0), SHRX (1), SARX (2).
pub(crate) fn plain_by<W: Word, const KIND: u8, M: Memory>() -> Form<M> {
    Form::two(
        plain_by_run::<W, M, KIND, REG>,
        plain_by_run::<W, M, KIND, MEM>,
    )
}
