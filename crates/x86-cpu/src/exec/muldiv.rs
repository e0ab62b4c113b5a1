//! Multiplication and division.

use super::access::{MEM, Place, REG, first, get, second, set};
use crate::fault::{self, Step};
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::{Word, low64};

/// Lower and upper half of an unsigned product.
fn product<W: Word>(a: u64, b: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b);
    (low64(wide) & W::MASK, low64(wide >> W::BITS) & W::MASK)
}

/// Lower and upper half of a signed product, and whether the lower half alone is not enough.
fn signed_product<W: Word>(a: u64, b: u64) -> (u64, u64, bool) {
    let extend = |value: u64| i128::from(W::cut(value).sx().cast_signed());
    let wide = extend(a) * extend(b);
    let low = low64(wide.cast_unsigned()) & W::MASK;
    let high = low64((wide >> W::BITS).cast_unsigned()) & W::MASK;
    (low, high, extend(low) != wide)
}

/// Puts a double-width result into AX, or into DX and AX.
fn set_pair<W: Word>(cpu: &mut CpuState, low: u64, high: u64) {
    if W::BITS == 8 {
        set::<u16>(cpu, 0, high << 8 | low);
    } else {
        set::<W>(cpu, 0, low);
        set::<W>(cpu, 2, high);
    }
}

fn mul_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let b = first::<W, M, P>(cpu, m, op)?;
    let (low, high) = product::<W>(get::<W>(cpu, 0), b);
    set_pair::<W>(cpu, low, high);
    // SF, ZF, AF and PF are undefined; they stay.
    let af = cpu.flags.af();
    cpu.flags.set_cf_of(high != 0, high != 0);
    cpu.flags.set_af(af);
    Ok(())
}

fn imul_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let b = first::<W, M, P>(cpu, m, op)?;
    let (low, high, over) = signed_product::<W>(get::<W>(cpu, 0), b);
    set_pair::<W>(cpu, low, high);
    let af = cpu.flags.af();
    cpu.flags.set_cf_of(over, over);
    cpu.flags.set_af(af);
    Ok(())
}

/// MUL.
pub(crate) fn mul<W: Word, M: Memory>() -> Form<M> {
    Form::two(mul_run::<W, M, REG>, mul_run::<W, M, MEM>)
}

/// IMUL with one operand.
pub(crate) fn imul<W: Word, M: Memory>() -> Form<M> {
    Form::two(imul_run::<W, M, REG>, imul_run::<W, M, MEM>)
}

fn imul_into<W: Word>(cpu: &mut CpuState, register: u8, a: u64, b: u64) {
    let (low, _, over) = signed_product::<W>(a, b);
    set::<W>(cpu, register, low);
    let af = cpu.flags.af();
    cpu.flags.set_cf_of(over, over);
    cpu.flags.set_af(af);
}

fn imul_two_run<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let b = second::<W, M, P>(cpu, m, op)?;
    let a = get::<W>(cpu, op.reg[0]);
    imul_into::<W>(cpu, op.reg[0], a, b);
    Ok(())
}

fn imul_three_run<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let a = second::<W, M, P>(cpu, m, op)?;
    imul_into::<W>(cpu, op.reg[0], a, op.imm & W::MASK);
    Ok(())
}

/// IMUL `r, r/m`.
pub(crate) fn imul_two<W: Word, M: Memory>() -> Form<M> {
    Form::two(imul_two_run::<W, M, REG>, imul_two_run::<W, M, MEM>)
}

/// IMUL `r, r/m, imm`.
pub(crate) fn imul_three<W: Word, M: Memory>() -> Form<M> {
    Form::two(imul_three_run::<W, M, REG>, imul_three_run::<W, M, MEM>)
}

fn mulx_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let b = if P == REG {
        get::<W>(cpu, op.reg[2])
    } else {
        second::<W, M, P>(cpu, m, op)?
    };
    let (low, high) = product::<W>(get::<W>(cpu, 2), b);
    set::<W>(cpu, op.reg[1], low);
    set::<W>(cpu, op.reg[0], high);
    Ok(())
}

/// MULX.
pub(crate) fn mulx<W: Word, M: Memory>() -> Form<M> {
    Form::two(mulx_run::<W, M, REG>, mulx_run::<W, M, MEM>)
}

/// The dividend: AX, or DX and AX.
fn dividend<W: Word>(cpu: &CpuState) -> u128 {
    if W::BITS == 8 {
        u128::from(get::<u16>(cpu, 0))
    } else {
        u128::from(get::<W>(cpu, 2)) << W::BITS | u128::from(get::<W>(cpu, 0))
    }
}

fn set_quotient<W: Word>(cpu: &mut CpuState, quotient: u64, remainder: u64) {
    set_pair::<W>(cpu, quotient & W::MASK, remainder & W::MASK);
}

fn div_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let by = u128::from(first::<W, M, P>(cpu, m, op)?);
    let value = dividend::<W>(cpu);
    if W::BITS <= 32 || value >> 64 == 0 {
        // One host division where the dividend fits.
        let (value, by) = (low64(value), low64(by));
        match (value.checked_div(by), value.checked_rem(by)) {
            (Some(quotient), Some(remainder)) if quotient <= W::MASK => {
                set_quotient::<W>(cpu, quotient, remainder);
                return Ok(());
            }
            _ => return Err(cpu.raise(fault::DE, 0)),
        }
    }
    match (value.checked_div(by), value.checked_rem(by)) {
        (Some(quotient), Some(remainder)) if quotient <= u128::from(W::MASK) => {
            set_quotient::<W>(cpu, low64(quotient), low64(remainder));
            Ok(())
        }
        _ => Err(cpu.raise(fault::DE, 0)),
    }
}

fn idiv_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let by = i128::from(W::cut(first::<W, M, P>(cpu, m, op)?).sx().cast_signed());
    let spare = 128 - 2 * W::BITS;
    let value = dividend::<W>(cpu).cast_signed() << spare >> spare;
    let least = -i128::from(W::SIGN);
    let most = i128::from(W::SIGN - 1);
    match (value.checked_div(by), value.checked_rem(by)) {
        (Some(quotient), Some(remainder)) if (least..=most).contains(&quotient) => {
            set_quotient::<W>(
                cpu,
                low64(quotient.cast_unsigned()),
                low64(remainder.cast_unsigned()),
            );
            Ok(())
        }
        _ => Err(cpu.raise(fault::DE, 0)),
    }
}

/// DIV.
pub(crate) fn div<W: Word, M: Memory>() -> Form<M> {
    Form::two(div_run::<W, M, REG>, div_run::<W, M, MEM>)
}

/// IDIV.
pub(crate) fn idiv<W: Word, M: Memory>() -> Form<M> {
    Form::two(idiv_run::<W, M, REG>, idiv_run::<W, M, MEM>)
}
