//! Loading segment registers; LAR, LSL, VERR, VERW, ARPL, LDS and kin; FS and GS base.

use super::descriptor::{self, Descriptor, kind, null};
use crate::exec::access::{MEM, Place, REG, first, get, put, second, set};
use crate::fault::{self, Step};
use crate::isa::{Form, Op};
use crate::memory::Memory;
use crate::state::{CpuState, Segment, attr, cr, seg};
use crate::word::{Word, low8, low16};

/// A segment register as real mode (or virtual-8086 mode) loads it.
pub(crate) fn load_real(cpu: &mut CpuState, index: usize, selector: u16) {
    let v86 = cpu.v86();
    let segment = &mut cpu.seg[index];
    segment.selector = selector;
    segment.base = u64::from(selector) << 4;
    if v86 {
        segment.limit = 0xffff;
        segment.attributes = 0xf3;
    } else if index == seg::CS {
        // A far jump in real mode keeps the limit, but the segment is writable code for what follows.
        segment.attributes = segment.attributes & !(attr::DPL | attr::L) | 0x93;
    } else {
        segment.attributes = segment.attributes & attr::DB | 0x93;
    }
    cpu.refresh();
}

/// Loads SS, DS, ES, FS or GS as MOV and POP do.
///
/// # Errors
/// The selector is not allowed there.
pub(crate) fn load<M: Memory>(cpu: &mut CpuState, m: &mut M, index: usize, selector: u16) -> Step {
    if !cpu.protected() || cpu.v86() {
        load_real(cpu, index, selector);
        return Ok(());
    }
    let segment = check(cpu, m, index, selector)?;
    cpu.seg[index] = segment;
    cpu.refresh();
    Ok(())
}

fn check<M: Memory>(cpu: &mut CpuState, m: &mut M, index: usize, selector: u16) -> Step<Segment> {
    let code = selector & 0xfffc;
    let rpl = low8(u64::from(selector)) & 3;
    if null(selector) {
        if index == seg::SS {
            if !cpu.long_code() || cpu.cpl == 3 || rpl != cpu.cpl {
                return Err(cpu.gp());
            }
            let attributes =
                attr::S | attr::RW | attr::DB | attr::PRESENT | u16::from(cpu.cpl) << 5;
            return Ok(Segment {
                selector,
                attributes,
                ..Segment::default()
            });
        }
        return Ok(Segment {
            selector,
            ..Segment::default()
        });
    }
    if index == seg::SS {
        let cpl = cpu.cpl;
        return descriptor::check_stack(cpu, m, selector, cpl, fault::GP);
    }
    let (address, mut descriptor) = descriptor::fetch(cpu, m, selector, fault::GP)?;
    let conforming = descriptor.is(attr::CODE | attr::DC);
    let too_low = !conforming && descriptor.dpl() < cpu.cpl.max(rpl);
    if descriptor.system() || !descriptor.readable() || too_low {
        return Err(cpu.raise(fault::GP, code));
    }
    if !descriptor.present() {
        return Err(cpu.raise(fault::NP, code));
    }
    descriptor::mark_accessed(cpu, m, address, &mut descriptor)?;
    Ok(descriptor.segment(selector))
}

/// After a load of SS: the shadow over the next instruction.
fn shadow(cpu: &mut CpuState, index: usize) {
    if index == seg::SS {
        cpu.shadow = true;
        cpu.shadow_debug = true;
    }
}

fn mov_to_run<M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let index = usize::from(op.reg[0]);
    if index == seg::CS || index > seg::GS {
        return Err(cpu.ud());
    }
    let selector = low16(second::<u16, M, P>(cpu, m, op)?);
    load(cpu, m, index, selector)?;
    shadow(cpu, index);
    Ok(())
}

/// MOV to a segment register.
pub(crate) fn mov_to<M: Memory>() -> Form<M> {
    Form::two(mov_to_run::<M, REG>, mov_to_run::<M, MEM>).ends()
}

fn mov_from_run<W: Word, M: Memory, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    if usize::from(op.reg[1]) > seg::GS {
        return Err(cpu.ud());
    }
    let selector = u64::from(cpu.seg[usize::from(op.reg[1] & 7)].selector);
    if P == REG {
        put::<W, M, P>(cpu, m, op, selector)
    } else {
        put::<u16, M, P>(cpu, m, op, selector)
    }
}

/// MOV from a segment register: memory gets 16 bits whatever the operand size.
pub(crate) fn mov_from<W: Word, M: Memory>() -> Form<M> {
    Form::two(mov_from_run::<W, M, REG>, mov_from_run::<W, M, MEM>)
}

/// POP of a segment register.
pub(crate) fn pop<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let before = cpu.gpr[4];
    // The 16-bit and the wide form read only the selector, and move by the operand size.
    let selector = low16(crate::exec::access::pop::<W, M>(cpu, m)?.zx());
    let index = usize::from(op.reg[0] & 7);
    let after = cpu.gpr[4];
    cpu.gpr[4] = before;
    load(cpu, m, index, selector)?;
    cpu.gpr[4] = after;
    shadow(cpu, index);
    Ok(())
}

/// LES, LDS, LSS, LFS, LGS: the segment register is the constant.
pub(crate) fn load_far<W: Word, const INDEX: usize, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let offset: W = self::access_load(cpu, m, op)?;
    let behind = Op {
        disp: op.disp.wrapping_add(u64::from(W::BITS / 8)),
        ..*op
    };
    let selector: u16 = access_load(cpu, m, &behind)?;
    load(cpu, m, INDEX, selector)?;
    set::<W>(cpu, op.reg[0], offset.zx());
    Ok(())
}

fn access_load<T: crate::word::Unit, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step<T> {
    crate::exec::access::load(cpu, m, op)
}

/// #UD outside protected mode.
fn protected_only(cpu: &mut CpuState) -> Step {
    if !cpu.protected() || cpu.v86() {
        Err(cpu.ud())
    } else {
        Ok(())
    }
}

/// The descriptor a query instruction may see; `None` when it may not.
fn visible<M: Memory>(cpu: &mut CpuState, m: &mut M, selector: u16) -> Step<Option<Descriptor>> {
    if null(selector) {
        return Ok(None);
    }
    let limit = if selector & 4 == 0 {
        u32::from(cpu.gdt.limit)
    } else {
        cpu.ldt.limit
    };
    let usable = selector & 4 == 0 || cpu.ldt.is(attr::PRESENT) && !null(cpu.ldt.selector);
    if !usable || u32::from(selector | 7) > limit {
        return Ok(None);
    }
    let (_, descriptor) = descriptor::fetch(cpu, m, selector, fault::GP)?;
    let rpl = low8(u64::from(selector)) & 3;
    let conforming = !descriptor.system() && descriptor.is(attr::CODE | attr::DC);
    let reachable = conforming || descriptor.dpl() >= cpu.cpl.max(rpl);
    Ok(reachable.then_some(descriptor))
}

fn lar_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    protected_only(cpu)?;
    let selector = low16(second::<u16, M, P>(cpu, m, op)?);
    let found = visible(cpu, m, selector)?.filter(|descriptor| {
        let legacy = matches!(
            descriptor.kind(),
            kind::TSS16 | kind::BUSY_TSS16 | kind::CALL16 | kind::TASK_GATE
        );
        let both = matches!(
            descriptor.kind(),
            kind::LDT | kind::TSS | kind::BUSY_TSS | kind::CALL
        );
        !descriptor.system() || both || legacy && !cpu.long_mode()
    });
    if let Some(descriptor) = found {
        set::<W>(cpu, op.reg[0], descriptor.0 >> 32 & 0x00ff_ff00);
    }
    cpu.flags.set_zf(found.is_some());
    Ok(())
}

fn lsl_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    protected_only(cpu)?;
    let selector = low16(second::<u16, M, P>(cpu, m, op)?);
    let found = visible(cpu, m, selector)?.filter(|descriptor| {
        let legacy = matches!(descriptor.kind(), kind::TSS16 | kind::BUSY_TSS16);
        let both = matches!(descriptor.kind(), kind::LDT | kind::TSS | kind::BUSY_TSS);
        !descriptor.system() || both || legacy && !cpu.long_mode()
    });
    if let Some(descriptor) = found {
        set::<W>(cpu, op.reg[0], u64::from(descriptor.limit()));
    }
    cpu.flags.set_zf(found.is_some());
    Ok(())
}

/// LAR.
pub(crate) fn lar<W: Word, M: Memory>() -> Form<M> {
    Form::two(lar_run::<W, M, REG>, lar_run::<W, M, MEM>)
}

/// LSL.
pub(crate) fn lsl<W: Word, M: Memory>() -> Form<M> {
    Form::two(lsl_run::<W, M, REG>, lsl_run::<W, M, MEM>)
}

fn verify_run<M: Memory, const WRITE: bool, const P: Place>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    protected_only(cpu)?;
    let selector = low16(first::<u16, M, P>(cpu, m, op)?);
    let good = visible(cpu, m, selector)?.is_some_and(|descriptor| {
        let writable = !descriptor.is(attr::CODE) && descriptor.is(attr::RW);
        !descriptor.system()
            && if WRITE {
                writable
            } else {
                descriptor.readable()
            }
    });
    cpu.flags.set_zf(good);
    Ok(())
}

/// VERR, VERW.
pub(crate) fn verify<const WRITE: bool, M: Memory>() -> Form<M> {
    Form::two(verify_run::<M, WRITE, REG>, verify_run::<M, WRITE, MEM>)
}

fn arpl_run<M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    protected_only(cpu)?;
    let old = first::<u16, M, P>(cpu, m, op)?;
    let rpl = get::<u16>(cpu, op.reg[1]) & 3;
    let raise = old & 3 < rpl;
    if raise {
        put::<u16, M, P>(cpu, m, op, old & !3 | rpl)?;
    }
    cpu.flags.set_zf(raise);
    Ok(())
}

/// ARPL.
pub(crate) fn arpl<M: Memory>() -> Form<M> {
    Form::two(arpl_run::<M, REG>, arpl_run::<M, MEM>)
}

/// RDFSBASE, RDGSBASE.
pub(crate) fn read_base<W: Word, const INDEX: usize, M: Memory>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    if cpu.cr4 & cr::FSGSBASE == 0 {
        return Err(cpu.ud());
    }
    let base = cpu.seg[INDEX & 7].base;
    set::<W>(cpu, op.reg[0], base);
    Ok(())
}

/// WRFSBASE, WRGSBASE.
pub(crate) fn write_base<W: Word, const INDEX: usize, M: Memory>(
    cpu: &mut CpuState,
    _: &mut M,
    op: &Op<M>,
) -> Step {
    if cpu.cr4 & cr::FSGSBASE == 0 {
        return Err(cpu.ud());
    }
    let base = get::<W>(cpu, op.reg[0]);
    if !cpu.canonical(base) {
        return Err(cpu.gp());
    }
    cpu.seg[INDEX & 7].base = base;
    Ok(())
}
