//! FXSAVE and the XSAVE family.
//!
//! ```text
//! 0     FXSAVE image: x87 (component 0), XMM (component 1), MXCSR at 24
//! 512   XSTATE_BV · XCOMP_BV · zero            (bit 63 of XCOMP_BV: compacted form)
//! 576   upper halves of YMM (component 2); in the standard form PKRU (component 9) is at 2688
//! ```

use super::access::{self, Access};
use super::x87::area;
use crate::exec::vector::moves::MXCSR_MASK;
use crate::fault::{self, Step};
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::{CpuState, Fpu, cr, efer, reg};
use crate::word::low32;

const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;
const PKRU: u64 = 1 << 9;
/// XCOMP_BV: compacted form.
const COMPACTED: u64 = 1 << 63;
/// Where the header is.
const HEADER: usize = 512;
/// Where components that are not in the legacy image begin.
const EXTENDED: usize = 576;
/// Those components: bit, bytes, place in the standard form.
const COMPONENTS: [(u64, usize, usize); 2] = [(AVX, 256, EXTENDED), (PKRU, 8, 2688)];
/// MXCSR after reset.
const MXCSR_INITIAL: u32 = 0x1f80;

fn fast(cpu: &CpuState) -> bool {
    cpu.efer & efer::FFXSR != 0 && cpu.cpl == 0 && cpu.long_code()
}

fn aligned<M>(cpu: &mut CpuState, op: &Op<M>, to: u64, bytes: usize, access: Access) -> Step<u64> {
    let linear = access::linear(cpu, op, bytes, access)?;
    // FXSAVE finds an address that is not canonical first, XSAVE one that is not aligned.
    let later = to == 16 && !cpu.canonical(linear);
    if linear & (to - 1) != 0 && !later {
        return Err(cpu.gp());
    }
    Ok(linear)
}

/// The exceptions of FXSAVE and FXRSTOR.
fn usable(cpu: &mut CpuState) -> Step {
    if cpu.cr0 & cr::EM != 0 {
        return Err(cpu.ud());
    }
    if cpu.cr0 & cr::TS != 0 {
        return Err(cpu.raise(fault::NM, 0));
    }
    Ok(())
}

/// FXSAVE, and FXSAVE64 with 64-bit pointers.
pub(crate) fn fxsave<M: Memory, const WIDE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    usable(cpu)?;
    let linear = aligned(cpu, op, 16, 512, Access::Write)?;
    memory.check_write(cpu, linear, 512)?;
    let mut image = area::read(cpu, memory, linear, area::LEGACY)?;
    area::write_x87(cpu, WIDE, &mut image);
    area::write_mxcsr(cpu, &mut image);
    if !fast(cpu) {
        let (_, vectors) = image.split_at_mut(160);
        area::write_vectors(cpu, 0, vectors);
    }
    let bytes = if cpu.long_code() { 416 } else { 288 };
    area::write(cpu, memory, linear, image.get(..bytes).unwrap_or(&image))
}

/// FXRSTOR, and FXRSTOR64.
pub(crate) fn fxrstor<M: Memory, const WIDE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    usable(cpu)?;
    let linear = aligned(cpu, op, 16, 512, Access::Read)?;
    let image = area::read(cpu, memory, linear, 512)?;
    let mxcsr = checked_mxcsr(cpu, &image)?;
    area::read_x87(cpu, WIDE, &image);
    cpu.mxcsr = mxcsr;
    if !fast(cpu) {
        area::read_vectors(cpu, 0, image.get(160..416).unwrap_or(&[]));
    }
    Ok(())
}

fn checked_mxcsr(cpu: &mut CpuState, image: &[u8]) -> Step<u32> {
    let mxcsr = area::mxcsr(image);
    if mxcsr & !MXCSR_MASK != 0 {
        return Err(cpu.gp());
    }
    Ok(mxcsr)
}

fn available(cpu: &mut CpuState) -> Step {
    if cpu.cr4 & cr::OSXSAVE == 0 {
        return Err(cpu.ud());
    }
    if cpu.cr0 & cr::TS != 0 {
        return Err(cpu.raise(fault::NM, 0));
    }
    Ok(())
}

/// The components that the instruction asks for.
fn requested(cpu: &CpuState) -> u64 {
    let mask = (cpu.gpr[reg::RAX] & 0xffff_ffff) | (cpu.gpr[reg::RDX] << 32);
    mask & cpu.xcr0
}

/// The components that are not in their initial state.
fn in_use(cpu: &CpuState) -> u64 {
    let zero = |from: usize| cpu.vector.iter().all(|v| v[from] == 0 && v[from + 1] == 0);
    let mut used = 0;
    if cpu.fpu != Fpu::default() {
        used |= X87;
    }
    if !zero(0) {
        used |= SSE;
    }
    if !zero(2) {
        used |= AVX;
    }
    if cpu.pkru != 0 {
        used |= PKRU;
    }
    used
}

/// Where each extended component of `present` is, and how many bytes all take.
fn layout(present: u64, compacted: bool) -> (Vec<(u64, usize, usize)>, usize) {
    let (mut places, mut end) = (Vec::new(), EXTENDED);
    for (bit, bytes, standard) in COMPONENTS {
        if present & bit != 0 {
            let at = if compacted { end } else { standard };
            places.push((bit, bytes, at));
            end = at + bytes;
        }
    }
    (places, end)
}

/// How a state is saved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// XSAVE: everything.
    All,
    /// XSAVEOPT: not what is in its initial state.
    Used,
    /// XSAVEC, XSAVES: the same, without holes.
    Compacted,
}

fn save<M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    wide: bool,
    manner: Manner,
) -> Step {
    available(cpu)?;
    let (wanted, used) = (requested(cpu), in_use(cpu));
    let compacted = manner == Manner::Compacted;
    let (places, bytes) = layout(wanted, compacted);
    let linear = aligned(cpu, op, 64, bytes, Access::Write)?;
    memory.check_write(cpu, linear, HEADER + 64)?;
    for (_, size, at) in &places {
        memory.check_write(cpu, linear.wrapping_add(*at as u64), *size)?;
    }
    let mut image = area::read(cpu, memory, linear, HEADER + 64)?;
    let mxcsr_moved = cpu.mxcsr != MXCSR_INITIAL;
    let used = if compacted && mxcsr_moved {
        used | SSE
    } else {
        used
    };
    let written = if manner == Manner::All {
        wanted
    } else {
        wanted & used
    };
    if written & X87 != 0 {
        area::write_x87(cpu, wide, &mut image);
    }
    let with_mxcsr = if compacted {
        written & SSE != 0
    } else {
        wanted & (SSE | AVX) != 0
    };
    if with_mxcsr {
        area::write_mxcsr(cpu, &mut image);
    }
    if written & SSE != 0 {
        area::write_vectors(cpu, 0, image.get_mut(160..416).unwrap_or(&mut []));
    }
    let (legacy, header) = image.split_at_mut(HEADER);
    let old = header
        .first_chunk::<8>()
        .map_or(0, |b| u64::from_le_bytes(*b));
    let state = if compacted {
        wanted & used
    } else {
        (old & !wanted) | (wanted & used)
    };
    header[..8].copy_from_slice(&state.to_le_bytes());
    if compacted {
        header[8..16].copy_from_slice(&(wanted | COMPACTED).to_le_bytes());
    }
    area::write(cpu, memory, linear, legacy.get(..416).unwrap_or(legacy))?;
    area::write(
        cpu,
        memory,
        linear.wrapping_add(HEADER as u64),
        &header[..16],
    )?;
    for (bit, size, at) in places {
        if written & bit == 0 {
            continue;
        }
        let mut part = vec![0; size];
        if bit == AVX {
            part = area::read(cpu, memory, linear.wrapping_add(at as u64), size)?;
            area::write_vectors(cpu, 2, &mut part);
        } else {
            part[..4].copy_from_slice(&cpu.pkru.to_le_bytes());
        }
        area::write(cpu, memory, linear.wrapping_add(at as u64), &part)?;
    }
    Ok(())
}

/// XSAVE.
pub(crate) fn xsave<M: Memory, const WIDE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    save(cpu, memory, op, WIDE, Manner::All)
}

/// XSAVEOPT.
pub(crate) fn xsaveopt<M: Memory, const WIDE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    save(cpu, memory, op, WIDE, Manner::Used)
}

/// XSAVEC.
pub(crate) fn xsavec<M: Memory, const WIDE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    save(cpu, memory, op, WIDE, Manner::Compacted)
}

/// XSAVES: there are no supervisor components, so it is XSAVEC at privilege level 0.
pub(crate) fn xsaves<M: Memory, const WIDE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available(cpu)?;
    if cpu.cpl != 0 {
        return Err(cpu.gp());
    }
    save(cpu, memory, op, WIDE, Manner::Compacted)
}

/// XRSTOR.
pub(crate) fn xrstor<M: Memory, const WIDE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available(cpu)?;
    restore(cpu, memory, op, WIDE, false)
}

/// XRSTORS.
pub(crate) fn xrstors<M: Memory, const WIDE: bool>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
) -> Step {
    available(cpu)?;
    if cpu.cpl != 0 {
        return Err(cpu.gp());
    }
    restore(cpu, memory, op, WIDE, true)
}

/// Checks the header. XSTATE_BV and which components the area has, or `None` if it is to be refused.
fn header(cpu: &CpuState, image: &[u8], supervisor: bool) -> Option<(u64, u64)> {
    let word = |i: usize| {
        let at = HEADER + i * 8;
        let bytes = image.get(at..at + 8)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*bytes))
    };
    let (state, form) = (word(0)?, word(1)?);
    let reserved = |from: usize| (from..8).try_fold(0, |all, i| Some(all | word(i)?));
    if form & COMPACTED == 0 {
        let bad = supervisor || state & !cpu.xcr0 != 0 || form != 0 || word(2)? != 0;
        return (!bad).then_some((state, cpu.xcr0));
    }
    let present = form & !COMPACTED;
    let bad = present & !cpu.xcr0 != 0 || state & !present != 0 || reserved(2)? != 0;
    (!bad).then_some((state, form))
}

fn restore<M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    op: &Op<M>,
    wide: bool,
    supervisor: bool,
) -> Step {
    let wanted = requested(cpu);
    let linear = aligned(cpu, op, 64, EXTENDED, Access::Read)?;
    let image = area::read(cpu, memory, linear, EXTENDED)?;
    let Some((state, form)) = header(cpu, &image, supervisor) else {
        return Err(cpu.gp());
    };
    let compacted = form & COMPACTED != 0;
    let (places, _) = layout(if compacted { form } else { COMPONENTS_ALL }, compacted);
    let loaded = wanted & state;
    let mut parts = Vec::new();
    for (bit, size, at) in places {
        if loaded & bit != 0 {
            let part = area::read(cpu, memory, linear.wrapping_add(at as u64), size)?;
            parts.push((bit, part));
        }
    }
    let mxcsr = match (compacted, wanted & SSE, loaded & SSE) {
        (false, _, _) if wanted & (SSE | AVX) != 0 => checked_mxcsr(cpu, &image)?,
        (true, SSE, SSE) => checked_mxcsr(cpu, &image)?,
        (true, SSE, _) => MXCSR_INITIAL,
        _ => cpu.mxcsr,
    };
    cpu.mxcsr = mxcsr;
    if loaded & X87 != 0 {
        area::read_x87(cpu, wide, &image);
    } else if wanted & X87 != 0 {
        cpu.fpu = Fpu::default();
    }
    if wanted & SSE != 0 {
        let image = image.get(160..416).filter(|_| loaded & SSE != 0);
        area::read_vectors(cpu, 0, image.unwrap_or(&[]));
    }
    let part = |bit: u64| {
        parts
            .iter()
            .find(|(b, _)| *b == bit)
            .map(|(_, p)| p.as_slice())
    };
    if wanted & AVX != 0 {
        area::read_vectors(cpu, 2, part(AVX).unwrap_or(&[]));
    }
    if wanted & PKRU != 0 {
        let bytes = part(PKRU).and_then(|p| p.first_chunk::<8>());
        cpu.pkru = low32(bytes.map_or(0, |b| u64::from_le_bytes(*b)));
        memory.mode_changed(cpu);
    }
    Ok(())
}

/// Every component of [`COMPONENTS`].
const COMPONENTS_ALL: u64 = AVX | PKRU;
