//! RDMSR, WRMSR, RDTSC and kin.

use super::privileged;
use crate::cpuid::{self, Feature, Leaf};
use crate::exec::access::set;
use crate::fault::Step;
use crate::isa::Op;
use crate::memory::{Flush, Memory};
use crate::names::efer;
use crate::state::{CpuState, cr, reg, seg};
use crate::word::{index, low32};

/// The number in ECX.
fn number(cpu: &CpuState) -> u32 {
    low32(cpu.gpr[reg::RCX])
}

fn set_pair(cpu: &mut CpuState, value: u64) {
    set::<u32>(cpu, 0, value);
    set::<u32>(cpu, 2, value >> 32);
}

/// RDMSR.
pub(crate) fn rdmsr<M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    privileged(cpu)?;
    let number = number(cpu);
    let Some(value) = read(cpu, m, number) else {
        tracing::debug!(target: "x86_cpu", number = format_args!("{number:#x}"), "RDMSR of an unknown register");
        return Err(cpu.gp());
    };
    set_pair(cpu, value);
    Ok(())
}

/// WRMSR.
pub(crate) fn wrmsr<M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    privileged(cpu)?;
    let value = cpu.gpr[reg::RAX] & 0xffff_ffff | cpu.gpr[reg::RDX] << 32;
    let number = number(cpu);
    if write(cpu, m, number, value).is_none() {
        tracing::debug!(target: "x86_cpu", number = format_args!("{number:#x}"), value, "WRMSR refused");
        return Err(cpu.gp());
    }
    Ok(())
}

/// The plain registers: what is written is read, if `writable` allows the bits.
fn plain(cpu: &mut CpuState, number: u32) -> Option<(&mut u64, u64)> {
    let all = u64::MAX;
    Some(match number {
        0x174 => (&mut cpu.msr.sysenter_cs, all),
        0x17a => (&mut cpu.msr.mcg[0], all),
        0x1a0 => (&mut cpu.msr.misc_enable, all),
        0x1d9 => (&mut cpu.msr.debugctl, all),
        0x8b => (&mut cpu.msr.ucode, all),
        0x200..=0x20f => (
            &mut cpu.msr.mtrr_variable[index(u64::from(number - 0x200)) & 15],
            all,
        ),
        0x250 => (&mut cpu.msr.mtrr_fixed[0], all),
        0x258 | 0x259 => (
            &mut cpu.msr.mtrr_fixed[index(u64::from(number - 0x257)) & 3],
            all,
        ),
        0x268..=0x26f => (
            &mut cpu.msr.mtrr_fixed[index(u64::from(number - 0x265)).min(10)],
            all,
        ),
        0x2ff => (&mut cpu.msr.mtrr_default, 0xcff),
        0x400..=0x41f => (
            &mut cpu.msr.mc_banks[index(u64::from(number - 0x400)) & 31],
            all,
        ),
        0xda0 => (&mut cpu.msr.xss, 0),
        0x6e1 => (&mut cpu.msr.pkrs, 0xffff_ffff),
        0xc000_0081 => (&mut cpu.msr.star, all),
        0xc000_0084 => (&mut cpu.msr.sfmask, 0xffff_ffff),
        0xc000_0103 => (&mut cpu.msr.tsc_aux, 0xffff_ffff),
        _ => return None,
    })
}

/// The registers that hold a canonical address.
fn canonical(cpu: &mut CpuState, number: u32) -> Option<&mut u64> {
    Some(match number {
        0x175 => &mut cpu.msr.sysenter_esp,
        0x176 => &mut cpu.msr.sysenter_eip,
        0xc000_0082 => &mut cpu.msr.lstar,
        0xc000_0083 => &mut cpu.msr.cstar,
        0xc000_0100 => &mut cpu.seg[seg::FS].base,
        0xc000_0101 => &mut cpu.seg[seg::GS].base,
        0xc000_0102 => &mut cpu.msr.kernel_gs_base,
        _ => return None,
    })
}

/// What a saved processor keeps, beside FS and GS, which are segments.
const SAVED: &[std::ops::RangeInclusive<u32>] = &[
    0x3b..=0x3b,
    0x8b..=0x8b,
    0x9e..=0x9e,
    0x174..=0x176,
    0x17a..=0x17b,
    0x1a0..=0x1a0,
    0x1d9..=0x1d9,
    0x200..=0x20f,
    0x250..=0x250,
    0x258..=0x259,
    0x268..=0x26f,
    0x277..=0x277,
    0x2ff..=0x2ff,
    0x400..=0x41f,
    0x6e1..=0x6e1,
    0xda0..=0xda0,
    0xc000_0081..=0xc000_0084,
    0xc000_0102..=0xc000_0103,
];

/// The register itself, for those that are kept as they are.
fn kept(cpu: &mut CpuState, number: u32) -> Option<&mut u64> {
    match number {
        0x3b => Some(&mut cpu.msr.tsc_adjust),
        0x9e => Some(&mut cpu.msr.smbase),
        0x17b => Some(&mut cpu.msr.mcg[1]),
        0x277 => Some(&mut cpu.msr.pat),
        _ if canonical(cpu, number).is_some() => canonical(cpu, number),
        _ => plain(cpu, number).map(|(value, _)| value),
    }
}

/// The model-specific registers of a processor that is saved.
pub fn saved_msrs(cpu: &CpuState) -> Vec<(u32, u64)> {
    let mut cpu = cpu.clone();
    let numbers = SAVED.iter().cloned().flatten();
    numbers
        .filter_map(|number| kept(&mut cpu, number).map(|value| (number, *value)))
        .collect()
}

/// Takes one of them back; false when there is no such register or it cannot hold the value.
pub fn restore_msr(cpu: &mut CpuState, number: u32, value: u64) -> bool {
    let listed = SAVED.iter().any(|range| range.contains(&number));
    let good = match number {
        0x277 => is_pat(value),
        _ if canonical(cpu, number).is_some() => cpu.canonical_at_all(value),
        0x3b | 0x9e | 0x17b => true,
        _ => {
            !refused_by_bank(number, value)
                && plain(cpu, number).is_some_and(|(_, writable)| value & !writable == 0)
        }
    };
    match kept(cpu, number) {
        Some(into) if listed && good => {
            *into = value;
            true
        }
        _ => false,
    }
}

/// Whether all eight memory types exist.
fn is_pat(value: u64) -> bool {
    let valid = |kind: u8| matches!(kind, 0 | 1 | 4..=7);
    value.to_le_bytes().into_iter().all(valid)
}

/// Reads a register.
fn read<M: Memory>(cpu: &mut CpuState, m: &mut M, number: u32) -> Option<u64> {
    if let Some((value, _)) = plain(cpu, number) {
        return Some(*value);
    }
    if let Some(value) = canonical(cpu, number) {
        return Some(*value);
    }
    Some(match number {
        0x10 => m.time_stamp().wrapping_add(cpu.msr.tsc_offset),
        0x3b => cpu.msr.tsc_adjust,
        // Feature control: locked.
        0x3a => 1,
        0x9e => cpu.msr.smbase,
        // MTRR capabilities: eight variable ranges, fixed ranges, write combining.
        0xfe => 0x508,
        // Machine check: eight banks of registers are kept, none of them reports.
        0x179 => 0x0100_0000 | 8,
        0x17b => cpu.msr.mcg[1],
        // Performance status and platform information: ratios that do not matter.
        0x198 => 1000 | 0x400 << 32,
        0x1d6 | 0x1db..=0x1de | 0x606 | 0x611 | 0x639 | 0x641 | 0x619 => 0,
        0xce => 0,
        0x277 => cpu.msr.pat,
        0xc000_0080 => cpu.efer,
        // AMD: hardware configuration, patch level, SMM base, decode configuration.
        0xc001_0015 | 0xc001_001f | 0xc001_0055 | 0xc001_0117 | 0xc001_0140 | 0xc001_0141
        | 0xc001_1022 | 0xc001_1029 => 0,
        0xc001_0010 | 0xc001_0114 => 0,
        // Performance counters that do not count.
        0xc001_0000..=0xc001_0007 | 0xc001_0200..=0xc001_020b => 0,
        _ => return m.read_msr(cpu, number),
    })
}

/// A machine check bank's control takes all or nothing, its status only zero.
fn refused_by_bank(number: u32, value: u64) -> bool {
    match number {
        0x400..=0x41f if number & 3 == 0 => value != 0 && value != u64::MAX,
        0x400..=0x41f if number & 3 == 1 => value != 0,
        _ => false,
    }
}

/// Writes a register; `None` is #GP.
fn write<M: Memory>(cpu: &mut CpuState, m: &mut M, number: u32, value: u64) -> Option<()> {
    if refused_by_bank(number, value) {
        return None;
    }
    if let Some((into, writable)) = plain(cpu, number) {
        if value & !writable != 0 {
            return None;
        }
        *into = value;
        return Some(());
    }
    let good = cpu.canonical_at_all(value);
    if let Some(into) = canonical(cpu, number) {
        if !good {
            return None;
        }
        *into = value;
        return Some(());
    }
    match number {
        0x10 => {
            let offset = value.wrapping_sub(m.time_stamp());
            let moved = offset.wrapping_sub(cpu.msr.tsc_offset);
            cpu.msr.tsc_adjust = cpu.msr.tsc_adjust.wrapping_add(moved);
            cpu.msr.tsc_offset = offset;
        }
        0x3b => {
            let moved = value.wrapping_sub(cpu.msr.tsc_adjust);
            cpu.msr.tsc_offset = cpu.msr.tsc_offset.wrapping_add(moved);
            cpu.msr.tsc_adjust = value;
        }
        0x79 => {}
        0x17b => cpu.msr.mcg[1] = value,
        0x277 => {
            if !is_pat(value) {
                return None;
            }
            cpu.msr.pat = value;
        }
        0xc000_0080 => return set_efer(cpu, m, value),
        0xc001_0000..=0xc001_0007 | 0xc001_0200..=0xc001_020b => {}
        0xc001_0010 | 0xc001_0015 | 0xc001_001f | 0xc001_0055 | 0xc001_1022 | 0xc001_1029 => {}
        _ => return m.write_msr(cpu, number, value),
    }
    Some(())
}

fn set_efer<M: Memory>(cpu: &mut CpuState, m: &mut M, value: u64) -> Option<()> {
    let has = |leaf, bit| cpu.features.has(Feature(leaf, bit));
    let mut allowed = efer::LMA;
    for (present, bits) in [
        (has(Leaf::X1Edx, 11), efer::SCE),
        (has(Leaf::X1Edx, 29), efer::LME),
        (has(Leaf::X1Edx, 20), efer::NXE),
        (has(Leaf::X1Edx, 25), efer::FFXSR),
        (has(Leaf::X1Ecx, 2), efer::SVME),
    ] {
        if present {
            allowed |= bits;
        }
    }
    let changed = (value ^ cpu.efer) & !efer::LMA;
    if value & !allowed != 0 || changed & efer::LME != 0 && cpu.cr0 & cr::PG != 0 {
        return None;
    }
    cpu.efer = value & !efer::LMA | cpu.efer & efer::LMA;
    if changed & efer::NXE != 0 {
        m.flush(cpu, Flush::All);
    }
    Some(())
}

/// RDTSC may be privileged.
fn time_allowed(cpu: &mut CpuState) -> Step {
    if cpu.cr4 & cr::TSD != 0 && cpu.cpl != 0 {
        Err(cpu.gp())
    } else {
        Ok(())
    }
}

/// RDTSC.
pub(crate) fn rdtsc<M: Memory>(cpu: &mut CpuState, m: &mut M, _: &Op<M>) -> Step {
    time_allowed(cpu)?;
    let time = m.time_stamp().wrapping_add(cpu.msr.tsc_offset);
    set_pair(cpu, time);
    Ok(())
}

/// RDTSCP.
pub(crate) fn rdtscp<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    rdtsc(cpu, m, op)?;
    let auxiliary = cpu.msr.tsc_aux;
    set::<u32>(cpu, 1, auxiliary);
    Ok(())
}

/// RDPID.
pub(crate) fn rdpid<M: Memory>(cpu: &mut CpuState, _: &mut M, op: &Op<M>) -> Step {
    let auxiliary = cpu.msr.tsc_aux & 0xffff_ffff;
    set::<u64>(cpu, op.reg[0], auxiliary);
    Ok(())
}

/// RDPMC: there are no counters.
pub(crate) fn rdpmc<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    Err(cpu.gp())
}

/// XGETBV.
pub(crate) fn xgetbv<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    if cpu.cr4 & cr::OSXSAVE == 0 {
        return Err(cpu.ud());
    }
    let value = match number(cpu) {
        0 => cpu.xcr0,
        1 if cpu.features.has(Feature(Leaf::D1Eax, 2)) => cpu.xcr0,
        _ => return Err(cpu.gp()),
    };
    set_pair(cpu, value);
    Ok(())
}

/// XSETBV.
pub(crate) fn xsetbv<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    if cpu.cr4 & cr::OSXSAVE == 0 {
        return Err(cpu.ud());
    }
    privileged(cpu)?;
    let value = cpu.gpr[reg::RAX] & 0xffff_ffff | cpu.gpr[reg::RDX] << 32;
    let known = cpuid::xcr0(&cpu.features);
    if number(cpu) != 0 || value & 1 == 0 || value & !known != 0 || value & 4 != 0 && value & 2 == 0
    {
        return Err(cpu.gp());
    }
    cpu.xcr0 = value;
    Ok(())
}
