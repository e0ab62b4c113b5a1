//! Control and debug registers, caches and translations, HLT, interrupt flag, and the rest of the privileged instructions.

use super::privileged;
use super::table::umip;
use crate::exec::access::{Access, MEM, Place, REG, first, get, linear, put, set};
use crate::fault::{self, Fault, Step};
use crate::flags;
use crate::isa::{Form, Op, op};
use crate::memory::{Flush, Memory};
use crate::names::efer;
use crate::state::{CpuState, attr, cr, reg, seg};
use crate::word::{Word, low8, low64};

/// Bits of CR0 that software changes.
const CR0: u64 =
    cr::PE | cr::MP | cr::EM | cr::TS | cr::NE | cr::WP | cr::AM | cr::NW | cr::CD | cr::PG;

/// MOV from a control register.
pub(crate) fn read_cr<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    privileged(cpu)?;
    let number = control_number(op);
    let value = match number {
        0 => cpu.cr0,
        2 => cpu.cr2,
        3 => cpu.cr3,
        4 => cpu.cr4,
        8 => m.task_priority(),
        _ => return Err(cpu.ud()),
    };
    set_wide(cpu, op.reg[0], value);
    Ok(())
}

/// The number of the control register; LOCK makes 0 mean 8 (AMD, outside 64-bit code).
fn control_number<M>(op: &Op<M>) -> u8 {
    let number = if matches!(
        op.code,
        iced_x86::Code::Mov_r32_cr | iced_x86::Code::Mov_r64_cr
    ) {
        op.reg[1]
    } else {
        op.reg[0]
    };
    if op.has(op::LOCK) && number == 0 {
        8
    } else {
        number
    }
}

fn set_wide(cpu: &mut CpuState, register: u8, value: u64) {
    if cpu.long_code() {
        set::<u64>(cpu, register, value);
    } else {
        set::<u32>(cpu, register, value);
    }
}

/// MOV to a control register.
pub(crate) fn write_cr<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    privileged(cpu)?;
    let value = if cpu.long_code() {
        get::<u64>(cpu, op.reg[1])
    } else {
        get::<u32>(cpu, op.reg[1])
    };
    match control_number(op) {
        0 => set_cr0(cpu, m, value),
        2 => {
            cpu.cr2 = value;
            Ok(())
        }
        3 => set_cr3(cpu, m, value),
        4 => set_cr4(cpu, m, value),
        8 if value < 16 => {
            m.set_task_priority(value);
            Ok(())
        }
        8 => Err(cpu.gp()),
        _ => Err(cpu.ud()),
    }
}

/// Sets CR0.
///
/// # Errors
/// #GP(0): a combination that does not exist.
pub(crate) fn set_cr0<M: Memory>(cpu: &mut CpuState, m: &mut M, value: u64) -> Step {
    let on = |bit: u64| value & bit != 0;
    let paging_starts = on(cr::PG) && cpu.cr0 & cr::PG == 0;
    let paging_ends = !on(cr::PG) && cpu.cr0 & cr::PG != 0;
    let long = cpu.efer & efer::LME != 0;
    let wrong = value >> 32 != 0
        || on(cr::PG) && !on(cr::PE)
        || on(cr::NW) && !on(cr::CD)
        || paging_starts && long && (cpu.cr4 & cr::PAE == 0 || cpu.seg[seg::CS].is(attr::L))
        || paging_ends && (cpu.long_code() || cpu.cr4 & cr::PCIDE != 0);
    if wrong {
        return Err(cpu.gp());
    }
    let new = value & CR0 | cr::ET;
    let changed = new ^ cpu.cr0;
    cpu.cr0 = new;
    if paging_starts && long {
        cpu.efer |= efer::LMA;
    }
    if paging_ends {
        cpu.efer &= !efer::LMA;
    }
    if changed & (cr::PG | cr::PE | cr::WP) != 0 {
        m.flush(cpu, Flush::All);
        m.mode_changed(cpu);
    }
    cpu.refresh();
    Ok(())
}

/// Sets CR3.
///
/// # Errors
/// #GP(0): reserved bits.
pub(crate) fn set_cr3<M: Memory>(cpu: &mut CpuState, m: &mut M, value: u64) -> Step {
    let keep = cpu.cr4 & cr::PCIDE != 0 && value >> 63 != 0;
    let value = if cpu.cr4 & cr::PCIDE != 0 {
        value & !(1 << 63)
    } else {
        value
    };
    if cpu.long_mode() && value >> crate::cpuid::PHYSICAL_BITS != 0 {
        return Err(cpu.gp());
    }
    // Translations are not tagged with the identifier: what must not be kept is dropped always, so "keep" is too.
    let _ = keep;
    cpu.cr3 = value;
    m.flush(cpu, Flush::NotGlobal);
    Ok(())
}

/// Sets CR4.
///
/// # Errors
/// #GP(0): a bit that does not exist here, or a combination that does not.
pub(crate) fn set_cr4<M: Memory>(cpu: &mut CpuState, m: &mut M, value: u64) -> Step {
    let changed = value ^ cpu.cr4;
    let long = cpu.long_mode();
    let pcid_starts = changed & value & cr::PCIDE != 0;
    let wrong = value & !cpu.features.cr4() != 0
        || long && changed & (cr::PAE | cr::LA57) != 0
        || pcid_starts && (!long || cpu.cr3 & 0xfff != 0);
    if wrong {
        return Err(cpu.gp());
    }
    cpu.cr4 = value;
    let translation = cr::PSE
        | cr::PAE
        | cr::PGE
        | cr::PCIDE
        | cr::SMEP
        | cr::SMAP
        | cr::PKE
        | cr::PKS
        | cr::LA57;
    if changed & translation != 0 {
        m.flush(cpu, Flush::All);
        m.mode_changed(cpu);
    }
    Ok(())
}

fn lmsw_run<M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    privileged(cpu)?;
    let value = first::<u16, M, P>(cpu, m, op)?;
    // PE can be set, but not cleared.
    let new = cpu.cr0 & !0xe | value & 0xf;
    set_cr0(cpu, m, new)
}

/// LMSW.
pub(crate) fn lmsw<M: Memory>() -> Form<M> {
    Form::two(lmsw_run::<M, REG>, lmsw_run::<M, MEM>).ends()
}

fn smsw_run<W: Word, M: Memory, const P: Place>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    umip(cpu)?;
    let value = cpu.cr0;
    if P == REG {
        put::<W, M, P>(cpu, m, op, value)
    } else {
        put::<u16, M, P>(cpu, m, op, value)
    }
}

/// SMSW.
pub(crate) fn smsw<W: Word, M: Memory>() -> Form<M> {
    Form::two(smsw_run::<W, M, REG>, smsw_run::<W, M, MEM>)
}

/// CLTS.
pub(crate) fn clts<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    privileged(cpu)?;
    cpu.cr0 &= !cr::TS;
    Ok(())
}

/// General detect: an access to a debug register is itself trapped.
fn detect(cpu: &mut CpuState) -> Step {
    privileged(cpu)?;
    if cpu.debug.control & 1 << 13 != 0 {
        let fault = Fault {
            vector: fault::DB,
            dr6: 1 << 13,
            ..Fault::default()
        };
        return Err(cpu.raise_fault(fault));
    }
    Ok(())
}

/// DR4 and DR5 are DR6 and DR7, unless CR4.DE forbids them.
fn debug_number(cpu: &mut CpuState, number: u8) -> Step<usize> {
    match number {
        4 | 5 if cpu.cr4 & cr::DE != 0 => Err(cpu.ud()),
        4 | 5 => Ok(usize::from(number) + 2),
        0..=7 => Ok(usize::from(number)),
        _ => Err(cpu.ud()),
    }
}

/// MOV from a debug register.
pub(crate) fn read_dr<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    let number = debug_number(cpu, op.reg[1])?;
    detect(cpu)?;
    let value = match number {
        6 => cpu.debug.status,
        7 => cpu.debug.control,
        n => cpu.debug.address[n & 3],
    };
    set_wide(cpu, op.reg[0], value);
    Ok(())
}

/// MOV to a debug register.
pub(crate) fn write_dr<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let number = debug_number(cpu, op.reg[0])?;
    detect(cpu)?;
    let value = if cpu.long_code() {
        get::<u64>(cpu, op.reg[1])
    } else {
        get::<u32>(cpu, op.reg[1])
    };
    if number >= 6 && value >> 32 != 0 {
        return Err(cpu.gp());
    }
    match number {
        6 => cpu.debug.status = value & 0xe00f | 0xffff_0ff0,
        7 => {
            cpu.debug.control = value & 0xffff_2fff | 0x400;
            m.flush(cpu, Flush::All);
        }
        n => {
            cpu.debug.address[n & 3] = value;
            m.flush(cpu, Flush::All);
        }
    }
    Ok(())
}

/// CLI. Below I/O privilege, virtual interrupts may stand in.
pub(crate) fn cli<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    match interrupt_bit(cpu)? {
        bit if bit == flags::IF => cpu.flags.system &= !flags::IF,
        _ => cpu.flags.system &= !flags::VIF,
    }
    Ok(())
}

/// Which flag CLI and STI change.
fn interrupt_bit(cpu: &mut CpuState) -> Step<u64> {
    if !cpu.protected() || cpu.iopl() >= cpu.cpl {
        return Ok(flags::IF);
    }
    let virtual_mode = cpu.v86() && cpu.cr4 & cr::VME != 0;
    let virtual_protected = !cpu.v86() && cpu.cpl == 3 && cpu.cr4 & cr::PVI != 0;
    if virtual_mode || virtual_protected {
        return Ok(flags::VIF);
    }
    Err(cpu.gp())
}

/// STI.
pub(crate) fn sti<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    if interrupt_bit(cpu)? == flags::IF {
        cpu.shadow = !cpu.flags.has(flags::IF);
        cpu.flags.system |= flags::IF;
    } else if cpu.flags.has(flags::VIP) {
        return Err(cpu.gp());
    } else {
        cpu.flags.system |= flags::VIF;
    }
    Ok(())
}

/// HLT.
pub(crate) fn hlt<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    privileged(cpu)?;
    cpu.halted = true;
    Ok(())
}

/// MONITOR.
pub(crate) fn monitor<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    if cpu.cpl != 0 {
        return Err(cpu.ud());
    }
    if get::<u32>(cpu, 1) != 0 {
        return Err(cpu.gp());
    }
    let segment = if op.has(op::MEMORY) || !cpu.long_code() {
        low8(seg::DS as u64)
    } else {
        op.segment
    };
    let address = if cpu.long_code() {
        get::<u64>(cpu, 0)
    } else {
        get::<u32>(cpu, 0)
    };
    let linear = crate::exec::access::segmented(cpu, segment, address, 1, Access::Read)?;
    m.read::<u8>(cpu, linear)?;
    cpu.monitor = linear;
    Ok(())
}

/// MWAIT: ends at once, as if the monitored line had been written; the loop around it looks again.
pub(crate) fn mwait<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    if cpu.cpl != 0 {
        return Err(cpu.ud());
    }
    Ok(())
}

/// Caches: nothing to do for privilege level 0.
pub(crate) fn cache<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    privileged(cpu)
}

/// CLFLUSH, CLWB: only the address is checked.
pub(crate) fn line<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let linear = linear(cpu, op, 1, Access::Read)?;
    m.read::<u8>(cpu, linear).map(|_| ())
}

/// Memory fences.
pub(crate) fn fence<M: Memory>(_: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    Ok(())
}

/// PAUSE.
pub(crate) fn pause<M: Memory>(_: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    std::hint::spin_loop();
    Ok(())
}

/// INVLPG.
pub(crate) fn invlpg<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    privileged(cpu)?;
    let segment = cpu.seg[usize::from(op.segment & 7)];
    let linear = segment.base.wrapping_add(op.offset(cpu));
    let linear = if cpu.long_code() {
        linear
    } else {
        linear & 0xffff_ffff
    };
    if cpu.canonical(linear) || !cpu.long_code() {
        m.flush(cpu, Flush::Page(linear));
    }
    Ok(())
}

/// INVPCID.
pub(crate) fn invpcid<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    privileged(cpu)?;
    let kind = get::<W>(cpu, op.reg[0]);
    let at = linear(cpu, op, 16, Access::Read)?;
    let descriptor = m.read::<u128>(cpu, at)?;
    let (low, address) = (low64(descriptor), low64(descriptor >> 64));
    let pcids = cpu.cr4 & cr::PCIDE != 0;
    if kind > 3
        || low >> 12 != 0
        || kind == 0 && !cpu.canonical_at_all(address)
        || kind < 2 && low != 0 && !pcids
    {
        return Err(cpu.gp());
    }
    let what = match kind {
        0 => Flush::Page(address),
        2 => Flush::All,
        _ => Flush::NotGlobal,
    };
    m.flush(cpu, what);
    Ok(())
}

fn exchange_8_run<M: Memory, const LOCKED: bool>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    let pair = |high: usize, low: usize| cpu.gpr[high] << 32 | cpu.gpr[low] & 0xffff_ffff;
    let expected = pair(reg::RDX, reg::RAX);
    let new = pair(reg::RCX, reg::RBX);
    let choose = |old: u64| if old == expected { new } else { old };
    let linear = linear(cpu, op, 8, Access::Write)?;
    let old = if LOCKED {
        m.update::<u64>(cpu, linear, choose)?
    } else {
        let old = m.read_to_write::<u64>(cpu, linear)?;
        m.write(cpu, linear, choose(old))?;
        old
    };
    cpu.flags.set_zf(old == expected);
    if old != expected {
        set::<u32>(cpu, 0, old);
        set::<u32>(cpu, 2, old >> 32);
    }
    Ok(())
}

/// CMPXCHG8B.
pub(crate) fn exchange_8<M: Memory>() -> Form<M> {
    Form::any(exchange_8_run::<M, false>).locked(exchange_8_run::<M, true>)
}

/// CMPXCHG16B.
pub(crate) fn exchange_16<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let pair = |high: usize, low: usize| u128::from(cpu.gpr[high]) << 64 | u128::from(cpu.gpr[low]);
    let expected = pair(reg::RDX, reg::RAX);
    let new = pair(reg::RCX, reg::RBX);
    let linear = linear(cpu, op, 16, Access::Write)?;
    if linear & 15 != 0 {
        return Err(cpu.gp());
    }
    let old = m.exchange_16(cpu, linear, expected, new)?;
    cpu.flags.set_zf(old == expected);
    if old != expected {
        cpu.gpr[reg::RAX] = low64(old);
        cpu.gpr[reg::RDX] = low64(old >> 64);
    }
    Ok(())
}

/// RDRAND, RDSEED.
pub(crate) fn random<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    let value = m.random();
    set::<W>(cpu, op.reg[0], value);
    cpu.flags.set_status(flags::CF);
    Ok(())
}
