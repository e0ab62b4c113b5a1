//! FXSAVE, FXRSTOR and the XSAVE family (Intel SDM volume 1, chapter 13).
//!
//! ```text
//!   0x000  legacy: x87, MXCSR, xmm      0x200  header: XSTATE_BV, XCOMP_BV
//!   0x240  upper halves of ymm          0xa80  PKRU
//! ```
//! In the compacted form the components follow one another from 0x240.

use crate::exec::access::{Access, linear};
use crate::fault::{self, Step};
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::{CpuState, F80, cr, reg};
use crate::word::{index, low8, low16, low32};

/// Component bits.
const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;
const PKRU: u64 = 1 << 9;

/// Bytes of the legacy area and of the header.
const LEGACY: u64 = 512;
const HEADER: u64 = 64;

/// Where AVX and PKRU lie in the standard form.
pub(crate) const AVX_AT: u64 = LEGACY + HEADER;
/// See [`AVX_AT`].
pub(crate) const PKRU_AT: u64 = 0xa80;

/// MXCSR bits that exist.
pub(crate) const MXCSR: u32 = 0xffff;

/// #UD and #NM of the FXSAVE group.
fn available(cpu: &mut CpuState, extended: bool) -> Step {
    if extended && cpu.cr4 & cr::OSXSAVE == 0 || !extended && cpu.cr0 & cr::EM != 0 {
        return Err(cpu.ud());
    }
    if cpu.cr0 & cr::TS != 0 {
        return Err(cpu.raise(fault::NM, 0));
    }
    Ok(())
}

/// The area's address.
fn area<M: Memory>(
    cpu: &mut CpuState,
    op: &Op<M>,
    bytes: usize,
    align: u64,
    access: Access,
) -> Step<u64> {
    let linear = linear(cpu, op, bytes, access)?;
    if linear & (align - 1) != 0 {
        return Err(cpu.gp());
    }
    Ok(linear)
}

/// One bit a register: not empty.
fn short_tags(tags: u16) -> u8 {
    (0..8).fold(0, |out, n| out | u8::from(tags >> (2 * n) & 3 != 3) << n)
}

/// The full tag word again: valid, zero or special by the registers' values.
pub(crate) fn full_tags(short: u8, registers: &[F80; 8]) -> u16 {
    let kind = |value: &F80| match (value.exponent & 0x7fff, value.mantissa) {
        (0, 0) => 1,
        (0 | 0x7fff, _) => 2,
        (_, mantissa) if mantissa >> 63 == 0 => 2,
        _ => 0,
    };
    (0u16..).zip(registers).fold(0, |out, (n, value)| {
        let tag = if short >> n & 1 == 0 { 3 } else { kind(value) };
        out | tag << (2 * n)
    })
}

fn write_x87<M: Memory>(cpu: &mut CpuState, m: &mut M, at: u64, wide: bool) -> Step {
    let fpu = cpu.fpu;
    let status = u64::from(fpu.status & !0x3800) | u64::from(fpu.top & 7) << 11;
    let first = u64::from(fpu.control)
        | status << 16
        | u64::from(short_tags(fpu.tags)) << 32
        | u64::from(fpu.opcode) << 48;
    let far = |(offset, selector): (u64, u16)| {
        if wide {
            offset
        } else {
            offset & 0xffff_ffff | u64::from(selector) << 32
        }
    };
    m.write(cpu, at, first)?;
    m.write(cpu, at + 8, far(fpu.instruction))?;
    m.write(cpu, at + 16, far(fpu.operand))?;
    for n in 0..8u8 {
        let value = fpu.registers[usize::from((fpu.top + n) & 7)];
        let to = at + 32 + 16 * u64::from(n);
        m.write(cpu, to, value.mantissa)?;
        m.write(cpu, to + 8, u64::from(value.exponent))?;
    }
    Ok(())
}

fn read_x87<M: Memory>(cpu: &mut CpuState, m: &mut M, at: u64, wide: bool) -> Step {
    let first = m.read::<u64>(cpu, at)?;
    let mut fpu = cpu.fpu;
    fpu.control = low16(first);
    fpu.top = low8(first >> 27) & 7;
    fpu.status = low16(first >> 16) & !0x3800;
    fpu.opcode = low16(first >> 48) & 0x7ff;
    let mut far = |cpu: &mut CpuState, at: u64| -> Step<(u64, u16)> {
        let raw = m.read::<u64>(cpu, at)?;
        Ok(if wide {
            (raw, 0)
        } else {
            (raw & 0xffff_ffff, low16(raw >> 32))
        })
    };
    fpu.instruction = far(cpu, at + 8)?;
    fpu.operand = far(cpu, at + 16)?;
    for n in 0..8u8 {
        let from = at + 32 + 16 * u64::from(n);
        let mantissa = m.read::<u64>(cpu, from)?;
        let exponent = m.read::<u16>(cpu, from + 8)?;
        fpu.registers[usize::from((fpu.top + n) & 7)] = F80 { mantissa, exponent };
    }
    fpu.tags = full_tags(low8(first >> 32), &fpu.registers);
    cpu.fpu = fpu;
    Ok(())
}

fn xmm_count(cpu: &CpuState) -> u64 {
    if cpu.long_code() { 16 } else { 8 }
}

fn write_xmm<M: Memory>(cpu: &mut CpuState, m: &mut M, at: u64, upper: bool, step: u64) -> Step {
    let from = if upper { 2 } else { 0 };
    for n in 0..xmm_count(cpu) {
        let value = cpu.vector[index(n) & 15];
        m.write(cpu, at + step * n, value[from])?;
        m.write(cpu, at + step * n + 8, value[from + 1])?;
    }
    Ok(())
}

fn read_xmm<M: Memory>(cpu: &mut CpuState, m: &mut M, at: u64, upper: bool) -> Step {
    let mut values = [[0; 2]; 16];
    for n in 0..xmm_count(cpu) {
        values[index(n) & 15] = [m.read(cpu, at + 16 * n)?, m.read(cpu, at + 16 * n + 8)?];
    }
    let from = if upper { 2 } else { 0 };
    for n in 0..xmm_count(cpu) {
        let into = &mut cpu.vector[index(n) & 15];
        into[from..from + 2].copy_from_slice(&values[index(n) & 15]);
    }
    Ok(())
}

fn set_mxcsr(cpu: &mut CpuState, value: u32) -> Step {
    if value & !MXCSR != 0 {
        return Err(cpu.gp());
    }
    cpu.mxcsr = value;
    Ok(())
}

/// FXSAVE; `WIDE` with REX.W.
pub(crate) fn fxsave<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    available(cpu, false)?;
    let at = area(cpu, op, 512, 16, Access::Write)?;
    m.check_write(cpu, at, 512)?;
    write_x87(cpu, m, at, WIDE)?;
    let mxcsr = u64::from(cpu.mxcsr) | u64::from(MXCSR) << 32;
    m.write(cpu, at + 24, mxcsr)?;
    write_xmm(cpu, m, at + 160, false, 16)
}

/// FXRSTOR; `WIDE` with REX.W.
pub(crate) fn fxrstor<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    available(cpu, false)?;
    let at = area(cpu, op, 512, 16, Access::Read)?;
    m.read::<u64>(cpu, at + 504)?;
    let mxcsr = low32(m.read::<u64>(cpu, at + 24)?);
    set_mxcsr(cpu, mxcsr)?;
    read_x87(cpu, m, at, WIDE)?;
    read_xmm(cpu, m, at + 160, false)
}

/// The components that an instruction asks for and the system has on.
fn asked(cpu: &CpuState) -> u64 {
    cpu.xcr0 & (cpu.gpr[reg::RAX] & 0xffff_ffff | cpu.gpr[reg::RDX] << 32)
}

/// Components that differ from their initial state.
fn in_use(cpu: &CpuState) -> u64 {
    let fpu = cpu.fpu;
    let x87 = fpu.control != 0x37f || fpu.status != 0 || fpu.top != 0 || fpu.tags != 0xffff;
    let on = |used: bool, bit: u64| if used { bit } else { 0 };
    let sse = cpu.vector.iter().any(|v| v[0] | v[1] != 0);
    let avx = cpu.vector.iter().any(|v| v[2] | v[3] != 0);
    on(x87, X87) | on(sse, SSE) | on(avx, AVX) | on(cpu.pkru != 0, PKRU)
}

/// Where a component lies.
fn place(components: u64, bit: u64, compact: bool) -> u64 {
    match (bit, compact) {
        (PKRU, true) => AVX_AT + if components & AVX != 0 { 256 } else { 0 },
        (PKRU, false) => PKRU_AT,
        _ => AVX_AT,
    }
}

fn save<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
    compact: bool,
) -> Step {
    available(cpu, true)?;
    let at = area(cpu, op, 576, 64, Access::Write)?;
    let asked = asked(cpu);
    let used = asked & in_use(cpu);
    let size = place(asked, PKRU, compact) + if asked & PKRU != 0 { 8 } else { 0 };
    let size = if asked & (AVX | PKRU) == 0 {
        AVX_AT
    } else {
        size
    };
    m.check_write(cpu, at, index(size))?;
    let written = if compact { used } else { asked };
    if written & X87 != 0 {
        write_x87(cpu, m, at, WIDE)?;
    }
    if asked & (SSE | AVX) != 0 {
        let mxcsr = u64::from(cpu.mxcsr) | u64::from(MXCSR) << 32;
        m.write(cpu, at + 24, mxcsr)?;
    }
    if written & SSE != 0 {
        write_xmm(cpu, m, at + 160, false, 16)?;
    }
    if written & AVX != 0 {
        write_xmm(cpu, m, at + AVX_AT, true, 16)?;
    }
    if written & PKRU != 0 {
        let pkru = u64::from(cpu.pkru);
        m.write(cpu, at + place(asked, PKRU, compact), pkru)?;
    }
    if compact {
        m.write(cpu, at + LEGACY, used)?;
        return m.write(cpu, at + LEGACY + 8, asked | 1 << 63);
    }
    let before = m.read::<u64>(cpu, at + LEGACY)?;
    m.write(cpu, at + LEGACY, before & !asked | used)
}

/// XSAVE, XSAVEOPT.
pub(crate) fn xsave<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    save::<WIDE, M>(cpu, m, op, false)
}

/// XSAVEC.
pub(crate) fn xsavec<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    save::<WIDE, M>(cpu, m, op, true)
}

/// XSAVES: no supervisor component exists, so it is a privileged XSAVEC.
pub(crate) fn xsaves<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    super::privileged(cpu)?;
    save::<WIDE, M>(cpu, m, op, true)
}

/// XRSTORS.
pub(crate) fn xrstors<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    super::privileged(cpu)?;
    xrstor::<WIDE, M>(cpu, m, op)
}

/// XRSTOR.
pub(crate) fn xrstor<const WIDE: bool, M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    op: &Op<M>,
) -> Step {
    available(cpu, true)?;
    let at = area(cpu, op, 576, 64, Access::Read)?;
    let present = m.read::<u64>(cpu, at + LEGACY)?;
    let form = m.read::<u64>(cpu, at + LEGACY + 8)?;
    let reserved = m.read::<u64>(cpu, at + LEGACY + 16)?;
    let compact = form >> 63 != 0;
    let components = form & !(1 << 63);
    let wrong = if compact {
        components & !cpu.xcr0 != 0 || present & !components != 0
    } else {
        form != 0 || present & !cpu.xcr0 != 0
    };
    if wrong || reserved != 0 {
        return Err(cpu.gp());
    }
    let asked = asked(cpu);
    let load = asked & present;
    if asked & (SSE | AVX) != 0 && (!compact || load & (SSE | AVX) != 0) {
        let mxcsr = low32(m.read::<u64>(cpu, at + 24)?);
        set_mxcsr(cpu, mxcsr)?;
    } else if asked & SSE != 0 {
        cpu.mxcsr = 0x1f80;
    }
    restore_parts(cpu, m, at, asked, load, WIDE)?;
    if asked & PKRU != 0 {
        cpu.pkru = if load & PKRU != 0 {
            m.read::<u32>(cpu, at + place(components, PKRU, compact))?
        } else {
            0
        };
        m.mode_changed(cpu);
    }
    Ok(())
}

fn restore_parts<M: Memory>(
    cpu: &mut CpuState,
    m: &mut M,
    at: u64,
    asked: u64,
    load: u64,
    wide: bool,
) -> Step {
    let count = index(xmm_count(cpu));
    if load & X87 != 0 {
        read_x87(cpu, m, at, wide)?;
    } else if asked & X87 != 0 {
        cpu.fpu = crate::state::Fpu::default();
    }
    if load & SSE != 0 {
        read_xmm(cpu, m, at + 160, false)?;
    } else if asked & SSE != 0 {
        cpu.vector
            .iter_mut()
            .take(count)
            .for_each(|v| v[..2].fill(0));
    }
    if load & AVX != 0 {
        read_xmm(cpu, m, at + AVX_AT, true)?;
    } else if asked & AVX != 0 {
        cpu.vector
            .iter_mut()
            .take(count)
            .for_each(|v| v[2..].fill(0));
    }
    Ok(())
}
