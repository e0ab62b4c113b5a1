//! Far jumps, calls and returns; call gates (Intel SDM volume 3, 5.8).

use super::descriptor::{self, Descriptor, kind, null};
use super::{segment, set_cpl, task};
use crate::exec::access::{load, stack_moved, stack_read};
use crate::fault::{self, Step};
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::{CpuState, Segment, attr, reg, seg};
use crate::word::{Unit, Word, low8, low16};

/// A stack under construction: pushes go there before anything of the processor has changed.
pub(crate) struct NewStack {
    pub(crate) segment: Segment,
    pub(crate) pointer: u64,
    /// Which bits of the pointer count.
    pub(crate) mask: u64,
    pub(crate) cpl: u8,
    /// Error code of its #SS.
    pub(crate) code: u16,
}

impl NewStack {
    /// The present stack.
    pub(crate) fn present(cpu: &CpuState) -> Self {
        Self {
            segment: cpu.seg[seg::SS],
            pointer: cpu.gpr[reg::RSP],
            mask: cpu.stack_mask,
            cpl: cpu.cpl,
            code: 0,
        }
    }

    /// A stack in a segment.
    pub(crate) fn new(segment: Segment, pointer: u64, cpl: u8) -> Self {
        let mask = if segment.is(attr::DB) {
            0xffff_ffff
        } else {
            0xffff
        };
        Self {
            segment,
            pointer,
            mask,
            cpl,
            code: segment.selector & 0xfffc,
        }
    }

    /// A stack of 64-bit code.
    pub(crate) fn flat(pointer: u64, cpl: u8) -> Self {
        let attributes = attr::S | attr::RW | attr::PRESENT | attr::DB | u16::from(cpl) << 5;
        let segment = Segment {
            selector: u16::from(cpl),
            attributes,
            limit: u32::MAX,
            ..Segment::default()
        };
        Self {
            segment,
            pointer,
            mask: u64::MAX,
            cpl,
            code: 0,
        }
    }

    /// Pushes.
    pub(crate) fn push<T: Unit, M: Memory>(
        &mut self,
        cpu: &mut CpuState,
        m: &mut M,
        value: T,
    ) -> Step {
        let bytes = T::BYTES as u64;
        let top = self.pointer.wrapping_sub(bytes) & self.mask;
        let linear = self.linear(cpu, top, bytes)?;
        if self.cpl == 3 && cpu.cpl == 3 {
            m.write(cpu, linear, value)?;
        } else {
            m.write_system(cpu, linear, value)?;
        }
        self.pointer = self.pointer & !self.mask | top;
        Ok(())
    }

    fn linear(&self, cpu: &mut CpuState, top: u64, bytes: u64) -> Step<u64> {
        if self.mask == u64::MAX {
            return if cpu.canonical(top) {
                Ok(top)
            } else {
                Err(cpu.raise(fault::SS, self.code))
            };
        }
        let limit = u64::from(self.segment.limit);
        let last = top + bytes - 1;
        let within = if self.segment.is(attr::DC) && !self.segment.is(attr::CODE) {
            top > limit && last <= self.mask
        } else {
            last <= limit
        };
        if within {
            Ok(self.segment.base.wrapping_add(top) & 0xffff_ffff)
        } else {
            Err(cpu.raise(fault::SS, self.code))
        }
    }

    /// Makes it the stack. The privilege level is set by the caller.
    pub(crate) fn commit(self, cpu: &mut CpuState) {
        cpu.seg[seg::SS] = self.segment;
        let old = cpu.gpr[reg::RSP];
        cpu.gpr[reg::RSP] = match self.mask {
            0xffff => old & !0xffff | self.pointer & 0xffff,
            mask => self.pointer & mask,
        };
    }
}

/// Checks a code segment's offset.
///
/// # Errors
/// #GP(0).
pub(crate) fn check_offset(cpu: &mut CpuState, code: &Segment, offset: u64) -> Step {
    let good = if cpu.long_mode() && code.is(attr::L) {
        cpu.canonical(offset)
    } else {
        offset <= u64::from(code.limit)
    };
    if good { Ok(()) } else { Err(cpu.gp()) }
}

/// Makes `code` CS at privilege level `cpl`, and goes to `offset`.
pub(crate) fn enter<M: Memory>(cpu: &mut CpuState, m: &mut M, code: Segment, cpl: u8, offset: u64) {
    let mut code = code;
    code.selector = code.selector & !3 | u16::from(cpl);
    cpu.seg[seg::CS] = code;
    cpu.rip = offset;
    set_cpl(cpu, m, cpl);
    cpu.refresh();
}

/// Whether a descriptor is code that may run in this mode: L and D together do not exist in long mode.
pub(crate) fn runnable(cpu: &CpuState, code: Descriptor) -> bool {
    let both = cpu.long_mode() && code.is(attr::L | attr::DB);
    !code.system() && code.is(attr::CODE) && !both
}

/// The far pointer of an instruction: immediate, or in memory.
fn pointer<W: Word, const IN_MEMORY: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step<(u16, u64)> {
    if !IN_MEMORY {
        return Ok((low16(op.imm >> 32), op.imm & 0xffff_ffff & W::MASK));
    }
    let offset: W = load(cpu, m, op)?;
    let behind = Op {
        disp: op.disp.wrapping_add(u64::from(W::BITS / 8)),
        ..*op
    };
    let selector: u16 = load(cpu, m, &behind)?;
    Ok((selector, offset.zx()))
}

/// JMP far.
pub(crate) fn jump<W: Word, const IN_MEMORY: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let (selector, offset) = pointer::<W, IN_MEMORY, M>(cpu, m, op)?;
    if !cpu.protected() || cpu.v86() {
        if offset > u64::from(cpu.seg[seg::CS].limit) {
            return Err(cpu.gp());
        }
        segment::load_real(cpu, seg::CS, selector);
        cpu.rip = offset;
        return Ok(());
    }
    let found = far_descriptor(cpu, m, selector)?;
    if found.1.system() {
        return jump_system(cpu, m, op, selector, found.1);
    }
    let code = direct(cpu, m, selector, found)?;
    check_offset(cpu, &code, offset)?;
    let cpl = cpu.cpl;
    enter(cpu, m, code, cpl, offset);
    Ok(())
}

fn far_descriptor<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
) -> Step<(u64, Descriptor)> {
    if null(selector) {
        return Err(cpu.gp());
    }
    descriptor::fetch(cpu, m, selector, fault::GP)
}

/// A code segment reached without a gate.
fn direct<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
    found: (u64, Descriptor),
) -> Step<Segment> {
    let (address, mut code) = found;
    let rpl = low8(u64::from(selector)) & 3;
    let allowed = if code.is(attr::DC) {
        code.dpl() <= cpu.cpl
    } else {
        rpl <= cpu.cpl && code.dpl() == cpu.cpl
    };
    if !runnable(cpu, code) || !allowed {
        return Err(cpu.raise(fault::GP, selector & 0xfffc));
    }
    if !code.present() {
        return Err(cpu.raise(fault::NP, selector & 0xfffc));
    }
    descriptor::mark_accessed(cpu, m, address, &mut code)?;
    Ok(code.segment(selector))
}

/// Checks a gate or a TSS that an instruction names, and says whether it is a call gate.
fn check_system(cpu: &mut CpuState, selector: u16, found: Descriptor) -> Step<bool> {
    let rpl = low8(u64::from(selector)) & 3;
    let gate = found.kind() == kind::CALL || found.kind() == kind::CALL16 && !cpu.long_mode();
    let task =
        matches!(found.kind(), kind::TSS | kind::TSS16 | kind::TASK_GATE) && !cpu.long_mode();
    if !(gate || task) || found.dpl() < cpu.cpl.max(rpl) {
        return Err(cpu.raise(fault::GP, selector & 0xfffc));
    }
    if !found.present() {
        return Err(cpu.raise(fault::NP, selector & 0xfffc));
    }
    Ok(gate)
}

fn jump_system<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
    selector: u16,
    found: Descriptor,
) -> Step {
    if check_system(cpu, selector, found)? {
        let (code, offset, _) = gate_target(cpu, m, selector, found)?;
        if !code.is(attr::DC) && code.dpl() != cpu.cpl {
            return Err(cpu.raise(fault::GP, code.selector & 0xfffc));
        }
        check_offset(cpu, &code, offset)?;
        let cpl = cpu.cpl;
        enter(cpu, m, code, cpl, offset);
        return Ok(());
    }
    let next = op.next(cpu);
    task::switch_by(cpu, m, selector, found, task::Reason::Jump, next)
}

/// The target of a call gate: code segment, offset, and the selector's descriptor address for nothing.
fn gate_target<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    gate_selector: u16,
    gate: Descriptor,
) -> Step<(Segment, u64, Descriptor)> {
    let selector = gate.gate_selector();
    let mut offset = gate.gate_offset();
    if gate.kind() == kind::CALL16 {
        offset &= 0xffff;
    }
    if cpu.long_mode() {
        let (address, _) = descriptor::fetch(cpu, m, gate_selector, fault::GP)?;
        offset |= descriptor::fetch_upper(cpu, m, gate_selector, address, fault::GP)?;
    }
    if null(selector) {
        return Err(cpu.gp());
    }
    let (address, mut code) = descriptor::fetch(cpu, m, selector, fault::GP)?;
    let long = !cpu.long_mode() || code.is(attr::L);
    if !runnable(cpu, code) || code.dpl() > cpu.cpl || !long {
        return Err(cpu.raise(fault::GP, selector & 0xfffc));
    }
    if !code.present() {
        return Err(cpu.raise(fault::NP, selector & 0xfffc));
    }
    descriptor::mark_accessed(cpu, m, address, &mut code)?;
    Ok((code.segment(selector), offset, code))
}

/// CALL far.
pub(crate) fn call<W: Word, const IN_MEMORY: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let (selector, offset) = pointer::<W, IN_MEMORY, M>(cpu, m, op)?;
    let next = op.next(cpu);
    let old = u64::from(cpu.seg[seg::CS].selector);
    if !cpu.protected() || cpu.v86() {
        if offset > u64::from(cpu.seg[seg::CS].limit) {
            return Err(cpu.gp());
        }
        let mut stack = NewStack::present(cpu);
        stack.push(cpu, m, W::cut(old))?;
        stack.push(cpu, m, W::cut(next))?;
        stack.commit(cpu);
        segment::load_real(cpu, seg::CS, selector);
        cpu.rip = offset;
        return Ok(());
    }
    let found = far_descriptor(cpu, m, selector)?;
    if found.1.system() {
        if check_system(cpu, selector, found.1)? {
            return call_gate(cpu, m, selector, found.1, next);
        }
        return task::switch_by(cpu, m, selector, found.1, task::Reason::Call, next);
    }
    let code = direct(cpu, m, selector, found)?;
    check_offset(cpu, &code, offset)?;
    let mut stack = NewStack::present(cpu);
    stack.push(cpu, m, W::cut(old))?;
    stack.push(cpu, m, W::cut(next))?;
    stack.commit(cpu);
    let cpl = cpu.cpl;
    enter(cpu, m, code, cpl, offset);
    Ok(())
}

fn call_gate<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
    gate: Descriptor,
    next: u64,
) -> Step {
    let (code, offset, _) = gate_target(cpu, m, selector, gate)?;
    let inner = !code.is(attr::DC) && code.dpl() < cpu.cpl;
    let cpl = if inner { code.dpl() } else { cpu.cpl };
    let mut stack = if inner {
        task::inner_stack(cpu, m, cpl)?
    } else {
        NewStack::present(cpu)
    };
    let width = if cpu.long_mode() {
        8
    } else if gate.kind() == kind::CALL {
        4
    } else {
        2
    };
    let mut push = |cpu: &mut CpuState, m: &mut M, value: u64| match width {
        8 => stack.push(cpu, m, value),
        4 => stack.push(cpu, m, u32::cut(value)),
        _ => stack.push(cpu, m, u16::cut(value)),
    };
    if inner {
        let (ss, sp) = (u64::from(cpu.seg[seg::SS].selector), cpu.gpr[reg::RSP]);
        push(cpu, m, ss)?;
        push(cpu, m, sp)?;
        let count = if cpu.long_mode() {
            0
        } else {
            i64::from(low8(gate.0 >> 32) & 31)
        };
        for n in (0..count).rev() {
            let at = stack_moved(cpu, n * width);
            let value = if width == 4 {
                stack_read::<u32, M>(cpu, m, at)?.zx()
            } else {
                stack_read::<u16, M>(cpu, m, at)?.zx()
            };
            push(cpu, m, value)?;
        }
    }
    let old = u64::from(cpu.seg[seg::CS].selector);
    push(cpu, m, old)?;
    push(cpu, m, next)?;
    check_offset(cpu, &code, offset)?;
    stack.commit(cpu);
    enter(cpu, m, code, cpl, offset);
    Ok(())
}

/// Checks the code segment that a far return or IRET goes back to.
///
/// # Errors
/// #GP or #NP with the selector.
pub(crate) fn return_code<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
) -> Step<Segment> {
    if null(selector) {
        return Err(cpu.gp());
    }
    let rpl = low8(u64::from(selector)) & 3;
    let (address, mut code) = descriptor::fetch(cpu, m, selector, fault::GP)?;
    let allowed = rpl >= cpu.cpl
        && if code.is(attr::DC) {
            code.dpl() <= rpl
        } else {
            code.dpl() == rpl
        };
    if !runnable(cpu, code) || !allowed {
        return Err(cpu.raise(fault::GP, selector & 0xfffc));
    }
    if !code.present() {
        return Err(cpu.raise(fault::NP, selector & 0xfffc));
    }
    descriptor::mark_accessed(cpu, m, address, &mut code)?;
    Ok(code.segment(selector))
}

/// Checks the stack segment that a return to an outer level gives.
///
/// # Errors
/// #GP or #SS with the selector.
pub(crate) fn return_stack<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
    code: &Segment,
    rpl: u8,
) -> Step<Segment> {
    let long = cpu.long_mode() && code.is(attr::L);
    if null(selector) && long && rpl < 3 && low8(u64::from(selector)) & 3 == rpl {
        return Ok(Segment {
            selector,
            ..NewStack::flat(0, rpl).segment
        });
    }
    descriptor::check_stack(cpu, m, selector, rpl, fault::GP)
}

/// After a return to an outer level: segments too privileged for it become null.
pub(crate) fn drop_segments(cpu: &mut CpuState) {
    for index in [seg::ES, seg::DS, seg::FS, seg::GS] {
        let segment = &mut cpu.seg[index];
        let conforming = segment.is(attr::CODE | attr::DC);
        if segment.is(attr::PRESENT) && !conforming && segment.dpl() < cpu.cpl {
            *segment = Segment {
                base: segment.base,
                ..Segment::default()
            };
        }
    }
    cpu.refresh();
}

/// RET far, with the bytes to drop as immediate.
pub(crate) fn ret<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let step = i64::from(W::BITS / 8);
    let at = |cpu: &CpuState, n: i64| stack_moved(cpu, n);
    let offset = stack_read::<W, M>(cpu, m, at(cpu, 0))?.zx();
    let selector = low16(stack_read::<W, M>(cpu, m, at(cpu, step))?.zx());
    let drop = op.imm.cast_signed();
    if !cpu.protected() || cpu.v86() {
        if offset > u64::from(cpu.seg[seg::CS].limit) {
            return Err(cpu.gp());
        }
        let top = stack_moved(cpu, 2 * step + drop);
        crate::exec::access::set_stack(cpu, top);
        segment::load_real(cpu, seg::CS, selector);
        cpu.rip = offset;
        return Ok(());
    }
    let rpl = low8(u64::from(selector)) & 3;
    let code = return_code(cpu, m, selector)?;
    check_offset(cpu, &code, offset)?;
    if rpl == cpu.cpl {
        let top = stack_moved(cpu, 2 * step + drop);
        crate::exec::access::set_stack(cpu, top);
        enter(cpu, m, code, rpl, offset);
        return Ok(());
    }
    let sp = stack_read::<W, M>(cpu, m, at(cpu, 2 * step + drop))?.zx();
    let ss = low16(stack_read::<W, M>(cpu, m, at(cpu, 3 * step + drop))?.zx());
    let stack = return_stack(cpu, m, ss, &code, rpl)?;
    cpu.seg[seg::SS] = stack;
    enter(cpu, m, code, rpl, offset);
    cpu.gpr[reg::RSP] = if W::BITS == 16 {
        cpu.gpr[reg::RSP] & !0xffff | sp
    } else {
        sp
    };
    let top = stack_moved(cpu, drop);
    crate::exec::access::set_stack(cpu, top);
    drop_segments(cpu);
    Ok(())
}
