//! Addition, subtraction, logic, comparison.

use super::access::{LOCK, MEM, Place, REG, first, get, modify, second, set};
use crate::fault::Step;
use crate::flags::Flags;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::Word;

/// An operation of two operands.
pub(crate) trait Binary: 'static {
    /// Result of `a op b`, and its flags.
    fn run<W: Word>(flags: &mut Flags, a: u64, b: u64) -> u64;
}

/// ADD.
pub(crate) struct Add;
/// ADC.
pub(crate) struct Adc;
/// SUB and CMP.
pub(crate) struct Sub;
/// SBB.
pub(crate) struct Sbb;
/// AND and TEST.
pub(crate) struct And;
/// OR.
pub(crate) struct Or;
/// XOR.
pub(crate) struct Xor;

#[inline(always)]
fn add<W: Word>(flags: &mut Flags, a: u64, b: u64, carry: u64) -> u64 {
    let result = a.wrapping_add(b).wrapping_add(carry);
    flags.set_carries::<W>(result, a & b | (a | b) & !result);
    result & W::MASK
}

#[inline(always)]
fn sub<W: Word>(flags: &mut Flags, a: u64, b: u64, borrow: u64) -> u64 {
    let result = a.wrapping_sub(b).wrapping_sub(borrow);
    flags.set_carries::<W>(result, !a & b | (!a | b) & result);
    result & W::MASK
}

impl Binary for Add {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, b: u64) -> u64 {
        add::<W>(flags, a, b, 0)
    }
}

impl Binary for Adc {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, b: u64) -> u64 {
        let carry = u64::from(flags.cf());
        add::<W>(flags, a, b, carry)
    }
}

impl Binary for Sub {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, b: u64) -> u64 {
        sub::<W>(flags, a, b, 0)
    }
}

impl Binary for Sbb {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, b: u64) -> u64 {
        let borrow = u64::from(flags.cf());
        sub::<W>(flags, a, b, borrow)
    }
}

impl Binary for And {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, b: u64) -> u64 {
        flags.set_logic::<W>(a & b);
        a & b
    }
}

impl Binary for Or {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, b: u64) -> u64 {
        flags.set_logic::<W>(a | b);
        a | b
    }
}

impl Binary for Xor {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64, b: u64) -> u64 {
        flags.set_logic::<W>(a ^ b);
        a ^ b
    }
}

fn rm_r_run<W: Word, B: Binary, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let b = get::<W>(cpu, op.reg[1]);
    modify::<W, M, P>(cpu, m, op, |flags, a| B::run::<W>(flags, a, b))
}

fn rm_imm_run<W: Word, B: Binary, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let b = op.imm & W::MASK;
    modify::<W, M, P>(cpu, m, op, |flags, a| B::run::<W>(flags, a, b))
}

fn r_rm_run<W: Word, B: Binary, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let b = second::<W, M, P>(cpu, m, op)?;
    let a = get::<W>(cpu, op.reg[0]);
    let result = B::run::<W>(&mut cpu.flags, a, b);
    set::<W>(cpu, op.reg[0], result);
    Ok(())
}

fn compare_rm_r_run<W: Word, B: Binary, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let a = first::<W, M, P>(cpu, m, op)?;
    let b = get::<W>(cpu, op.reg[1]);
    B::run::<W>(&mut cpu.flags, a, b);
    Ok(())
}

fn compare_r_rm_run<W: Word, B: Binary, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let b = second::<W, M, P>(cpu, m, op)?;
    let a = get::<W>(cpu, op.reg[0]);
    B::run::<W>(&mut cpu.flags, a, b);
    Ok(())
}

fn compare_imm_run<W: Word, B: Binary, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let a = first::<W, M, P>(cpu, m, op)?;
    B::run::<W>(&mut cpu.flags, a, op.imm & W::MASK);
    Ok(())
}

/// `op r/m, r`.
pub(crate) fn rm_r<W: Word, B: Binary, M: Memory>() -> Form<M> {
    Form::two(rm_r_run::<W, B, M, REG>, rm_r_run::<W, B, M, MEM>).locked(rm_r_run::<W, B, M, LOCK>)
}

/// `op r, r/m`.
pub(crate) fn r_rm<W: Word, B: Binary, M: Memory>() -> Form<M> {
    Form::two(r_rm_run::<W, B, M, REG>, r_rm_run::<W, B, M, MEM>)
}

/// `op r/m, imm`.
pub(crate) fn rm_imm<W: Word, B: Binary, M: Memory>() -> Form<M> {
    Form::two(rm_imm_run::<W, B, M, REG>, rm_imm_run::<W, B, M, MEM>)
        .locked(rm_imm_run::<W, B, M, LOCK>)
}

/// CMP, TEST `r/m, r`.
pub(crate) fn compare_rm_r<W: Word, B: Binary, M: Memory>() -> Form<M> {
    Form::two(
        compare_rm_r_run::<W, B, M, REG>,
        compare_rm_r_run::<W, B, M, MEM>,
    )
}

/// CMP `r, r/m`.
pub(crate) fn compare_r_rm<W: Word, B: Binary, M: Memory>() -> Form<M> {
    Form::two(
        compare_r_rm_run::<W, B, M, REG>,
        compare_r_rm_run::<W, B, M, MEM>,
    )
}

/// CMP, TEST `r/m, imm`.
pub(crate) fn compare_imm<W: Word, B: Binary, M: Memory>() -> Form<M> {
    Form::two(
        compare_imm_run::<W, B, M, REG>,
        compare_imm_run::<W, B, M, MEM>,
    )
}

/// An operation of one operand.
pub(crate) trait Unary: 'static {
    /// Result, and its flags.
    fn run<W: Word>(flags: &mut Flags, a: u64) -> u64;
}

/// INC.
pub(crate) struct Inc;
/// DEC.
pub(crate) struct Dec;
/// NEG.
pub(crate) struct Neg;
/// NOT.
pub(crate) struct Not;

impl Unary for Inc {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64) -> u64 {
        let carry = flags.cf();
        let result = add::<W>(flags, a, 1, 0);
        flags.set_cf(carry);
        flags.set_of(result == W::SIGN);
        result
    }
}

impl Unary for Dec {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64) -> u64 {
        let carry = flags.cf();
        let result = sub::<W>(flags, a, 1, 0);
        flags.set_cf(carry);
        flags.set_of(a == W::SIGN);
        result
    }
}

impl Unary for Neg {
    #[inline(always)]
    fn run<W: Word>(flags: &mut Flags, a: u64) -> u64 {
        sub::<W>(flags, 0, a, 0)
    }
}

impl Unary for Not {
    #[inline(always)]
    fn run<W: Word>(_: &mut Flags, a: u64) -> u64 {
        !a & W::MASK
    }
}

fn unary_run<W: Word, U: Unary, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    modify::<W, M, P>(cpu, m, op, |flags, a| U::run::<W>(flags, a))
}

/// `op r/m`.
pub(crate) fn unary<W: Word, U: Unary, M: Memory>() -> Form<M> {
    Form::two(unary_run::<W, U, M, REG>, unary_run::<W, U, M, MEM>)
        .locked(unary_run::<W, U, M, LOCK>)
}

fn xadd_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let b = get::<W>(cpu, op.reg[1]);
    if P == REG {
        let a = get::<W>(cpu, op.reg[0]);
        let sum = add::<W>(&mut cpu.flags, a, b, 0);
        set::<W>(cpu, op.reg[1], a);
        set::<W>(cpu, op.reg[0], sum);
        return Ok(());
    }
    let linear = super::access::linear(cpu, op, W::BYTES, super::access::Access::Write)?;
    let a = if P == MEM {
        let a = m.read_to_write::<W>(cpu, linear)?.zx();
        m.write(cpu, linear, W::cut(a.wrapping_add(b)))?;
        a
    } else {
        m.update::<W>(cpu, linear, |a| a.wrapping_add(b))?
    };
    add::<W>(&mut cpu.flags, a, b, 0);
    set::<W>(cpu, op.reg[1], a);
    Ok(())
}

/// XADD.
pub(crate) fn xadd<W: Word, M: Memory>() -> Form<M> {
    Form::two(xadd_run::<W, M, REG>, xadd_run::<W, M, MEM>).locked(xadd_run::<W, M, LOCK>)
}

fn cmpxchg_run<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let new = get::<W>(cpu, op.reg[1]);
    let expected = get::<W>(cpu, 0);
    if P == REG {
        let old = get::<W>(cpu, op.reg[0]);
        sub::<W>(&mut cpu.flags, expected, old, 0);
        if old == expected {
            set::<W>(cpu, op.reg[0], new);
        } else {
            set::<W>(cpu, 0, old);
        }
        return Ok(());
    }
    let linear = super::access::linear(cpu, op, W::BYTES, super::access::Access::Write)?;
    let choose = |old: u64| if old == expected { new } else { old };
    let old = if P == MEM {
        let old = m.read_to_write::<W>(cpu, linear)?.zx();
        m.write(cpu, linear, W::cut(choose(old)))?;
        old
    } else {
        m.update::<W>(cpu, linear, choose)?
    };
    sub::<W>(&mut cpu.flags, expected, old, 0);
    if old != expected {
        set::<W>(cpu, 0, old);
    }
    Ok(())
}

/// CMPXCHG.
pub(crate) fn cmpxchg<W: Word, M: Memory>() -> Form<M> {
    Form::two(cmpxchg_run::<W, M, REG>, cmpxchg_run::<W, M, MEM>).locked(cmpxchg_run::<W, M, LOCK>)
}

fn add_carry_run<W: Word, const OVERFLOW: bool, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let b = second::<W, M, P>(cpu, m, op)?;
    let a = get::<W>(cpu, op.reg[0]);
    let carry = if OVERFLOW {
        cpu.flags.of()
    } else {
        cpu.flags.cf()
    };
    let sum = u128::from(a) + u128::from(b) + u128::from(carry);
    let out = sum >> W::BITS != 0;
    if OVERFLOW {
        cpu.flags.set_of(out);
    } else {
        cpu.flags.set_cf(out);
    }
    set::<W>(cpu, op.reg[0], crate::word::low64(sum));
    Ok(())
}

/// ADCX, ADOX.
pub(crate) fn add_carry<W: Word, const OVERFLOW: bool, M: Memory>() -> Form<M> {
    Form::two(
        add_carry_run::<W, OVERFLOW, M, REG>,
        add_carry_run::<W, OVERFLOW, M, MEM>,
    )
}

/// AAA, AAS, DAA, DAS, AAM, AAD: by iced's code.
pub(crate) fn decimal<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    use iced_x86::Code;
    let (al, ah) = (get::<u8>(cpu, 0), get::<u8>(cpu, 0x10));
    let low = al & 0xf > 9 || cpu.flags.af();
    match op.code {
        Code::Aaa | Code::Aas => {
            let ax = get::<u16>(cpu, 0);
            if low {
                let moved = if op.code == Code::Aaa {
                    ax.wrapping_add(0x106)
                } else {
                    ax.wrapping_sub(0x106)
                };
                set::<u16>(cpu, 0, moved);
            }
            let al = get::<u8>(cpu, 0);
            cpu.flags.set_logic::<u8>(al);
            cpu.flags.set_cf_of(low, false);
            cpu.flags.set_af(low);
            set::<u8>(cpu, 0, al & 0xf);
        }
        Code::Daa | Code::Das => {
            let high = al > 0x99 || cpu.flags.cf();
            let by = (if low { 6 } else { 0 }) + (if high { 0x60 } else { 0 });
            let result = if op.code == Code::Daa {
                al.wrapping_add(by)
            } else {
                al.wrapping_sub(by)
            };
            let carry = high || op.code == Code::Das && low && al < 6;
            set::<u8>(cpu, 0, result);
            cpu.flags.set_logic::<u8>(result);
            cpu.flags.set_cf_of(carry, false);
            cpu.flags.set_af(low);
        }
        Code::Aam_imm8 => {
            let by = op.imm & 0xff;
            if by == 0 {
                return Err(cpu.raise(crate::fault::DE, 0));
            }
            set::<u16>(cpu, 0, ((al / by) << 8) | (al % by));
            cpu.flags.set_logic::<u8>(al % by);
        }
        _ => {
            let result = al.wrapping_add(ah.wrapping_mul(op.imm & 0xff)) & 0xff;
            set::<u16>(cpu, 0, result);
            cpu.flags.set_logic::<u8>(result);
        }
    }
    Ok(())
}
