//! String instructions, with their repetition.
//!
//! Each step is complete in itself: a fault leaves the registers where that step began. Long repetitions look
//! now and then whether an interrupt waits.

use super::access::{Access, get, segmented, set};
use super::system::io;
use crate::fault::{Step, Trap};
use crate::flags::{DF, TF};
use crate::isa::{Op, op};
use crate::memory::Memory;
use crate::state::{CpuState, seg};
use crate::word::{Word, low8};

/// RCX, RSI, RDI.
const COUNT: u8 = 1;
const SOURCE: u8 = 6;
const TARGET: u8 = 7;

/// Steps between two looks for interrupts.
const PATIENCE: u32 = 1024;

/// Sets a register by the address size.
#[inline(always)]
fn set_address<M>(cpu: &mut CpuState, op: &Op<M>, register: u8, value: u64) {
    match op.address_shift {
        48 => set::<u16>(cpu, register, value),
        32 => set::<u32>(cpu, register, value),
        _ => cpu.gpr[usize::from(register & 15)] = value,
    }
}

#[inline(always)]
fn address<M>(cpu: &CpuState, op: &Op<M>, register: u8) -> u64 {
    op.cut_address(cpu.gpr[usize::from(register & 15)])
}

/// Moves an address register by one operand.
#[inline(always)]
fn advance<W: Word, M>(cpu: &mut CpuState, op: &Op<M>, register: u8) {
    let by = i64::from(W::BITS / 8);
    let by = if cpu.flags.has(DF) { -by } else { by };
    let value = cpu.gpr[usize::from(register & 15)].wrapping_add_signed(by);
    set_address(cpu, op, register, value);
}

/// The segment that (E)DI means.
#[inline(always)]
fn target_segment(cpu: &CpuState) -> u8 {
    low8(if cpu.long_code() { seg::FLAT } else { seg::ES } as u64)
}

#[inline(always)]
fn source<W: Word, M>(cpu: &mut CpuState, op: &Op<M>, access: Access) -> Step<u64> {
    let offset = address(cpu, op, SOURCE);
    segmented(cpu, op.segment, offset, W::BYTES, access)
}

#[inline(always)]
fn target<W: Word, M>(cpu: &mut CpuState, op: &Op<M>, access: Access) -> Step<u64> {
    let offset = address(cpu, op, TARGET);
    segmented(cpu, target_segment(cpu), offset, W::BYTES, access)
}

/// Whether a debug trap is due after this step.
#[inline(always)]
fn trapped(cpu: &CpuState) -> bool {
    cpu.flags.has(TF) || cpu.debug_hits != 0
}

/// Runs `step` once, or with REP as often as the count says.
#[inline(always)]
fn repeat<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
    mut step: impl FnMut(&mut CpuState, &mut M) -> Step,
) -> Step {
    if !op.has(op::REP | op::REPNE) {
        return step(cpu, m);
    }
    let mut left = PATIENCE;
    loop {
        let count = address(cpu, op, COUNT);
        if count == 0 {
            return Ok(());
        }
        if left == 0 && m.wanted() {
            return Err(Trap::Again);
        }
        left = left.checked_sub(1).unwrap_or(PATIENCE);
        step(cpu, m)?;
        // The step may have done more than one.
        let count = address(cpu, op, COUNT).wrapping_sub(1);
        set_address(cpu, op, COUNT, count);
        if trapped(cpu) && op.cut_address(count) != 0 {
            return Err(Trap::Again);
        }
    }
}

/// How many steps from `offset` upwards stay in the address size and need no segment check.
fn run_length<W: Word, M>(cpu: &CpuState, op: &Op<M>, segment: u8, offset: u64, count: u64) -> u64 {
    if cpu.flags.has(DF | TF) || !cpu.seg[usize::from(segment & 7)].unchecked {
        return 0;
    }
    let room = op.cut_address(u64::MAX) - offset;
    count.min(room / u64::from(W::BITS / 8))
}

/// MOVS.
pub(crate) fn movs<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    repeat(cpu, m, op, |cpu, m| {
        let from = source::<W, M>(cpu, op, Access::Read)?;
        let to = target::<W, M>(cpu, op, Access::Write)?;
        let value = m.read::<W>(cpu, from)?;
        m.write(cpu, to, value)?;
        advance::<W, M>(cpu, op, SOURCE);
        advance::<W, M>(cpu, op, TARGET);
        if op.has(op::REP | op::REPNE) {
            copy_rest::<W, M>(cpu, m, op);
        }
        Ok(())
    })
}

/// After a step of REP MOVS that did not fault: as many more as lie in the same pages, but not the last.
fn copy_rest<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) {
    let count = address(cpu, op, COUNT).saturating_sub(2);
    let (from, to) = (address(cpu, op, SOURCE), address(cpu, op, TARGET));
    let count = run_length::<W, M>(cpu, op, op.segment, from, count);
    let count = run_length::<W, M>(cpu, op, target_segment(cpu), to, count);
    if count < 4 {
        return;
    }
    let from_linear = cpu.seg[usize::from(op.segment & 7)].base.wrapping_add(from);
    let to_linear = cpu.seg[usize::from(target_segment(cpu) & 7)]
        .base
        .wrapping_add(to);
    let done = m.copy(cpu, from_linear, to_linear, W::BYTES, count);
    let bytes = done * u64::from(W::BITS / 8);
    set_address(cpu, op, SOURCE, from.wrapping_add(bytes));
    set_address(cpu, op, TARGET, to.wrapping_add(bytes));
    let left = address(cpu, op, COUNT).wrapping_sub(done);
    set_address(cpu, op, COUNT, left);
}

/// STOS.
pub(crate) fn stos<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    repeat(cpu, m, op, |cpu, m| {
        let to = target::<W, M>(cpu, op, Access::Write)?;
        let value = get::<W>(cpu, 0);
        m.write(cpu, to, W::cut(value))?;
        advance::<W, M>(cpu, op, TARGET);
        if op.has(op::REP | op::REPNE) {
            fill_rest::<W, M>(cpu, m, op);
        }
        Ok(())
    })
}

/// As [`copy_rest`], for REP STOS.
fn fill_rest<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) {
    let count = address(cpu, op, COUNT).saturating_sub(2);
    let to = address(cpu, op, TARGET);
    let count = run_length::<W, M>(cpu, op, target_segment(cpu), to, count);
    if count < 4 {
        return;
    }
    let linear = cpu.seg[usize::from(target_segment(cpu) & 7)]
        .base
        .wrapping_add(to);
    let done = m.fill(cpu, linear, cpu.gpr[0], W::BYTES, count);
    set_address(
        cpu,
        op,
        TARGET,
        to.wrapping_add(done * u64::from(W::BITS / 8)),
    );
    let left = address(cpu, op, COUNT).wrapping_sub(done);
    set_address(cpu, op, COUNT, left);
}

/// LODS.
pub(crate) fn lods<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    repeat(cpu, m, op, |cpu, m| {
        let from = source::<W, M>(cpu, op, Access::Read)?;
        let value = m.read::<W>(cpu, from)?;
        set::<W>(cpu, 0, value.zx());
        advance::<W, M>(cpu, op, SOURCE);
        Ok(())
    })
}

/// Runs a comparing step with REPE or REPNE: until the count is used up or ZF says so.
#[inline(always)]
fn repeat_while<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
    mut step: impl FnMut(&mut CpuState, &mut M) -> Step,
) -> Step {
    if !op.has(op::REP | op::REPNE) {
        return step(cpu, m);
    }
    let mut left = PATIENCE;
    loop {
        let count = address(cpu, op, COUNT);
        if count == 0 {
            return Ok(());
        }
        if left == 0 && m.wanted() {
            return Err(Trap::Again);
        }
        left = left.checked_sub(1).unwrap_or(PATIENCE);
        step(cpu, m)?;
        let count = count.wrapping_sub(1);
        set_address(cpu, op, COUNT, count);
        if cpu.flags.zf() != op.has(op::REP) {
            return Ok(());
        }
        if trapped(cpu) && op.cut_address(count) != 0 {
            return Err(Trap::Again);
        }
    }
}

/// CMPS.
pub(crate) fn cmps<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    use super::alu::{Binary, Sub};
    repeat_while(cpu, m, op, |cpu, m| {
        let from = source::<W, M>(cpu, op, Access::Read)?;
        let to = target::<W, M>(cpu, op, Access::Read)?;
        // When both fault, it is the second operand's fault that shows.
        let b = m.read::<W>(cpu, to)?.zx();
        let a = m.read::<W>(cpu, from)?.zx();
        Sub::run::<W>(&mut cpu.flags, a, b);
        advance::<W, M>(cpu, op, SOURCE);
        advance::<W, M>(cpu, op, TARGET);
        Ok(())
    })
}

/// SCAS.
pub(crate) fn scas<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    use super::alu::{Binary, Sub};
    repeat_while(cpu, m, op, |cpu, m| {
        let to = target::<W, M>(cpu, op, Access::Read)?;
        let b = m.read::<W>(cpu, to)?.zx();
        let a = get::<W>(cpu, 0);
        Sub::run::<W>(&mut cpu.flags, a, b);
        advance::<W, M>(cpu, op, TARGET);
        Ok(())
    })
}

/// INS.
pub(crate) fn ins<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    repeat(cpu, m, op, |cpu, m| {
        let port = crate::word::low16(cpu.gpr[2]);
        io::check(cpu, m, port, W::BYTES)?;
        let to = target::<W, M>(cpu, op, Access::Write)?;
        m.check_write(cpu, to, W::BYTES)?;
        let value = m.port_in(port, W::BYTES);
        m.write(cpu, to, W::cut(u64::from(value)))?;
        advance::<W, M>(cpu, op, TARGET);
        Ok(())
    })
}

/// OUTS.
pub(crate) fn outs<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    repeat(cpu, m, op, |cpu, m| {
        let port = crate::word::low16(cpu.gpr[2]);
        io::check(cpu, m, port, W::BYTES)?;
        let from = source::<W, M>(cpu, op, Access::Read)?;
        let value = m.read::<W>(cpu, from)?;
        m.port_out(port, W::BYTES, crate::word::low32(value.zx()));
        advance::<W, M>(cpu, op, SOURCE);
        Ok(())
    })
}
