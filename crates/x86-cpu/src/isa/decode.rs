//! From bytes to operations.

use iced_x86::{Code, Decoder, DecoderError, DecoderOptions, Instruction, OpKind, Register};

use super::{Form, Op, op, table};
use crate::cpuid::Features;
use crate::exec;
use crate::memory::Memory;
use crate::state::{CodeSize, reg, seg};
use crate::word::low8;

/// Why there is no operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecoded {
    /// The instruction goes on behind the last byte.
    NeedsMore,
    /// Longer than 15 bytes: #GP.
    TooLong,
}

/// Instructions whose prefix older processors ignore, and what those then see.
const OLDER: &[(Code, Code)] = &[
    (Code::Tzcnt_r16_rm16, Code::Bsf_r16_rm16),
    (Code::Tzcnt_r32_rm32, Code::Bsf_r32_rm32),
    (Code::Tzcnt_r64_rm64, Code::Bsf_r64_rm64),
    (Code::Lzcnt_r16_rm16, Code::Bsr_r16_rm16),
    (Code::Lzcnt_r32_rm32, Code::Bsr_r32_rm32),
    (Code::Lzcnt_r64_rm64, Code::Bsr_r64_rm64),
];

/// Longest instruction.
const LONGEST: usize = 15;

/// Decodes the instructions of a block one after the other.
pub struct Decoding<'a> {
    decoder: Decoder<'a>,
    bytes: usize,
    size: CodeSize,
    features: &'a Features,
}

impl<'a> Decoding<'a> {
    /// Starts at the first of `bytes`, which is the block's start.
    pub fn new(bytes: &'a [u8], size: CodeSize, features: &'a Features) -> Self {
        Self {
            decoder: Decoder::with_ip(size.bits(), bytes, 0, DecoderOptions::NONE),
            bytes: bytes.len(),
            size,
            features,
        }
    }

    /// The next operation. An instruction that does not exist is one that raises #UD.
    ///
    /// # Errors
    /// There is none.
    pub fn next_op<M: Memory>(&mut self) -> Result<Op<M>, Undecoded> {
        let at = self.decoder.position();
        let mut instruction = Instruction::default();
        self.decoder.decode_out(&mut instruction);
        match self.decoder.last_error() {
            DecoderError::NoMoreBytes if self.bytes.saturating_sub(at) < LONGEST => {
                return Err(Undecoded::NeedsMore);
            }
            DecoderError::NoMoreBytes => return Err(Undecoded::TooLong),
            DecoderError::InvalidInstruction if instruction.len() >= LONGEST => {
                return Err(Undecoded::TooLong);
            }
            _ => {}
        }
        Ok(self.operation(&instruction))
    }

    fn operation<M: Memory>(&self, from: &Instruction) -> Op<M> {
        let code = self.known_as(from.code());
        let form = match table::find::<M>(code) {
            Some(form) if self.features.allow(code) => form,
            Some(_) => Form::any(exec::undefined::<M>).ends(),
            None => {
                tracing::debug!(target: "x86_cpu", ?code, "unknown instruction");
                Form::any(exec::undefined::<M>).ends()
            }
        };
        let mut out = Op {
            run: form.reg,
            imm: 0,
            disp: 0,
            reg: [0; 4],
            base: low8(reg::NONE as u64),
            index: low8(reg::NONE as u64),
            scale: 0,
            segment: low8(seg::FLAT as u64),
            code,
            start: u16::try_from(from.ip()).unwrap_or(0),
            length: u8::try_from(from.len()).unwrap_or(15),
            address_shift: 0,
            flags: form.flags,
        };
        self.operands(from, &mut out);
        if out.has(op::MEMORY) {
            out.run = form.mem;
        }
        if from.has_lock_prefix() {
            out.flags |= op::LOCK;
            out.run = match form.lock {
                Some(run) if out.has(op::MEMORY) || matches!(code, Code::Mov_r32_cr) => run,
                _ => exec::undefined::<M>,
            };
        }
        if from.has_rep_prefix() {
            out.flags |= op::REP;
        }
        if from.has_repne_prefix() {
            out.flags |= op::REPNE;
        }
        out
    }

    /// What an encoding means on this processor: one without a newer instruction reads its prefix as a useless REP.
    fn known_as(&self, code: Code) -> Code {
        if self.features.allow(code) {
            return code;
        }
        let older = OLDER.iter().find(|(newer, _)| *newer == code);
        older.map_or(code, |(_, older)| *older)
    }

    fn operands<M>(&self, from: &Instruction, out: &mut Op<M>) {
        for n in 0..from.op_count().min(5) {
            let slot = usize::try_from(n).unwrap_or(0);
            match from.op_kind(n) {
                OpKind::Register => {
                    if let Some(into) = out.reg.get_mut(slot) {
                        *into = number(from.op_register(n));
                    }
                }
                OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                    out.imm = from.near_branch_target();
                }
                OpKind::FarBranch16 => {
                    out.imm = u64::from(from.far_branch16())
                        | u64::from(from.far_branch_selector()) << 32;
                }
                OpKind::FarBranch32 => {
                    out.imm = u64::from(from.far_branch32())
                        | u64::from(from.far_branch_selector()) << 32;
                }
                OpKind::Immediate8_2nd => out.imm |= u64::from(from.immediate8_2nd()) << 32,
                OpKind::Memory => self.memory(from, out),
                OpKind::MemorySegSI
                | OpKind::MemorySegESI
                | OpKind::MemorySegRSI
                | OpKind::MemorySegDI
                | OpKind::MemorySegEDI
                | OpKind::MemorySegRDI
                | OpKind::MemoryESDI
                | OpKind::MemoryESEDI
                | OpKind::MemoryESRDI => self.string(from, n, out),
                _ => out.imm |= from.immediate(n),
            }
        }
    }

    fn memory<M>(&self, from: &Instruction, out: &mut Op<M>) {
        out.flags |= op::MEMORY;
        out.disp = from.memory_displacement64();
        let base = from.memory_base();
        let index = from.memory_index();
        let bits = if base == Register::RIP {
            64
        } else if base == Register::EIP {
            32
        } else {
            address_bits(base, index, from.memory_displ_size(), self.size)
        };
        out.address_shift = 64 - bits;
        out.base = match base {
            Register::None => low8(reg::NONE as u64),
            Register::RIP | Register::EIP => low8(reg::BLOCK as u64),
            other => number(other),
        };
        if index != Register::None {
            out.index = number(index);
        }
        out.scale = low8(u64::from(from.memory_index_scale().trailing_zeros()));
        out.segment = self.segment(from.memory_segment());
    }

    fn string<M>(&self, from: &Instruction, operand: u32, out: &mut Op<M>) {
        let kind = from.op_kind(operand);
        out.address_shift = match kind {
            OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => 48,
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => 32,
            _ => 0,
        };
        if !matches!(
            kind,
            OpKind::MemoryESDI | OpKind::MemoryESEDI | OpKind::MemoryESRDI
        ) {
            out.segment = self.segment(from.memory_segment());
        }
    }

    fn segment(&self, register: Register) -> u8 {
        let number = number(register);
        let plain = usize::from(number);
        let index = match self.size {
            CodeSize::Bits64 if plain == seg::SS => seg::FLAT_STACK,
            CodeSize::Bits64 if plain < seg::FS => seg::FLAT,
            _ => plain,
        };
        low8(index as u64)
    }
}

/// Width of an address by what it is made of.
fn address_bits(base: Register, index: Register, displacement: u32, size: CodeSize) -> u8 {
    let by = |register: Register| match register.size() {
        2 => 16,
        4 => 32,
        _ => 64,
    };
    if base != Register::None {
        return by(base);
    }
    if index != Register::None && !index.is_vector_register() {
        return by(index);
    }
    match displacement {
        2 => 16,
        4 if size != CodeSize::Bits64 => 32,
        4 => 32,
        8 => 64,
        _ => low8(u64::from(size.bits())),
    }
}

/// A register's number as [`Op::reg`] has it.
fn number(register: Register) -> u8 {
    let number = low8(register.number() as u64);
    if register.is_gpr8() {
        match number {
            0..=3 => number,
            4..=7 => 0x10 | (number - 4),
            _ => number - 4,
        }
    } else {
        number & 31
    }
}
