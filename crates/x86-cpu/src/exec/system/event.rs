//! Delivery of exceptions and interrupts in all modes (Intel SDM volume 3, chapter 6 and 20.3).

use super::descriptor::{self, Descriptor, kind, null};
use super::far::{self, NewStack};
use super::task;
use crate::fault::{self, Fault, Step, Trap};
use crate::flags;
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::{CpuState, Segment, attr, cr, reg, seg};
use crate::word::{Word, low16};

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The processor.
    Exception,
    /// INT n, INT3, INTO: the gate's privilege level counts.
    Software,
    /// Outside.
    External,
}

struct Event {
    vector: u8,
    code: Option<u16>,
    source: Source,
}

impl Event {
    /// The EXT bit of error codes.
    fn external(&self) -> u16 {
        u16::from(self.source != Source::Software)
    }

    /// The error code of a bad gate.
    fn gate_code(&self) -> u16 {
        u16::from(self.vector) * 8 + 2 + self.external()
    }
}

/// Delivers the exception in [`CpuState::fault`], whose instruction is at `rip`; whatever goes wrong on the way becomes a double
/// fault, and then a shutdown.
pub fn exception<M: Memory>(cpu: &mut CpuState, m: &mut M) {
    // A trap that is due after HLT ends the halt.
    cpu.halted = false;
    let first = cpu.fault;
    let event = Event {
        vector: first.vector,
        code: first.has_code().then_some(first.code),
        source: Source::Exception,
    };
    note(cpu, &first);
    if let Err(Trap::Fault) = deliver(cpu, m, &event) {
        again(cpu, m, class(first.vector));
    }
}

/// Delivers an interrupt from outside; `rip` is the next instruction.
pub fn interrupt<M: Memory>(cpu: &mut CpuState, m: &mut M, vector: u8) {
    cpu.halted = false;
    let event = Event {
        vector,
        code: None,
        source: Source::External,
    };
    if let Err(Trap::Fault) = deliver(cpu, m, &event) {
        again(cpu, m, Class::Benign);
    }
}

/// Delivers an NMI.
pub fn nmi<M: Memory>(cpu: &mut CpuState, m: &mut M) {
    interrupt(cpu, m, fault::NMI);
    cpu.nmi_blocked = true;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    Page,
    Double,
}

fn class(vector: u8) -> Class {
    match vector {
        fault::DE | fault::TS | fault::NP | fault::SS | fault::GP => Class::Contributory,
        fault::PF => Class::Page,
        fault::DF => Class::Double,
        _ => Class::Benign,
    }
}

/// A fault met while delivering an event of class `before`.
fn again<M: Memory>(cpu: &mut CpuState, m: &mut M, before: Class) {
    let mut before = before;
    loop {
        let second = cpu.fault;
        let now = class(second.vector);
        let event = match (before, now) {
            (Class::Double, Class::Contributory | Class::Page) => {
                cpu.shutdown = true;
                return;
            }
            (Class::Contributory, Class::Contributory)
            | (Class::Page, Class::Contributory | Class::Page) => {
                before = Class::Double;
                Event {
                    vector: fault::DF,
                    code: Some(0),
                    source: Source::Exception,
                }
            }
            _ => {
                before = now;
                Event {
                    vector: second.vector,
                    code: second.has_code().then_some(second.code),
                    source: Source::Exception,
                }
            }
        };
        note(cpu, &second);
        if deliver(cpu, m, &event) != Err(Trap::Fault) {
            return;
        }
    }
}

/// What an exception leaves in CR2 and DR6.
fn note(cpu: &mut CpuState, fault: &Fault) {
    match fault.vector {
        fault::PF => cpu.cr2 = fault.address,
        fault::DB => {
            // Which breakpoint it was is told anew each time; the other bits stay until software clears them.
            cpu.debug.status = cpu.debug.status & !0xf | fault.dr6;
            // General detect is switched off for the handler.
            cpu.debug.control &= !(1 << 13);
        }
        _ => {}
    }
}

fn deliver<M: Memory>(cpu: &mut CpuState, m: &mut M, event: &Event) -> Step {
    if !cpu.protected() {
        real(cpu, m, event, cpu.idt.base)
    } else if cpu.long_mode() {
        long(cpu, m, event)
    } else {
        protected(cpu, m, event)
    }
}

/// Real mode, and a virtual-8086 task's own vectors.
fn real<M: Memory>(cpu: &mut CpuState, m: &mut M, event: &Event, base: u64) -> Step {
    let at = u64::from(event.vector) * 4;
    if !cpu.v86() && at + 3 > u64::from(cpu.idt.limit) {
        return Err(cpu.raise(fault::GP, event.gate_code()));
    }
    let vector = m.read_system::<u32>(cpu, base.wrapping_add(at))?;
    let mut flags = cpu.flags.get();
    if cpu.v86() && cpu.iopl() < 3 {
        flags = flags & !flags::IF | flags::IOPL | (flags & flags::VIF) >> 10;
    }
    let (cs, ip) = (cpu.seg[seg::CS].selector, low16(cpu.rip));
    let mut stack = NewStack::present(cpu);
    stack.push(cpu, m, low16(flags))?;
    stack.push(cpu, m, cs)?;
    stack.push(cpu, m, ip)?;
    stack.commit(cpu);
    super::segment::load_real(cpu, seg::CS, low16(u64::from(vector) >> 16));
    cpu.rip = u64::from(vector) & 0xffff;
    let virtual_interrupts = cpu.v86() && cpu.iopl() < 3;
    let clear = flags::TF
        | flags::AC
        | if virtual_interrupts {
            flags::VIF
        } else {
            flags::IF
        };
    clear_flags(cpu, m, clear);
    Ok(())
}

fn clear_flags<M: Memory>(cpu: &mut CpuState, m: &mut M, mask: u64) {
    let access = cpu.flags.has(mask & flags::AC);
    cpu.flags.system &= !mask;
    if access {
        m.mode_changed(cpu);
    }
}

/// The flags image that is pushed: faults come back with RF so that an instruction breakpoint does not repeat.
fn image(cpu: &CpuState, event: &Event) -> u64 {
    let trap = matches!(event.vector, fault::DB | fault::BP | fault::OF);
    let resume = event.source == Source::Exception && !trap;
    cpu.flags.get() | if resume { flags::RF } else { 0 }
}

/// Checks a gate's right to be used.
fn check_gate(cpu: &mut CpuState, event: &Event, gate: Descriptor, kinds: &[u8]) -> Step {
    if !gate.system()
        || !kinds.contains(&gate.kind())
        || event.source == Source::Software && gate.dpl() < cpu.cpl
    {
        return Err(cpu.raise(fault::GP, event.gate_code()));
    }
    if !gate.present() {
        return Err(cpu.raise(fault::NP, event.gate_code()));
    }
    Ok(())
}

/// The code segment a gate leads to.
fn gate_code<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    event: &Event,
    selector: u16,
) -> Step<Segment> {
    let code = selector & 0xfffc | event.external();
    if null(selector) {
        return Err(cpu.raise(fault::GP, event.external()));
    }
    let (address, mut found) =
        descriptor::fetch(cpu, m, selector, fault::GP).inspect_err(|_| {
            cpu.fault.code |= if cpu.fault.vector == fault::PF {
                0
            } else {
                event.external()
            }
        })?;
    let long = !cpu.long_mode() || found.is(attr::L) && !found.is(attr::DB);
    if found.system() || !found.is(attr::CODE) || found.dpl() > cpu.cpl || !long {
        return Err(cpu.raise(fault::GP, code));
    }
    if !found.present() {
        return Err(cpu.raise(fault::NP, code));
    }
    descriptor::mark_accessed(cpu, m, address, &mut found)?;
    Ok(found.segment(selector))
}

fn long<M: Memory>(cpu: &mut CpuState, m: &mut M, event: &Event) -> Step {
    let at = u64::from(event.vector) * 16;
    if at + 15 > u64::from(cpu.idt.limit) {
        return Err(cpu.raise(fault::GP, event.gate_code()));
    }
    let address = cpu.idt.base.wrapping_add(at);
    let gate = Descriptor(m.read_system::<u64>(cpu, address)?);
    check_gate(cpu, event, gate, &[14, 15])?;
    let upper = m.read_system::<u64>(cpu, address.wrapping_add(8))?;
    let offset = gate.gate_offset() | upper << 32;
    let code = gate_code(cpu, m, event, gate.gate_selector())?;
    let inner = !code.is(attr::DC) && code.dpl() < cpu.cpl;
    let cpl = if inner { code.dpl() } else { cpu.cpl };
    let ist = gate.0 >> 32 & 7;
    let mut stack = if ist != 0 {
        NewStack::flat(task::long_stack(cpu, m, 36 + 8 * (ist - 1))?, cpl)
    } else if inner {
        NewStack::flat(task::long_stack(cpu, m, 4 + 8 * u64::from(cpl))?, cpl)
    } else {
        NewStack {
            segment: cpu.seg[seg::SS],
            ..NewStack::flat(cpu.gpr[reg::RSP], cpl)
        }
    };
    stack.pointer &= !15;
    let words = [
        u64::from(cpu.seg[seg::SS].selector),
        cpu.gpr[reg::RSP],
        image(cpu, event),
        u64::from(cpu.seg[seg::CS].selector),
        cpu.rip,
    ];
    for word in words {
        stack.push(cpu, m, word)?;
    }
    if let Some(code) = event.code {
        stack.push(cpu, m, u64::from(code))?;
    }
    far::check_offset(cpu, &code, offset)?;
    stack.commit(cpu);
    far::enter(cpu, m, code, cpl, offset);
    let interrupt = if gate.kind() == 14 { flags::IF } else { 0 };
    let mask = flags::TF | flags::NT | flags::RF | flags::VM | interrupt;
    clear_flags(cpu, m, mask);
    Ok(())
}

fn protected<M: Memory>(cpu: &mut CpuState, m: &mut M, event: &Event) -> Step {
    let at = u64::from(event.vector) * 8;
    if at + 7 > u64::from(cpu.idt.limit) {
        return Err(cpu.raise(fault::GP, event.gate_code()));
    }
    let gate = Descriptor(m.read_system::<u64>(cpu, cpu.idt.base.wrapping_add(at))?);
    check_gate(cpu, event, gate, &[kind::TASK_GATE, 6, 7, 14, 15])?;
    if gate.kind() == kind::TASK_GATE {
        let next = cpu.rip;
        let reason = task::Reason::Event { code: event.code };
        return task::switch_by(cpu, m, gate.gate_selector(), gate, reason, next);
    }
    let wide = gate.kind() >= 14;
    let offset = if wide {
        gate.gate_offset()
    } else {
        gate.gate_offset() & 0xffff
    };
    let code = gate_code(cpu, m, event, gate.gate_selector())?;
    let inner = !code.is(attr::DC) && code.dpl() < cpu.cpl;
    let v86 = cpu.v86();
    if v86 && (!inner || code.dpl() != 0) {
        return Err(cpu.raise(fault::GP, code.selector & 0xfffc | event.external()));
    }
    let cpl = if inner { code.dpl() } else { cpu.cpl };
    let mut stack = if inner {
        task::inner_stack(cpu, m, cpl)?
    } else {
        NewStack::present(cpu)
    };
    let mut words = Vec::with_capacity(10);
    if v86 {
        words.extend([seg::GS, seg::FS, seg::DS, seg::ES].map(|n| u64::from(cpu.seg[n].selector)));
    }
    if inner {
        words.extend([u64::from(cpu.seg[seg::SS].selector), cpu.gpr[reg::RSP]]);
    }
    words.extend([
        image(cpu, event),
        u64::from(cpu.seg[seg::CS].selector),
        cpu.rip,
    ]);
    words.extend(event.code.map(u64::from));
    for word in words {
        if wide {
            stack.push(cpu, m, u32::cut(word))?;
        } else {
            stack.push(cpu, m, u16::cut(word))?;
        }
    }
    far::check_offset(cpu, &code, offset)?;
    stack.commit(cpu);
    let interrupt = if gate.kind() & 1 == 0 { flags::IF } else { 0 };
    cpu.flags.system &= !(flags::TF | flags::NT | flags::RF | flags::VM | interrupt);
    far::enter(cpu, m, code, cpl, offset);
    if v86 {
        for n in [seg::ES, seg::DS, seg::FS, seg::GS] {
            cpu.seg[n] = Segment::default();
        }
    }
    cpu.refresh();
    m.mode_changed(cpu);
    Ok(())
}

/// INT n (the vector is the immediate).
pub(crate) fn int<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let vector = op.imm.to_le_bytes()[0];
    if cpu.v86() {
        if cpu.cr4 & cr::VME != 0 && !redirected(cpu, m, vector)? {
            cpu.rip = op.next(cpu);
            let event = Event {
                vector,
                code: None,
                source: Source::Software,
            };
            return real(cpu, m, &event, 0).inspect_err(|_| cpu.back_to(op));
        }
        if cpu.iopl() < 3 {
            return Err(cpu.gp());
        }
    }
    software(cpu, m, op, vector)
}

/// Whether the task's bitmap sends a software interrupt of virtual-8086 mode to the monitor.
fn redirected<M: Memory>(cpu: &mut CpuState, m: &mut M, vector: u8) -> Step<bool> {
    let start = m.read_system::<u16>(cpu, cpu.task.base.wrapping_add(102))?;
    let at = u64::from(start).wrapping_sub(32) + u64::from(vector / 8);
    if at > u64::from(cpu.task.limit) {
        return Err(cpu.gp());
    }
    let bits = m.read_system::<u8>(cpu, cpu.task.base.wrapping_add(at))?;
    Ok(bits >> (vector % 8) & 1 != 0)
}

fn software<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>, vector: u8) -> Step {
    cpu.rip = op.next(cpu);
    let event = Event {
        vector,
        code: None,
        source: Source::Software,
    };
    deliver(cpu, m, &event).inspect_err(|_| cpu.back_to(op))
}

/// INT3.
pub(crate) fn int3<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    software(cpu, m, op, fault::BP)
}

/// INTO.
pub(crate) fn into<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    if cpu.flags.of() {
        return software(cpu, m, op, fault::OF);
    }
    cpu.rip = op.next(cpu);
    Ok(())
}

/// INT1: a debug exception without bits in DR6 of its own; one that a load of SS held off becomes one with it.
pub(crate) fn int1<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    cpu.rip = op.next(cpu);
    cpu.debug.status |= std::mem::take(&mut cpu.debug_hits);
    let event = Event {
        vector: fault::DB,
        code: None,
        source: Source::Exception,
    };
    deliver(cpu, m, &event).inspect_err(|_| cpu.back_to(op))
}
