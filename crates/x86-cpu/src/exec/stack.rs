//! PUSH, POP and their kin, ENTER, LEAVE.

use super::access::{
    MEM, Place, REG, first, get, load, pop, push, put, segmented, set, set_stack, stack_moved,
    stack_read, stack_write,
};
use crate::fault::{self, Step};
use crate::flags;
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::{CpuState, cr, reg};
use crate::word::{Word, low8, low32};

fn push_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let value = first::<W, M, P>(cpu, m, op)?;
    push(cpu, m, W::cut(value))
}

/// PUSH `r/m`.
pub(crate) fn push_value<W: Word, M: Memory>() -> Form<M> {
    Form::two(push_run::<W, M, REG>, push_run::<W, M, MEM>)
}

/// PUSH `imm`.
pub(crate) fn push_imm<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    push(cpu, m, W::cut(op.imm))
}

/// PUSH of a segment register: 32 and 64-bit pushes of old processors wrote only the selector; ours write zeros above.
pub(crate) fn push_segment<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let selector = cpu.seg[usize::from(op.reg[0] & 7)].selector;
    push(cpu, m, W::cut(u64::from(selector)))
}

/// POP of a register.
pub(crate) fn pop_register<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let value = pop::<W, M>(cpu, m)?.zx();
    set::<W>(cpu, op.reg[0], value);
    Ok(())
}

/// POP `r/m`: an address based on the stack pointer uses its value after the pop.
fn pop_memory<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let before = cpu.gpr[reg::RSP];
    let value = pop::<W, M>(cpu, m)?.zx();
    put::<W, M, MEM>(cpu, m, op, value).inspect_err(|_| cpu.gpr[reg::RSP] = before)
}

/// POP `r/m`.
pub(crate) fn pop_value<W: Word, M: Memory>() -> Form<M> {
    Form::two(pop_register::<W, M>, pop_memory::<W, M>)
}

/// PUSHA.
pub(crate) fn push_all<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    let step = i64::from(W::BITS / 8);
    for n in 0..8u8 {
        let value = get::<W>(cpu, n);
        let at = stack_moved(cpu, -step * (i64::from(n) + 1));
        stack_write(cpu, m, at, W::cut(value))?;
    }
    set_stack(cpu, stack_moved(cpu, -step * 8));
    Ok(())
}

/// POPA.
pub(crate) fn pop_all<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    let step = i64::from(W::BITS / 8);
    let mut values = [0; 8];
    for (n, value) in (0..).zip(values.iter_mut()) {
        let at = stack_moved(cpu, step * n);
        *value = stack_read::<W, M>(cpu, m, at)?.zx();
    }
    for (n, value) in (0..8u8).zip(values.iter().rev()) {
        if usize::from(n) != reg::RSP {
            set::<W>(cpu, n, *value);
        }
    }
    set_stack(cpu, stack_moved(cpu, step * 8));
    Ok(())
}

/// PUSHF.
pub(crate) fn push_flags<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    let mut image = cpu.flags.get() & !(flags::RF | flags::VM);
    if cpu.v86() && cpu.iopl() < 3 {
        if W::BITS != 16 || cpu.cr4 & cr::VME == 0 {
            return Err(cpu.gp());
        }
        image |= flags::IOPL;
        image = image & !flags::IF | (image & flags::VIF) >> 10;
    }
    push(cpu, m, W::cut(image))
}

/// The flags that POPF and IRET may change at a privilege level.
pub(crate) fn changeable<W: Word>(cpu: &CpuState) -> u64 {
    let mut mask = flags::ALL & !(flags::VM | flags::VIF | flags::VIP | flags::RF) & W::MASK;
    if cpu.protected() && cpu.cpl != 0 {
        mask &= !flags::IOPL;
        if cpu.cpl > cpu.iopl() {
            mask &= !flags::IF;
        }
    }
    mask
}

/// POPF.
pub(crate) fn pop_flags<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    let mut mask = changeable::<W>(cpu);
    let virtual_interrupts = cpu.v86() && cpu.iopl() < 3;
    if virtual_interrupts && (W::BITS != 16 || cpu.cr4 & cr::VME == 0) {
        return Err(cpu.gp());
    }
    if cpu.v86() {
        mask &= !flags::IOPL;
    }
    let before = cpu.gpr[reg::RSP];
    let value = pop::<W, M>(cpu, m)?.zx();
    let old = cpu.flags.get();
    let mut new = old & !mask | value & mask;
    if virtual_interrupts {
        let interrupts = value & flags::IF != 0;
        if value & flags::TF != 0 || interrupts && old & flags::VIP != 0 {
            cpu.gpr[reg::RSP] = before;
            return Err(cpu.gp());
        }
        new = new & !(flags::IF | flags::VIF) | old & flags::IF;
        if interrupts {
            new |= flags::VIF;
        }
    }
    cpu.flags.set(new & !flags::RF);
    if (old ^ new) & flags::AC != 0 {
        m.mode_changed(cpu);
    }
    Ok(())
}

/// ENTER: size in the low half of the immediate, nesting level in the upper.
pub(crate) fn enter<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let size = low32(op.imm & 0xffff);
    let level = i64::from(low8(op.imm >> 32) & 31);
    let step = i64::from(W::BITS / 8);
    let base = cpu.gpr[reg::RBP];
    let first = stack_moved(cpu, -step);
    stack_write(cpu, m, first, W::cut(base))?;
    // The frame pointer is the whole of ESP, also where the stack itself counts only SP.
    let frame = cpu.gpr[reg::RSP] & !cpu.stack_mask | first;
    let mut below = step;
    for n in 1..level {
        let from = base.wrapping_add_signed(-step * n) & cpu.stack_mask;
        let value = stack_read::<W, M>(cpu, m, from)?;
        below += step;
        let to = stack_moved(cpu, -below);
        stack_write(cpu, m, to, value)?;
    }
    if level > 0 {
        below += step;
        let to = stack_moved(cpu, -below);
        stack_write(cpu, m, to, W::cut(frame))?;
    }
    let top = stack_moved(cpu, -below - i64::from(size));
    // The new top must be writable, as if something were pushed there.
    let linear = segmented(
        cpu,
        if cpu.long_code() { 7 } else { 2 },
        top,
        W::BYTES,
        super::access::Access::Write,
    )?;
    m.check_write(cpu, linear, W::BYTES)?;
    set::<W>(cpu, low8(reg::RBP as u64), frame);
    set_stack(cpu, top);
    Ok(())
}

/// LEAVE.
pub(crate) fn leave<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    let frame = cpu.gpr[reg::RBP] & cpu.stack_mask;
    let value = stack_read::<W, M>(cpu, m, frame)?.zx();
    set_stack(
        cpu,
        frame.wrapping_add(u64::from(W::BITS / 8)) & cpu.stack_mask,
    );
    set::<W>(cpu, low8(reg::RBP as u64), value);
    Ok(())
}

/// BOUND.
pub(crate) fn bound<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let lower: W = load(cpu, m, op)?;
    let second = Op {
        disp: op.disp.wrapping_add(u64::from(W::BITS / 8)),
        ..*op
    };
    let upper: W = load(cpu, m, &second)?;
    let value = W::cut(get::<W>(cpu, op.reg[0])).sx().cast_signed();
    if value < lower.sx().cast_signed() || value > upper.sx().cast_signed() {
        return Err(cpu.raise(fault::BR, 0));
    }
    Ok(())
}
