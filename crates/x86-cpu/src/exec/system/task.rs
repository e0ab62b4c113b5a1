//! The task state segment: stacks for inner levels, and task switches (Intel SDM volume 3, chapter 8).

use super::descriptor::{self, Descriptor, kind, null};
use super::far::{self, NewStack};
use super::{segment, set_cpl, table};
use crate::fault::{self, Step};
use crate::flags;
use crate::memory::{Flush, Memory};
use crate::state::{CpuState, Segment, attr, cr, seg};
use crate::word::{low8, low16, low32};

/// The stack for privilege level `cpl` outside long mode, or in long mode for a call gate.
///
/// # Errors
/// #TS or #SS: the task state names no good one.
pub(crate) fn inner_stack<M: Memory>(cpu: &mut CpuState, m: &mut M, cpl: u8) -> Step<NewStack> {
    if cpu.long_mode() {
        return Ok(NewStack::flat(
            long_stack(cpu, m, 4 + 8 * u64::from(cpl))?,
            cpl,
        ));
    }
    let task = cpu.task;
    let wide = task.is(attr::CODE);
    let (at, size) = if wide {
        (4 + 8 * u64::from(cpl), 8)
    } else {
        (2 + 4 * u64::from(cpl), 4)
    };
    if at + size - 1 > u64::from(task.limit) {
        return Err(cpu.raise(fault::TS, task.selector & 0xfffc));
    }
    let address = task.base.wrapping_add(at);
    let (pointer, selector) = if wide {
        let pointer = u64::from(m.read_system::<u32>(cpu, address)?);
        (pointer, m.read_system::<u16>(cpu, address.wrapping_add(4))?)
    } else {
        let pointer = u64::from(m.read_system::<u16>(cpu, address)?);
        (pointer, m.read_system::<u16>(cpu, address.wrapping_add(2))?)
    };
    let segment = descriptor::check_stack(cpu, m, selector, cpl, fault::TS)?;
    Ok(NewStack::new(segment, pointer, cpl))
}

/// A stack pointer of the 64-bit task state.
///
/// # Errors
/// #TS: beyond its limit; #SS: not canonical.
pub(crate) fn long_stack<M: Memory>(cpu: &mut CpuState, m: &mut M, at: u64) -> Step<u64> {
    let task = cpu.task;
    if at + 7 > u64::from(task.limit) {
        return Err(cpu.raise(fault::TS, task.selector & 0xfffc));
    }
    let pointer = m.read_system::<u64>(cpu, task.base.wrapping_add(at))?;
    if !cpu.canonical(pointer) {
        return Err(cpu.raise(fault::SS, 0));
    }
    Ok(pointer)
}

/// Why a task is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// JMP: the old task is no longer busy.
    Jump,
    /// CALL: nested.
    Call,
    /// An interrupt or exception through a task gate, with its error code.
    Event {
        /// Error code to push on the new stack.
        code: Option<u16>,
    },
    /// IRET with NT.
    Return,
}

/// Switches by a descriptor that is a TSS or a task gate; `next` is what the old task goes on with.
///
/// # Errors
/// #GP, #NP, #TS: the switch is refused.
pub(crate) fn switch_by<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
    found: Descriptor,
    reason: Reason,
    next: u64,
) -> Step {
    let selector = match reason {
        Reason::Event { .. } => selector,
        _ if found.kind() == kind::TASK_GATE => found.gate_selector(),
        _ => selector,
    };
    let vector = if reason == Reason::Return {
        fault::TS
    } else {
        fault::GP
    };
    let code = selector & 0xfffc;
    if null(selector) || selector & 4 != 0 {
        return Err(cpu.raise(vector, code));
    }
    let (address, task) = descriptor::fetch(cpu, m, selector, vector)?;
    let busy = task.kind() & 2 != 0;
    let known = matches!(task.kind() & !2, kind::TSS16 | kind::TSS) && task.system();
    if !known || busy != (reason == Reason::Return) {
        return Err(cpu.raise(vector, code));
    }
    if !task.present() {
        return Err(cpu.raise(fault::NP, code));
    }
    let least = if task.kind() & 8 == 0 { 43 } else { 103 };
    if task.limit() < least {
        return Err(cpu.raise(fault::TS, code));
    }
    switch(cpu, m, selector, address, task, reason, next)
}

/// A task's registers in memory.
#[derive(Default)]
struct Image {
    cr3: u64,
    ip: u64,
    flags: u64,
    general: [u64; 8],
    segments: [u16; 6],
    ldt: u16,
    trap: bool,
}

/// Offsets in the 32-bit (16-bit) task state: instruction pointer, flags, general registers, segments, LDT.
const WIDE: [u64; 5] = [32, 36, 40, 72, 96];
const NARROW: [u64; 5] = [14, 16, 18, 34, 42];

fn load_image<M: Memory>(cpu: &mut CpuState, m: &mut M, task: Descriptor) -> Step<Image> {
    let base = task.base();
    let mut image = Image::default();
    let wide = task.kind() & 8 != 0;
    let (offsets, step) = if wide { (WIDE, 4) } else { (NARROW, 2) };
    let mut word = |cpu: &mut CpuState, at: u64| {
        if wide {
            m.read_system::<u32>(cpu, base.wrapping_add(at))
                .map(u64::from)
        } else {
            m.read_system::<u16>(cpu, base.wrapping_add(at))
                .map(|value| u64::from(value) | 0xffff_0000)
        }
    };
    image.ip = word(cpu, offsets[0])? & if wide { u64::MAX } else { 0xffff };
    image.flags = word(cpu, offsets[1])? & if wide { u64::MAX } else { 0xffff };
    for (n, value) in (0..).zip(image.general.iter_mut()) {
        *value = word(cpu, offsets[2] + step * n)?;
    }
    let segments = if wide { 6 } else { 4 };
    for (n, value) in (0..).zip(image.segments.iter_mut().take(segments)) {
        *value = low16(word(cpu, offsets[3] + step * n)?);
    }
    image.ldt = low16(word(cpu, offsets[4])?);
    if wide {
        image.cr3 = word(cpu, 28)?;
        image.trap = word(cpu, 100)? & 1 != 0;
    }
    Ok(image)
}

fn store_image<M: Memory>(cpu: &mut CpuState, m: &mut M, next: u64, flags: u64) -> Step {
    let base = cpu.task.base;
    let wide = cpu.task.is(attr::CODE);
    let (offsets, step) = if wide { (WIDE, 4) } else { (NARROW, 2) };
    let mut word = |cpu: &mut CpuState, at: u64, value: u64| {
        if wide {
            m.write_system(cpu, base.wrapping_add(at), low32(value))
        } else {
            m.write_system(cpu, base.wrapping_add(at), low16(value))
        }
    };
    word(cpu, offsets[0], next)?;
    word(cpu, offsets[1], flags)?;
    for n in 0..8u64 {
        let value = cpu.gpr[crate::word::index(n) & 7];
        word(cpu, offsets[2] + step * n, value)?;
    }
    for n in 0..if wide { 6u64 } else { 4 } {
        let value = u64::from(cpu.seg[crate::word::index(n) & 7].selector);
        word(cpu, offsets[3] + step * n, value)?;
    }
    Ok(())
}

/// Sets or clears the busy bit of a TSS descriptor.
fn set_busy<M: Memory>(cpu: &mut CpuState, m: &mut M, address: u64, busy: bool) -> Step {
    let at = address.wrapping_add(5);
    let old = m.read_system::<u8>(cpu, at)?;
    m.write_system(cpu, at, if busy { old | 2 } else { old & !2 })
}

fn switch<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    selector: u16,
    address: u64,
    task: Descriptor,
    reason: Reason,
    next: u64,
) -> Step {
    let image = load_image(cpu, m, task)?;
    let nested = matches!(reason, Reason::Call | Reason::Event { .. });
    let mut old_flags = cpu.flags.get();
    if reason == Reason::Return {
        old_flags &= !flags::NT;
    }
    store_image(cpu, m, next, old_flags)?;
    if !nested {
        let old = cpu.gdt.base.wrapping_add(u64::from(cpu.task.selector & !7));
        set_busy(cpu, m, old, false)?;
    }
    if nested {
        let link = cpu.task.selector;
        m.write_system(cpu, task.base(), link)?;
    }
    if reason != Reason::Return {
        set_busy(cpu, m, address, true)?;
    }
    cpu.task = task.segment(selector);
    cpu.task.attributes |= attr::RW;
    cpu.cr0 |= cr::TS;
    begin(cpu, m, &image, reason, nested).inspect_err(|_| cpu.fault.switched = true)
}

/// The new task's part of a switch; it is the one that faults.
fn begin<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    image: &Image,
    reason: Reason,
    nested: bool,
) -> Step {
    enter(cpu, m, image, cpu.task.is(attr::CODE), nested)?;
    if let Reason::Event { code: Some(code) } = reason {
        let mut stack = NewStack::present(cpu);
        if cpu.task.is(attr::CODE) {
            stack.push(cpu, m, u32::from(code))?;
        } else {
            stack.push(cpu, m, code)?;
        }
        stack.commit(cpu);
    }
    if cpu.rip > u64::from(cpu.seg[seg::CS].limit) {
        return Err(cpu.gp());
    }
    if image.trap {
        return Err(cpu.raise_fault(fault::Fault {
            vector: fault::DB,
            dr6: 1 << 15,
            ..fault::Fault::default()
        }));
    }
    Ok(())
}

/// Takes the new task's registers over.
fn enter<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    image: &Image,
    wide: bool,
    nested: bool,
) -> Step {
    if wide && cpu.cr0 & cr::PG != 0 && cpu.cr3 != image.cr3 {
        cpu.cr3 = image.cr3;
        m.flush(cpu, Flush::NotGlobal);
    }
    cpu.rip = image.ip;
    let mut new = image.flags;
    if !wide {
        new |= cpu.flags.get() & 0xffff_0000 & !flags::VM;
    }
    if nested {
        new |= flags::NT;
    }
    cpu.flags.set(new);
    cpu.gpr[..8].copy_from_slice(&image.general);
    cpu.debug.control &= !0x155;
    for (segment, selector) in cpu.seg.iter_mut().zip(image.segments) {
        *segment = Segment {
            selector,
            ..Segment::default()
        };
    }
    cpu.ldt = Segment {
        selector: image.ldt,
        ..Segment::default()
    };
    cpu.ldt = table::ldt(cpu, m, image.ldt, fault::TS)?;
    if cpu.v86() {
        set_cpl(cpu, m, 3);
        for (n, selector) in image.segments.into_iter().enumerate() {
            segment::load_real(cpu, n, selector);
        }
    } else {
        enter_segments(cpu, m, image)?;
    }
    cpu.refresh();
    m.mode_changed(cpu);
    Ok(())
}

fn enter_segments<M: Memory>(cpu: &mut CpuState, m: &mut M, image: &Image) -> Step {
    let selector = image.segments[seg::CS];
    let cpl = low8(u64::from(selector)) & 3;
    set_cpl(cpu, m, cpl);
    let code = selector & 0xfffc;
    if null(selector) {
        return Err(cpu.raise(fault::TS, 0));
    }
    let (address, mut found) = descriptor::fetch(cpu, m, selector, fault::TS)?;
    let allowed = if found.is(attr::DC) {
        found.dpl() <= cpl
    } else {
        found.dpl() == cpl
    };
    if !far::runnable(cpu, found) || !allowed {
        return Err(cpu.raise(fault::TS, code));
    }
    if !found.present() {
        return Err(cpu.raise(fault::NP, code));
    }
    descriptor::mark_accessed(cpu, m, address, &mut found)?;
    cpu.seg[seg::CS] = found.segment(selector);
    cpu.seg[seg::SS] = descriptor::check_stack(cpu, m, image.segments[seg::SS], cpl, fault::TS)?;
    for n in [seg::ES, seg::DS, seg::FS, seg::GS] {
        segment::load(cpu, m, n, image.segments[n]).inspect_err(|_| {
            if cpu.fault.vector == fault::GP {
                cpu.fault.vector = fault::TS;
            }
        })?;
    }
    Ok(())
}

/// IRET with NT: back to the task that the link names.
///
/// # Errors
/// #TS: it is no good one.
pub(crate) fn go_back<M: Memory>(cpu: &mut CpuState, m: &mut M, next: u64) -> Step {
    let link = m.read_system::<u16>(cpu, cpu.task.base)?;
    if null(link) || link & 4 != 0 {
        return Err(cpu.raise(fault::TS, link & 0xfffc));
    }
    let (_, found) = descriptor::fetch(cpu, m, link, fault::TS)?;
    switch_by(cpu, m, link, found, Reason::Return, next)
}
