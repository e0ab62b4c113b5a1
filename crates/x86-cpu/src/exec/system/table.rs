//! GDTR, IDTR, LDTR, TR.

use super::descriptor::{self, kind, null};
use super::privileged;
use crate::exec::access::{Access, MEM, Place, REG, first, linear, load, put, store};
use crate::fault::{self, Step};
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::{CpuState, Segment, Table, attr, cr};
use crate::word::{Unit, Word, low8, low16};

/// #GP(0) in user mode when UMIP is on.
pub(crate) fn umip(cpu: &mut CpuState) -> Step {
    if cpu.cr4 & cr::UMIP != 0 && cpu.cpl > 0 {
        Err(cpu.gp())
    } else {
        Ok(())
    }
}

/// SGDT, SIDT; `W` is the base's width (in 16-bit code the upper byte is written too).
pub(crate) fn store_table<W: Unit + Word, const IDT: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    umip(cpu)?;
    let table = if IDT { cpu.idt } else { cpu.gdt };
    let address = linear(cpu, op, 2 + W::BYTES, Access::Write)?;
    m.check_write(cpu, address, 2 + W::BYTES)?;
    m.write(cpu, address, table.limit)?;
    m.write(cpu, address.wrapping_add(2), W::cut(table.base))
}

/// LGDT, LIDT; with 16-bit operand size the base has 24 bits.
pub(crate) fn load_table<W: Word, const BITS: u32, const IDT: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    privileged(cpu)?;
    let limit: u16 = load(cpu, m, op)?;
    let behind = Op {
        disp: op.disp.wrapping_add(2),
        ..*op
    };
    let base: W = load(cpu, m, &behind)?;
    let base = base.zx() & (u64::MAX >> (64 - BITS));
    if !cpu.canonical_at_all(base) {
        return Err(cpu.gp());
    }
    let table = Table { base, limit };
    if IDT {
        cpu.idt = table;
    } else {
        cpu.gdt = table;
    }
    Ok(())
}

fn protected_only(cpu: &mut CpuState) -> Step {
    if !cpu.protected() || cpu.v86() {
        Err(cpu.ud())
    } else {
        Ok(())
    }
}

fn store_selector_run<W: Word, M: Memory, const TASK: bool, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    protected_only(cpu)?;
    umip(cpu)?;
    let selector = if TASK {
        cpu.task.selector
    } else {
        cpu.ldt.selector
    };
    if P == REG {
        put::<W, M, P>(cpu, m, op, u64::from(selector))
    } else {
        store(cpu, m, op, selector)
    }
}

/// SLDT, STR.
pub(crate) fn store_selector<W: Word, const TASK: bool, M: Memory>() -> Form<M> {
    Form::two(
        store_selector_run::<W, M, TASK, REG>,
        store_selector_run::<W, M, TASK, MEM>,
    )
}

fn lldt_run<M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    protected_only(cpu)?;
    privileged(cpu)?;
    let selector = low16(first::<u16, M, P>(cpu, m, op)?);
    cpu.ldt = ldt(cpu, m, selector, fault::GP)?;
    Ok(())
}

/// Reads the descriptor of an LDT.
///
/// # Errors
/// `vector` or #NP with the selector.
pub(crate) fn ldt<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
    vector: u8,
) -> Step<Segment> {
    let code = selector & 0xfffc;
    if null(selector) {
        return Ok(Segment {
            selector,
            ..Segment::default()
        });
    }
    if selector & 4 != 0 {
        return Err(cpu.raise(vector, code));
    }
    let (address, found) = descriptor::fetch(cpu, m, selector, vector)?;
    if !found.system() || found.kind() != kind::LDT {
        return Err(cpu.raise(vector, code));
    }
    if !found.present() {
        return Err(cpu.raise(
            if vector == fault::TS {
                fault::TS
            } else {
                fault::NP
            },
            code,
        ));
    }
    let mut segment = found.segment(selector);
    if cpu.long_mode() {
        segment.base |= descriptor::fetch_upper(cpu, m, selector, address, vector)?;
        if !cpu.canonical_at_all(segment.base) {
            return Err(cpu.raise(vector, code));
        }
    }
    Ok(segment)
}

fn ltr_run<M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    protected_only(cpu)?;
    privileged(cpu)?;
    let selector = low16(first::<u16, M, P>(cpu, m, op)?);
    let code = selector & 0xfffc;
    if null(selector) || selector & 4 != 0 {
        return Err(cpu.raise(fault::GP, code));
    }
    let (address, found) = descriptor::fetch(cpu, m, selector, fault::GP)?;
    let right = found.kind() == kind::TSS || found.kind() == kind::TSS16 && !cpu.long_mode();
    if !found.system() || !right {
        return Err(cpu.raise(fault::GP, code));
    }
    if !found.present() {
        return Err(cpu.raise(fault::NP, code));
    }
    let mut segment = found.segment(selector);
    if cpu.long_mode() {
        segment.base |= descriptor::fetch_upper(cpu, m, selector, address, fault::GP)?;
        if !cpu.canonical_at_all(segment.base) {
            return Err(cpu.raise(fault::GP, code));
        }
    }
    // Busy.
    m.write_system(cpu, address.wrapping_add(5), low8(found.0 >> 40) | 2)?;
    segment.attributes |= attr::RW;
    cpu.task = segment;
    Ok(())
}

/// LLDT.
pub(crate) fn lldt<M: Memory>() -> Form<M> {
    Form::two(lldt_run::<M, REG>, lldt_run::<M, MEM>).ends()
}

/// LTR.
pub(crate) fn ltr<M: Memory>() -> Form<M> {
    Form::two(ltr_run::<M, REG>, ltr_run::<M, MEM>).ends()
}
