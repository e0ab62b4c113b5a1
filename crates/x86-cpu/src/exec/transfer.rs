//! Moves that set no flags: MOV, MOVZX, LEA, XCHG, CMOV, SETcc, BSWAP, sign extension, flag bytes.

use super::access::{Access, LOCK, MEM, Place, REG, get, linear, put, second, set};
use crate::fault::Step;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::Word;

fn rm_r_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let value = get::<W>(cpu, op.reg[1]);
    put::<W, M, P>(cpu, m, op, value)
}

fn rm_imm_run<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    put::<W, M, P>(cpu, m, op, op.imm)
}

fn r_rm_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let value = second::<W, M, P>(cpu, m, op)?;
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

/// MOV `r/m, r`.
pub(crate) fn rm_r<W: Word, M: Memory>() -> Form<M> {
    Form::two(rm_r_run::<W, M, REG>, rm_r_run::<W, M, MEM>)
}

/// MOV `r/m, imm`.
pub(crate) fn rm_imm<W: Word, M: Memory>() -> Form<M> {
    Form::two(rm_imm_run::<W, M, REG>, rm_imm_run::<W, M, MEM>)
}

/// MOV `r, r/m`.
pub(crate) fn r_rm<W: Word, M: Memory>() -> Form<M> {
    Form::two(r_rm_run::<W, M, REG>, r_rm_run::<W, M, MEM>)
}

fn zero_extend_run<W: Word, F: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let value = second::<F, M, P>(cpu, m, op)?;
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

fn sign_extend_run<W: Word, F: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let value = second::<F, M, P>(cpu, m, op)?;
    set::<W>(cpu, op.reg[0], F::cut(value).sx());
    Ok(())
}

/// MOVZX.
pub(crate) fn zero_extend<W: Word, F: Word, M: Memory>() -> Form<M> {
    Form::two(
        zero_extend_run::<W, F, M, REG>,
        zero_extend_run::<W, F, M, MEM>,
    )
}

/// MOVSX, MOVSXD.
pub(crate) fn sign_extend<W: Word, F: Word, M: Memory>() -> Form<M> {
    Form::two(
        sign_extend_run::<W, F, M, REG>,
        sign_extend_run::<W, F, M, MEM>,
    )
}

/// LEA.
pub(crate) fn lea<W: Word, M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    let value = op.offset(cpu);
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

fn swap_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let mine = get::<W>(cpu, op.reg[1]);
    let other = if P == REG {
        let other = get::<W>(cpu, op.reg[0]);
        set::<W>(cpu, op.reg[0], mine);
        other
    } else {
        let linear = linear(cpu, op, W::BYTES, Access::Write)?;
        m.update::<W>(cpu, linear, |_| mine)?
    };
    set::<W>(cpu, op.reg[1], other);
    Ok(())
}

/// XCHG: locked in memory with and without the prefix.
pub(crate) fn swap<W: Word, M: Memory>() -> Form<M> {
    Form::two(swap_run::<W, M, REG>, swap_run::<W, M, LOCK>).locked(swap_run::<W, M, LOCK>)
}

fn conditional_run<W: Word, M: Memory, const CC: u8, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let mut value = second::<W, M, P>(cpu, m, op)?;
    if !cpu.flags.condition::<CC>() {
        value = get::<W>(cpu, op.reg[0]);
    }
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

/// CMOVcc.
pub(crate) fn conditional<W: Word, const CC: u8, M: Memory>() -> Form<M> {
    Form::two(
        conditional_run::<W, M, CC, REG>,
        conditional_run::<W, M, CC, MEM>,
    )
}

fn set_byte_run<M: Memory, const CC: u8, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let value = u64::from(cpu.flags.condition::<CC>());
    put::<u8, M, P>(cpu, m, op, value)
}

/// SETcc.
pub(crate) fn set_byte<const CC: u8, M: Memory>() -> Form<M> {
    Form::two(set_byte_run::<M, CC, REG>, set_byte_run::<M, CC, MEM>)
}

/// BSWAP. Of 16 bits it is undefined; processors clear them.
pub(crate) fn byte_swap<W: Word, M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    let value = get::<W>(cpu, op.reg[0]);
    let swapped = if W::BITS == 16 {
        0
    } else {
        value.swap_bytes() >> (64 - W::BITS)
    };
    set::<W>(cpu, op.reg[0], swapped);
    Ok(())
}

/// MOVBE `r, m`.
pub(crate) fn load_swapped<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let value = second::<W, M, MEM>(cpu, m, op)?;
    set::<W>(cpu, op.reg[0], value.swap_bytes() >> (64 - W::BITS));
    Ok(())
}

/// MOVBE `m, r`.
pub(crate) fn store_swapped<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let value = get::<W>(cpu, op.reg[1]).swap_bytes() >> (64 - W::BITS);
    put::<W, M, MEM>(cpu, m, op, value)
}

/// CBW, CWDE, CDQE: `F` in the accumulator to `W`.
pub(crate) fn extend_accumulator<W: Word, F: Word, M: Memory>(
    cpu: &mut CpuState,
    _: &mut M,
    _: &Op<M>,
) -> Step {
    let value = F::cut(get::<F>(cpu, 0)).sx();
    set::<W>(cpu, 0, value);
    Ok(())
}

/// CWD, CDQ, CQO.
pub(crate) fn sign_to_dx<W: Word, M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    let value = if get::<W>(cpu, 0) & W::SIGN == 0 {
        0
    } else {
        W::MASK
    };
    set::<W>(cpu, 2, value);
    Ok(())
}

/// LAHF.
pub(crate) fn lahf<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    let value = cpu.flags.status() & 0xff | 2;
    set::<u8>(cpu, 0x10, value);
    Ok(())
}

/// SAHF.
pub(crate) fn sahf<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    let of = cpu.flags.status() & crate::flags::OF;
    let value = get::<u8>(cpu, 0x10);
    cpu.flags.set_status(value & crate::flags::STATUS | of);
    Ok(())
}

/// SALC: AL is CF.
pub(crate) fn salc<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    let value = if cpu.flags.cf() { 0xff } else { 0 };
    set::<u8>(cpu, 0, value);
    Ok(())
}

/// CLC, STC, CMC, CLD, STD: by iced's code.
pub(crate) fn flag<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    use iced_x86::Code;
    match op.code {
        Code::Clc => cpu.flags.set_cf(false),
        Code::Stc => cpu.flags.set_cf(true),
        Code::Cmc => {
            let carry = cpu.flags.cf();
            cpu.flags.set_cf(!carry);
        }
        Code::Cld => cpu.flags.system &= !crate::flags::DF,
        _ => cpu.flags.system |= crate::flags::DF,
    }
    Ok(())
}

/// XLAT.
pub(crate) fn xlat<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let al = get::<u8>(cpu, 0);
    let offset = op.cut_address(cpu.gpr[usize::from(op.base & 31)].wrapping_add(al));
    let linear = super::access::segmented(cpu, op.segment, offset, 1, Access::Read)?;
    let value = m.read::<u8>(cpu, linear)?;
    set::<u8>(cpu, 0, u64::from(value));
    Ok(())
}
