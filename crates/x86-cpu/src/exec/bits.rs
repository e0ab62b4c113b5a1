//! Bit instructions: BT and kin, scans, counts, BMI1, BMI2, CRC32.

use super::access::{Access, LOCK, MEM, Place, REG, get, modify, second, segmented, set};
use crate::fault::Step;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::{Word, low32};

/// BT.
pub(crate) const TEST: u8 = 0;
/// BTS.
pub(crate) const SET: u8 = 1;
/// BTR.
pub(crate) const RESET: u8 = 2;
/// BTC.
pub(crate) const FLIP: u8 = 3;

fn changed<const KIND: u8>(value: u64, bit: u64) -> u64 {
    match KIND {
        SET => value | bit,
        RESET => value & !bit,
        FLIP => value ^ bit,
        _ => value,
    }
}

fn bit_imm_run<W: Word, M: Memory, const KIND: u8, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let bit = 1 << (op.imm & u64::from(W::BITS - 1));
    if KIND == TEST {
        let value = super::access::first::<W, M, P>(cpu, m, op)?;
        cpu.flags.set_cf(value & bit != 0);
        return Ok(());
    }
    modify::<W, M, P>(cpu, m, op, |flags, value| {
        flags.set_cf(value & bit != 0);
        changed::<KIND>(value, bit)
    })
}

fn bit_reg_run<W: Word, M: Memory, const KIND: u8, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let number = get::<W>(cpu, op.reg[1]);
    let bit = 1 << (number & u64::from(W::BITS - 1));
    if P == REG {
        let value = get::<W>(cpu, op.reg[0]);
        cpu.flags.set_cf(value & bit != 0);
        if KIND != TEST {
            set::<W>(cpu, op.reg[0], changed::<KIND>(value, bit));
        }
        return Ok(());
    }
    // In memory the number may lead far away from the operand: it counts whole operands, signed.
    let words = W::cut(number).sx().cast_signed() >> W::BITS.trailing_zeros();
    let bytes = words.wrapping_mul(i64::from(W::BITS / 8));
    let offset = op.cut_address(op.offset(cpu).wrapping_add_signed(bytes));
    let access = if KIND == TEST {
        Access::Read
    } else {
        Access::Write
    };
    let linear = segmented(cpu, op.segment, offset, W::BYTES, access)?;
    let value = if KIND == TEST {
        m.read::<W>(cpu, linear)?.zx()
    } else if P == MEM {
        let value = m.read_to_write::<W>(cpu, linear)?.zx();
        m.write(cpu, linear, W::cut(changed::<KIND>(value, bit)))?;
        value
    } else {
        m.update::<W>(cpu, linear, |value| changed::<KIND>(value, bit))?
    };
    cpu.flags.set_cf(value & bit != 0);
    Ok(())
}

/// BT, BTS, BTR, BTC with an immediate.
pub(crate) fn bit_imm<W: Word, const KIND: u8, M: Memory>() -> Form<M> {
    let form = Form::two(
        bit_imm_run::<W, M, KIND, REG>,
        bit_imm_run::<W, M, KIND, MEM>,
    );
    if KIND == TEST {
        form
    } else {
        form.locked(bit_imm_run::<W, M, KIND, LOCK>)
    }
}

/// BT, BTS, BTR, BTC with a register.
pub(crate) fn bit_reg<W: Word, const KIND: u8, M: Memory>() -> Form<M> {
    let form = Form::two(
        bit_reg_run::<W, M, KIND, REG>,
        bit_reg_run::<W, M, KIND, MEM>,
    );
    if KIND == TEST {
        form
    } else {
        form.locked(bit_reg_run::<W, M, KIND, LOCK>)
    }
}

/// A function of one operand whose result goes to register 0.
pub(crate) trait Scan: 'static {
    /// `before` is the destination's value; sets flags.
    fn run<W: Word>(cpu: &mut CpuState, value: u64, before: u64) -> u64;
}

/// BSF.
pub(crate) struct Bsf;
/// BSR.
pub(crate) struct Bsr;
/// TZCNT.
pub(crate) struct Tzcnt;
/// LZCNT.
pub(crate) struct Lzcnt;
/// POPCNT.
pub(crate) struct Popcnt;

impl Scan for Bsf {
    fn run<W: Word>(cpu: &mut CpuState, value: u64, before: u64) -> u64 {
        cpu.flags.set_zf(value == 0);
        if value == 0 {
            before
        } else {
            u64::from(value.trailing_zeros())
        }
    }
}

impl Scan for Bsr {
    fn run<W: Word>(cpu: &mut CpuState, value: u64, before: u64) -> u64 {
        cpu.flags.set_zf(value == 0);
        if value == 0 {
            before
        } else {
            u64::from(63 - value.leading_zeros())
        }
    }
}

impl Scan for Tzcnt {
    fn run<W: Word>(cpu: &mut CpuState, value: u64, _: u64) -> u64 {
        let count = u64::from(value.trailing_zeros().min(W::BITS));
        cpu.flags.set_cf(value == 0);
        cpu.flags.set_zf(count == 0);
        count
    }
}

impl Scan for Lzcnt {
    fn run<W: Word>(cpu: &mut CpuState, value: u64, _: u64) -> u64 {
        let count = u64::from(value.leading_zeros() - (64 - W::BITS));
        cpu.flags.set_cf(value == 0);
        cpu.flags.set_zf(count == 0);
        count
    }
}

impl Scan for Popcnt {
    fn run<W: Word>(cpu: &mut CpuState, value: u64, _: u64) -> u64 {
        cpu.flags
            .set_status(if value == 0 { crate::flags::ZF } else { 0 });
        u64::from(value.count_ones())
    }
}

fn scan_run<W: Word, S: Scan, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let value = second::<W, M, P>(cpu, m, op)?;
    let before = cpu.gpr[usize::from(op.reg[0] & 15)];
    let result = S::run::<W>(cpu, value, before);
    // A source of zero leaves the whole register of BSF and BSR alone.
    if W::BITS == 32 && value == 0 && result == before {
        return Ok(());
    }
    set::<W>(cpu, op.reg[0], result);
    Ok(())
}

/// BSF, BSR, TZCNT, LZCNT, POPCNT.
pub(crate) fn scan<W: Word, S: Scan, M: Memory>() -> Form<M> {
    Form::two(scan_run::<W, S, M, REG>, scan_run::<W, S, M, MEM>)
}

/// Operand `n`: a register, or memory.
fn operand<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
    n: usize,
) -> Step<u64> {
    if P == REG {
        Ok(get::<W>(cpu, op.reg[n & 3]))
    } else {
        second::<W, M, P>(cpu, m, op)
    }
}

/// Flags of the BMI1 group: ZF and SF by the result, CF given, the rest zero.
fn bmi_flags<W: Word>(cpu: &mut CpuState, result: u64, carry: bool) {
    cpu.flags.set_logic::<W>(result);
    cpu.flags.set_cf(carry);
}

fn andn_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let b = operand::<W, M, P>(cpu, m, op, 2)?;
    let result = !get::<W>(cpu, op.reg[1]) & b;
    bmi_flags::<W>(cpu, result, false);
    set::<W>(cpu, op.reg[0], result);
    Ok(())
}

/// ANDN.
pub(crate) fn andn<W: Word, M: Memory>() -> Form<M> {
    Form::two(andn_run::<W, M, REG>, andn_run::<W, M, MEM>)
}

fn lowest_run<W: Word, M: Memory, const KIND: u8, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let value = operand::<W, M, P>(cpu, m, op, 1)?;
    let (result, carry) = match KIND {
        0 => (value & value.wrapping_neg(), value != 0),
        1 => (value ^ value.wrapping_sub(1), value == 0),
        _ => (value & value.wrapping_sub(1), value == 0),
    };
    bmi_flags::<W>(cpu, result & W::MASK, carry);
    set::<W>(cpu, op.reg[0], result);
    Ok(())
}

/// BLSI (0), BLSMSK (1), BLSR (2).
pub(crate) fn lowest<W: Word, const KIND: u8, M: Memory>() -> Form<M> {
    Form::two(lowest_run::<W, M, KIND, REG>, lowest_run::<W, M, KIND, MEM>)
}

fn bextr_run<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let value = operand::<W, M, P>(cpu, m, op, 1)?;
    let control = cpu.gpr[usize::from(op.reg[2] & 15)];
    let (start, length) = (low32(control & 0xff), low32(control >> 8 & 0xff));
    let moved = value.checked_shr(start).unwrap_or(0);
    let result = if length >= 64 {
        moved
    } else {
        moved & ((1 << length) - 1)
    };
    cpu.flags
        .set_status(if result == 0 { crate::flags::ZF } else { 0 });
    set::<W>(cpu, op.reg[0], result);
    Ok(())
}

/// BEXTR.
pub(crate) fn bextr<W: Word, M: Memory>() -> Form<M> {
    Form::two(bextr_run::<W, M, REG>, bextr_run::<W, M, MEM>)
}

fn bzhi_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let value = operand::<W, M, P>(cpu, m, op, 1)?;
    let bit = low32(cpu.gpr[usize::from(op.reg[2] & 15)] & 0xff);
    let result = if bit >= W::BITS {
        value
    } else {
        value & ((1 << bit) - 1)
    };
    bmi_flags::<W>(cpu, result, bit >= W::BITS);
    set::<W>(cpu, op.reg[0], result);
    Ok(())
}

/// BZHI.
pub(crate) fn bzhi<W: Word, M: Memory>() -> Form<M> {
    Form::two(bzhi_run::<W, M, REG>, bzhi_run::<W, M, MEM>)
}

fn deposit(value: u64, mut mask: u64) -> u64 {
    let (mut result, mut rest) = (0, value);
    while mask != 0 {
        let lowest = mask & mask.wrapping_neg();
        if rest & 1 != 0 {
            result |= lowest;
        }
        rest >>= 1;
        mask ^= lowest;
    }
    result
}

fn extract(value: u64, mut mask: u64) -> u64 {
    let (mut result, mut bit) = (0, 1u64);
    while mask != 0 {
        let lowest = mask & mask.wrapping_neg();
        if value & lowest != 0 {
            result |= bit;
        }
        bit = bit.wrapping_shl(1);
        mask ^= lowest;
    }
    result
}

fn scatter_run<W: Word, M: Memory, const DEPOSIT: bool, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let mask = operand::<W, M, P>(cpu, m, op, 2)?;
    let value = get::<W>(cpu, op.reg[1]);
    let result = if DEPOSIT {
        deposit(value, mask)
    } else {
        extract(value, mask)
    };
    set::<W>(cpu, op.reg[0], result);
    Ok(())
}

/// PDEP, PEXT.
pub(crate) fn scatter<W: Word, const DEPOSIT: bool, M: Memory>() -> Form<M> {
    Form::two(
        scatter_run::<W, M, DEPOSIT, REG>,
        scatter_run::<W, M, DEPOSIT, MEM>,
    )
}

/// CRC-32C of one byte, bits reflected.
fn crc_byte(crc: u32, byte: u8) -> u32 {
    let mut crc = crc ^ u32::from(byte);
    for _ in 0..8 {
        crc = crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0x82f6_3b78 };
    }
    crc
}

fn crc_run<W: Word, F: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let value = second::<F, M, P>(cpu, m, op)?;
    let mut crc = low32(cpu.gpr[usize::from(op.reg[0] & 15)]);
    for byte in value.to_le_bytes().into_iter().take(F::BYTES) {
        crc = crc_byte(crc, byte);
    }
    set::<W>(cpu, op.reg[0], u64::from(crc));
    Ok(())
}

/// CRC32 of an `F` into a register of `W`.
pub(crate) fn crc<W: Word, F: Word, M: Memory>() -> Form<M> {
    Form::two(crc_run::<W, F, M, REG>, crc_run::<W, F, M, MEM>)
}
