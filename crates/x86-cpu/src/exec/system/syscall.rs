//! SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS.

use super::set_cpl;
use crate::exec::access::get;
use crate::fault::Step;
use crate::flags;
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::{CpuState, Segment, attr, cr, efer, reg, seg};
use crate::word::low16;

/// A flat segment.
fn flat(selector: u64, dpl: u8, kind: u16) -> Segment {
    Segment {
        selector: low16(selector),
        attributes: kind | attr::S | attr::PRESENT | attr::G | u16::from(dpl) << 5,
        limit: u32::MAX,
        base: 0,
        unchecked: true,
    }
}

const DATA: u16 = attr::DB | attr::RW | attr::ACCESSED;
const CODE32: u16 = attr::DB | attr::CODE | attr::RW | attr::ACCESSED;
const CODE64: u16 = attr::L | attr::CODE | attr::RW | attr::ACCESSED;

fn enter<M: Memory>(cpu: &mut CpuState, m: &mut M, code: Segment, stack: Segment, cpl: u8) {
    cpu.seg[seg::CS] = code;
    cpu.seg[seg::SS] = stack;
    cpu.refresh();
    set_cpl(cpu, m, cpl);
}

/// SYSCALL.
pub(crate) fn syscall<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    if cpu.efer & efer::SCE == 0 {
        return Err(cpu.ud());
    }
    let selector = cpu.msr.star >> 32 & 0xfffc;
    let next = op.next(cpu);
    if cpu.long_mode() {
        let target = if cpu.long_code() {
            cpu.msr.lstar
        } else {
            cpu.msr.cstar
        };
        cpu.gpr[reg::RCX] = next;
        cpu.gpr[reg::R11] = cpu.flags.get() & !flags::RF;
        let access = cpu.flags.has(cpu.msr.sfmask & flags::AC);
        let kept = cpu.flags.get() & !cpu.msr.sfmask & !flags::RF;
        cpu.flags.set(kept);
        enter(
            cpu,
            m,
            flat(selector, 0, CODE64),
            flat(selector + 8, 0, DATA),
            0,
        );
        if access {
            m.mode_changed(cpu);
        }
        cpu.rip = target;
    } else {
        cpu.gpr[reg::RCX] = next & 0xffff_ffff;
        cpu.flags.system &= !(flags::IF | flags::RF | flags::VM);
        enter(
            cpu,
            m,
            flat(selector, 0, CODE32),
            flat(selector + 8, 0, DATA),
            0,
        );
        cpu.rip = cpu.msr.star & 0xffff_ffff;
    }
    Ok(())
}

/// SYSRET, to 64-bit code or not.
pub(crate) fn sysret<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    _: &Op<M>,
) -> Step {
    if cpu.efer & efer::SCE == 0 {
        return Err(cpu.ud());
    }
    if !cpu.protected() || cpu.cpl != 0 {
        return Err(cpu.gp());
    }
    let selector = cpu.msr.star >> 48 & 0xfffc;
    let target = cpu.gpr[reg::RCX];
    let stack = flat((selector + 8) | 3, 3, DATA);
    if cpu.long_mode() {
        if WIDE && !cpu.canonical(target) {
            return Err(cpu.gp());
        }
        let old = cpu.flags.get();
        let new = cpu.gpr[reg::R11] & !(flags::RF | flags::VM);
        cpu.flags.set(new);
        if WIDE {
            enter(cpu, m, flat((selector + 16) | 3, 3, CODE64), stack, 3);
            cpu.rip = target;
        } else {
            enter(cpu, m, flat(selector | 3, 3, CODE32), stack, 3);
            cpu.rip = target & 0xffff_ffff;
        }
        if (old ^ new) & flags::AC != 0 {
            m.mode_changed(cpu);
        }
        // Unlike others that set TF, this one traps before the next instruction.
        if cpu.flags.has(flags::TF) {
            cpu.debug_hits |= 1 << 14;
        }
    } else {
        cpu.flags.system |= flags::IF;
        enter(cpu, m, flat(selector | 3, 3, CODE32), stack, 3);
        cpu.rip = target & 0xffff_ffff;
    }
    Ok(())
}

/// SYSENTER.
pub(crate) fn sysenter<M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    if !cpu.protected() || cpu.msr.sysenter_cs & 0xfffc == 0 {
        return Err(cpu.gp());
    }
    let selector = cpu.msr.sysenter_cs & 0xfffc;
    let long = cpu.long_mode();
    cpu.flags.system &= !(flags::IF | flags::VM | flags::RF);
    enter(
        cpu,
        m,
        flat(selector, 0, if long { CODE64 } else { CODE32 }),
        flat(selector + 8, 0, DATA),
        0,
    );
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    cpu.gpr[reg::RSP] = cpu.msr.sysenter_esp & mask;
    cpu.rip = cpu.msr.sysenter_eip & mask;
    m.mode_changed(cpu);
    Ok(())
}

/// SYSEXIT, to 64-bit code or not.
pub(crate) fn sysexit<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    _: &Op<M>,
) -> Step {
    if !cpu.protected() || cpu.cpl != 0 || cpu.msr.sysenter_cs & 0xfffc == 0 {
        return Err(cpu.gp());
    }
    let selector = cpu.msr.sysenter_cs & 0xfffc | 3;
    let (ip, sp) = (cpu.gpr[reg::RDX], cpu.gpr[reg::RCX]);
    if WIDE {
        if !cpu.canonical(ip) || !cpu.canonical(sp) {
            return Err(cpu.gp());
        }
        enter(
            cpu,
            m,
            flat(selector + 32, 3, CODE64),
            flat(selector + 40, 3, DATA),
            3,
        );
        cpu.gpr[reg::RSP] = sp;
        cpu.rip = ip;
    } else {
        enter(
            cpu,
            m,
            flat(selector + 16, 3, CODE32),
            flat(selector + 24, 3, DATA),
            3,
        );
        cpu.gpr[reg::RSP] = sp & 0xffff_ffff;
        cpu.rip = ip & 0xffff_ffff;
    }
    Ok(())
}

/// SWAPGS.
pub(crate) fn swapgs<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    super::privileged(cpu)?;
    std::mem::swap(&mut cpu.seg[seg::GS].base, &mut cpu.msr.kernel_gs_base);
    Ok(())
}

/// CLAC, STAC.
pub(crate) fn access_control<const ON: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    _: &Op<M>,
) -> Step {
    if cpu.cpl != 0 {
        return Err(cpu.ud());
    }
    let before = cpu.flags.has(flags::AC);
    if before != ON {
        cpu.flags.system ^= flags::AC;
        m.mode_changed(cpu);
    }
    Ok(())
}

/// RDPKRU, WRPKRU.
pub(crate) fn pkru<const WRITE: bool, M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    if cpu.cr4 & cr::PKE == 0 {
        return Err(cpu.ud());
    }
    if get::<u32>(cpu, 1) != 0 || WRITE && get::<u32>(cpu, 2) != 0 {
        return Err(cpu.gp());
    }
    if WRITE {
        cpu.pkru = crate::word::low32(cpu.gpr[reg::RAX]);
        m.mode_changed(cpu);
    } else {
        cpu.gpr[reg::RAX] = u64::from(cpu.pkru);
        cpu.gpr[reg::RDX] = 0;
    }
    Ok(())
}
