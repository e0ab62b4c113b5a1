//! The images of x87 state in memory.
//!
//! ```text
//! FNSTENV, 32 bits   control · status · tags · instruction · its selector and opcode · operand · its selector
//! FXSAVE, 512 bytes  0 control  2 status  4 tags (a bit a register)  6 opcode  8 instruction  16 operand
//!                    24 MXCSR and its mask  32 ST(0) to ST(7), 16 bytes each  160 XMM0 to XMM15
//! ```

use super::control::control_word;
use super::transfer::status_word;
use super::unit::{self, summarize};
use crate::exec::vector::moves::MXCSR_MASK;
use crate::fault::Step;
use crate::fp::F80;
use crate::fp::Raw;
use crate::fp::raw::Class;
use crate::memory::Memory;
use crate::state::CpuState;
use crate::word::{low8, low16, low32};

/// Bytes of what FXSAVE writes: the last 48 are left alone.
pub(crate) const LEGACY: usize = 464;

/// Writes an image whose place was checked.
pub(crate) fn write<M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    linear: u64,
    image: &[u8],
) -> Step {
    let mut at = linear;
    let (words, rest) = image.as_chunks::<8>();
    for word in words {
        memory.write(cpu, at, u64::from_le_bytes(*word))?;
        at = at.wrapping_add(8);
    }
    for byte in rest {
        memory.write(cpu, at, *byte)?;
        at = at.wrapping_add(1);
    }
    Ok(())
}

/// Reads an image.
pub(crate) fn read<M: Memory>(
    cpu: &mut CpuState,
    memory: &mut M,
    linear: u64,
    bytes: usize,
) -> Step<Vec<u8>> {
    let mut image = Vec::with_capacity(bytes);
    let mut at = linear;
    for _ in 0..bytes / 8 {
        image.extend(memory.read::<u64>(cpu, at)?.to_le_bytes());
        at = at.wrapping_add(8);
    }
    for _ in 0..bytes % 8 {
        image.push(memory.read::<u8>(cpu, at)?);
        at = at.wrapping_add(1);
    }
    Ok(image)
}

/// The word at `at`, zero beyond the end.
fn word(image: &[u8], at: usize) -> u16 {
    let byte = |i: usize| u16::from(image.get(i).copied().unwrap_or(0));
    byte(at) | (byte(at + 1) << 8)
}

fn double(image: &[u8], at: usize) -> u32 {
    u32::from(word(image, at)) | (u32::from(word(image, at + 2)) << 16)
}

fn quad(image: &[u8], at: usize) -> u64 {
    u64::from(double(image, at)) | (u64::from(double(image, at + 4)) << 32)
}

/// A number of ten bytes.
pub(crate) fn ten(bytes: &[u8]) -> Raw {
    let sig = quad(bytes, 0);
    let high = word(bytes, 8);
    Raw {
        sign: high >> 15 != 0,
        exp: high & 0x7fff,
        sig,
    }
}

/// The tag word with what the registers hold: valid, zero, special, empty.
fn tags(cpu: &CpuState) -> u16 {
    let mut tags = 0;
    for (i, register) in cpu.fpu.registers.iter().enumerate() {
        let value = Raw {
            sign: false,
            exp: register.exponent & 0x7fff,
            sig: register.mantissa,
        };
        let tag = match value.class(F80) {
            _ if cpu.fpu.tags >> (i * 2) & 3 == 3 => 3,
            Class::Finite { denormal: false } => 0,
            Class::Zero => 1,
            _ => 2,
        };
        tags |= tag << (i * 2);
    }
    tags
}

/// What FNSTENV writes, in its 14- or 28-byte form.
pub(crate) fn environment(cpu: &CpuState, bytes: usize) -> Vec<u8> {
    let fpu = &cpu.fpu;
    let head = [fpu.control, status_word(cpu), tags(cpu)];
    let (ip, operand) = (low32(fpu.instruction.0), low32(fpu.operand.0));
    let (cs, ds) = (fpu.instruction.1, fpu.operand.1);
    let linear = |offset: u32, selector: u16| offset.wrapping_add(u32::from(selector) << 4);
    let protected = cpu.protected() && !cpu.v86();
    let tail = match (bytes, protected) {
        (14, true) => [ip, cs.into(), operand, ds.into()],
        (14, false) => {
            let (ip, operand) = (linear(ip, cs), linear(operand, ds));
            let upper = |address: u32| (address >> 4) & 0xf000;
            [
                ip,
                upper(ip) | u32::from(fpu.opcode),
                operand,
                upper(operand),
            ]
        }
        (_, true) => [
            ip,
            u32::from(cs) | (u32::from(fpu.opcode) << 16),
            operand,
            u32::from(ds) | 0xffff_0000,
        ],
        (_, false) => {
            let (ip, operand) = (linear(ip, cs), linear(operand, ds));
            let upper = |address: u32| address >> 16 << 12;
            [
                (ip & 0xffff) | 0xffff_0000,
                upper(ip) | u32::from(fpu.opcode),
                (operand & 0xffff) | 0xffff_0000,
                upper(operand),
            ]
        }
    };
    let head = head.map(|word| u32::from(word) | 0xffff_0000);
    let all = head.into_iter().chain(tail);
    if bytes == 14 {
        all.flat_map(|word| low16(word.into()).to_le_bytes())
            .collect()
    } else {
        all.flat_map(u32::to_le_bytes).collect()
    }
}

/// What FLDENV takes.
pub(crate) fn set_environment(cpu: &mut CpuState, image: &[u8]) {
    let step = if image.len() == 14 { 2 } else { 4 };
    let field = |i: usize| {
        if step == 2 {
            u32::from(word(image, i * 2))
        } else {
            double(image, i * 4)
        }
    };
    let low = |value: u32| low16(value.into());
    cpu.fpu.control = control_word(low(field(0)));
    set_status(cpu, low(field(1)));
    let tags = low(field(2));
    cpu.fpu.tags = 0;
    for i in 0..8 {
        if tags >> (i * 2) & 3 == 3 {
            cpu.fpu.tags |= 3 << (i * 2);
        }
    }
    if cpu.protected() && !cpu.v86() {
        cpu.fpu.instruction = (field(3).into(), low(field(4)));
        cpu.fpu.operand = (field(5).into(), low(field(6)));
        cpu.fpu.opcode = if step == 2 {
            0
        } else {
            low(field(4) >> 16) & 0x7ff
        };
    } else {
        let upper = |value: u32| (value & 0x0fff_f000) << 4;
        cpu.fpu.instruction = ((upper(field(4)) | (field(3) & 0xffff)).into(), 0);
        cpu.fpu.operand = ((upper(field(6)) | (field(5) & 0xffff)).into(), 0);
        cpu.fpu.opcode = low(field(4)) & 0x7ff;
    }
    summarize(cpu);
}

fn set_status(cpu: &mut CpuState, value: u16) {
    cpu.fpu.status = value & !0x3800;
    cpu.fpu.top = low8(u64::from(value >> 11)) & 7;
}

/// Bytes 0 to 23 and 32 to 159 of an FXSAVE image: the x87.
pub(crate) fn write_x87(cpu: &CpuState, wide: bool, image: &mut [u8]) {
    let fpu = &cpu.fpu;
    let mut abridged = 0_u8;
    for i in 0..8 {
        if fpu.tags >> (i * 2) & 3 != 3 {
            abridged |= 1 << i;
        }
    }
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(into) = image.get_mut(at..at + bytes.len()) {
            into.copy_from_slice(bytes);
        }
    };
    put(0, &fpu.control.to_le_bytes());
    put(2, &status_word(cpu).to_le_bytes());
    put(4, &[abridged, 0]);
    put(6, &fpu.opcode.to_le_bytes());
    for (at, (offset, selector)) in [(8, fpu.instruction), (16, fpu.operand)] {
        if wide {
            put(at, &offset.to_le_bytes());
        } else {
            put(at, &low32(offset).to_le_bytes());
            put(at + 4, &u32::from(selector).to_le_bytes());
        }
    }
    for i in 0..8_u8 {
        let value = unit::st(cpu, i).to_f80();
        put(32 + usize::from(i) * 16, &value.to_le_bytes());
    }
}

/// Takes the x87 from an FXSAVE image.
pub(crate) fn read_x87(cpu: &mut CpuState, wide: bool, image: &[u8]) {
    cpu.fpu.control = control_word(word(image, 0));
    set_status(cpu, word(image, 2));
    cpu.fpu.opcode = word(image, 6) & 0x7ff;
    let pointer = |at: usize| {
        if wide {
            (quad(image, at), 0)
        } else {
            (double(image, at).into(), word(image, at + 4))
        }
    };
    cpu.fpu.instruction = pointer(8);
    cpu.fpu.operand = pointer(16);
    for i in 0..8_u8 {
        let at = 32 + usize::from(i) * 16;
        unit::set_st(cpu, i, ten(image.get(at..at + 10).unwrap_or(&[])));
    }
    let abridged = word(image, 4);
    cpu.fpu.tags = 0;
    for i in 0..8 {
        if abridged >> i & 1 == 0 {
            cpu.fpu.tags |= 3 << (i * 2);
        }
    }
    summarize(cpu);
}

/// MXCSR and its mask.
pub(crate) fn write_mxcsr(cpu: &CpuState, image: &mut [u8]) {
    if let Some(into) = image.get_mut(24..32) {
        into[..4].copy_from_slice(&cpu.mxcsr.to_le_bytes());
        into[4..].copy_from_slice(&MXCSR_MASK.to_le_bytes());
    }
}

/// MXCSR from an image.
pub(crate) fn mxcsr(image: &[u8]) -> u32 {
    double(image, 24)
}

/// How many vector registers there are in this mode.
fn registers(cpu: &CpuState) -> usize {
    if cpu.long_code() { 16 } else { 8 }
}

/// The lower (`from` 0) or upper (`from` 2) halves of the vector registers to an image, 16 bytes each.
pub(crate) fn write_vectors(cpu: &CpuState, from: usize, image: &mut [u8]) {
    let halves = image.chunks_exact_mut(16).zip(&cpu.vector);
    for (into, register) in halves.take(registers(cpu)) {
        into[..8].copy_from_slice(&register[from].to_le_bytes());
        into[8..].copy_from_slice(&register[from + 1].to_le_bytes());
    }
}

/// The halves of the vector registers from an image; zero for what it does not have.
pub(crate) fn read_vectors(cpu: &mut CpuState, from: usize, image: &[u8]) {
    let count = registers(cpu);
    for (i, register) in cpu.vector.iter_mut().enumerate().take(count) {
        register[from] = quad(image, i * 16);
        register[from + 1] = quad(image, i * 16 + 8);
    }
}
