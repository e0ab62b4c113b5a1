//! Random instructions with operands that make sense: memory operands point into the window (now and then
//! elsewhere), everything else is random.

use house_tests::Rng;
use iced_x86::{
    Code, Encoder, Instruction, MemorySize, Mnemonic, OpCodeOperandKind as Operand, OpKind,
    Register, RflagsBits,
};

use x86_cpu::word::{low16, low32};

use crate::layout::{CODE, CODE_AT, DATA_AT, READ_ONLY_AT, WINDOW, WINDOW_AT, WINDOW_BYTES, XSAVE};
use crate::record::{self, Bits, put, word};

/// One case.
pub(crate) struct Case {
    /// What the runner gets.
    pub(crate) record: Vec<u8>,
    /// Instructions in it.
    pub(crate) codes: Vec<Code>,
    /// RFLAGS that it leaves undefined.
    pub(crate) undefined: u64,
    /// Its results are approximations.
    pub(crate) approximate: bool,
    /// It makes many accesses.
    pub(crate) wide: bool,
    /// The word of the window that has MXCSR's mask, which is the host's own.
    pub(crate) ignore: Option<usize>,
}

/// The instructions that are defined by their error.
const APPROXIMATE: &[Mnemonic] = &[
    Mnemonic::Rcpps,
    Mnemonic::Rcpss,
    Mnemonic::Rsqrtps,
    Mnemonic::Rsqrtss,
    Mnemonic::Vrcpps,
    Mnemonic::Vrcpss,
    Mnemonic::Vrsqrtps,
    Mnemonic::Vrsqrtss,
];

/// Register `n` above the first of its kind.
fn at(first: Register, n: u64) -> Register {
    first + u32::try_from(n).expect("a register's number")
}

/// Builds a case of `count` instructions from `codes`.
pub(crate) fn random(rng: &mut Rng, codes: &[Code], bits: Bits, count: usize) -> Option<Case> {
    let mut case = Case {
        record: record::random(rng, bits),
        codes: Vec::new(),
        undefined: 0,
        approximate: false,
        wide: false,
        ignore: None,
    };
    let mut used = 0;
    for _ in 0..count {
        let code = *rng.pick(codes);
        let mut build = Build {
            rng,
            bits,
            record: &mut case.record,
            wide: &mut case.wide,
            ignore: &mut case.ignore,
            ip: CODE_AT + used as u64,
            first: used == 0,
            alone: count == 1,
        };
        let Some((bytes, undefined)) = build.instruction(code) else {
            continue;
        };
        // Flags that are not defined must not become the next one's input.
        if count > 1 && undefined != 0 {
            continue;
        }
        if used + bytes.len() > 96 {
            break;
        }
        case.record[CODE + used..CODE + used + bytes.len()].copy_from_slice(&bytes);
        used += bytes.len();
        case.codes.push(code);
        case.approximate |= APPROXIMATE.contains(&code.mnemonic());
        case.undefined |= undefined;
    }
    (!case.codes.is_empty()).then_some(case)
}

struct Build<'a> {
    rng: &'a mut Rng,
    bits: Bits,
    record: &'a mut Vec<u8>,
    wide: &'a mut bool,
    ignore: &'a mut Option<usize>,
    ip: u64,
    first: bool,
    alone: bool,
}

impl Build<'_> {
    fn registers(&self) -> u64 {
        if self.bits == Bits::B64 { 16 } else { 8 }
    }

    fn any(&mut self, first: Register) -> Register {
        let n = self.rng.below(self.registers());
        at(first, n)
    }

    fn byte_register(&mut self) -> Register {
        let n = self.rng.below(if self.bits == Bits::B64 { 20 } else { 8 });
        at(Register::AL, n)
    }

    /// The instruction's bytes and the flags that it leaves undefined.
    fn instruction(&mut self, code: Code) -> Option<(Vec<u8>, u64)> {
        let form = code.op_code();
        let mut instruction = Instruction::default();
        instruction.set_code(code);
        self.tame(code);
        for i in 0..form.op_count() {
            self.operand(&mut instruction, i, form.op_kind(i))?;
        }
        if form.can_use_lock_prefix()
            && instruction.op0_kind() == OpKind::Memory
            && self.rng.one_in(4)
        {
            instruction.set_has_lock_prefix(true);
        }
        let string = (0..form.op_count()).any(|i| {
            let kind = form.op_kind(i);
            matches!(kind, Operand::seg_rSI | Operand::es_rDI)
        });
        if string && self.rng.one_in(2) {
            if self.rng.one_in(2) {
                instruction.set_has_rep_prefix(true);
            } else if form.can_use_repne_prefix() {
                instruction.set_has_repne_prefix(true);
            }
        }
        if string && self.first {
            let count = self.rng.below(12);
            put(self.record, 8, count);
        }
        if code.mnemonic() == Mnemonic::Ret {
            // Somewhere to return to.
            let stack = word(self.record, 4 * 8);
            let place = usize::try_from(stack.wrapping_sub(WINDOW_AT)).unwrap_or(0);
            if place + 8 <= WINDOW_BYTES {
                let target = CODE_AT + 100 + self.rng.below(20);
                put(self.record, WINDOW + place, target);
            }
        }
        let width = if self.bits == Bits::B64 { 64 } else { 32 };
        let mut encoder = Encoder::new(width);
        encoder.encode(&instruction, self.ip).ok()?;
        let bytes = encoder.take_buffer();
        Some((bytes, undefined(&instruction)))
    }

    #[expect(clippy::too_many_lines, reason = "a list of operand kinds")]
    fn operand(&mut self, into: &mut Instruction, i: u32, kind: Operand) -> Option<()> {
        let code = into.code();
        let register = match kind {
            Operand::mem | Operand::mem_mib | Operand::mem_mpx => {
                return self.memory(into, i, None);
            }
            Operand::mem_offs => return self.offset(into, i),
            Operand::mem_vsib32x | Operand::mem_vsib64x => {
                return self.memory(into, i, Some(Register::XMM0));
            }
            Operand::mem_vsib32y | Operand::mem_vsib64y => {
                return self.memory(into, i, Some(Register::YMM0));
            }
            Operand::r8_or_mem
            | Operand::r16_or_mem
            | Operand::r32_or_mem
            | Operand::r64_or_mem
            | Operand::mm_or_mem
            | Operand::xmm_or_mem
            | Operand::ymm_or_mem
                if self.rng.one_in(2) =>
            {
                return self.memory(into, i, None);
            }
            Operand::r8_or_mem | Operand::r8_reg | Operand::r8_opcode => self.byte_register(),
            Operand::r16_or_mem | Operand::r16_reg | Operand::r16_rm | Operand::r16_opcode => {
                self.any(Register::AX)
            }
            Operand::r32_or_mem
            | Operand::r32_reg
            | Operand::r32_rm
            | Operand::r32_opcode
            | Operand::r32_vvvv => self.any(Register::EAX),
            Operand::r64_or_mem
            | Operand::r64_reg
            | Operand::r64_rm
            | Operand::r64_opcode
            | Operand::r64_vvvv => self.any(Register::RAX),
            Operand::mm_or_mem | Operand::mm_reg | Operand::mm_rm => {
                at(Register::MM0, self.rng.below(8))
            }
            Operand::xmm_or_mem
            | Operand::xmm_reg
            | Operand::xmm_rm
            | Operand::xmm_vvvv
            | Operand::xmm_is4 => self.any(Register::XMM0),
            Operand::ymm_or_mem
            | Operand::ymm_reg
            | Operand::ymm_rm
            | Operand::ymm_vvvv
            | Operand::ymm_is4 => self.any(Register::YMM0),
            Operand::al => Register::AL,
            Operand::cl => Register::CL,
            Operand::ax => Register::AX,
            Operand::dx => Register::DX,
            Operand::eax => Register::EAX,
            Operand::rax => Register::RAX,
            Operand::st0 => Register::ST0,
            Operand::sti_opcode => at(Register::ST0, self.rng.below(8)),
            Operand::imm8
            | Operand::imm8sex16
            | Operand::imm8sex32
            | Operand::imm8sex64
            | Operand::imm8_const_1
            | Operand::imm16
            | Operand::imm32
            | Operand::imm32sex64
            | Operand::imm64 => return self.immediate(into, i, kind),
            Operand::seg_rSI | Operand::es_rDI | Operand::seg_rDI | Operand::seg_rBX_al => {
                return self.implicit(into, i, kind);
            }
            Operand::br32_1 | Operand::br32_4 | Operand::br64_1 | Operand::br64_4 => {
                into.set_op_kind(
                    i,
                    if self.bits == Bits::B64 {
                        OpKind::NearBranch64
                    } else {
                        OpKind::NearBranch32
                    },
                );
                into.set_near_branch64(CODE_AT + 100 + self.rng.below(20));
                return Some(());
            }
            _ => {
                panic!("{code:?}: no operand of kind {kind:?}");
            }
        };
        into.set_op_kind(i, OpKind::Register);
        into.set_op_register(i, register);
        Some(())
    }

    fn immediate(&mut self, into: &mut Instruction, i: u32, kind: Operand) -> Option<()> {
        let value = crate::values::integer(self.rng);
        let [low, ..] = value.to_le_bytes();
        let small = i64::from(low.cast_signed());
        let wide = i64::from(low32(value).cast_signed());
        match kind {
            Operand::imm8_const_1 => {
                into.set_op_kind(i, OpKind::Immediate8);
                into.set_immediate8(1);
            }
            Operand::imm8 => {
                let second = i > 0
                    && matches!(
                        into.op_kind(i - 1),
                        OpKind::Immediate16 | OpKind::Immediate8
                    );
                if second {
                    into.set_op_kind(i, OpKind::Immediate8_2nd);
                    into.set_immediate8_2nd(low & 3);
                } else {
                    into.set_op_kind(i, OpKind::Immediate8);
                    into.set_immediate8(low);
                }
            }
            Operand::imm8sex16 => {
                into.set_op_kind(i, OpKind::Immediate8to16);
                into.set_immediate8to16(low.cast_signed().into());
            }
            Operand::imm8sex32 => {
                into.set_op_kind(i, OpKind::Immediate8to32);
                into.set_immediate8to32(low.cast_signed().into());
            }
            Operand::imm8sex64 => {
                into.set_op_kind(i, OpKind::Immediate8to64);
                into.set_immediate8to64(small);
            }
            Operand::imm16 => {
                into.set_op_kind(i, OpKind::Immediate16);
                into.set_immediate16(low16(value));
            }
            Operand::imm32 => {
                into.set_op_kind(i, OpKind::Immediate32);
                into.set_immediate32(low32(value));
            }
            Operand::imm32sex64 => {
                into.set_op_kind(i, OpKind::Immediate32to64);
                into.set_immediate32to64(wide);
            }
            _ => {
                into.set_op_kind(i, OpKind::Immediate64);
                into.set_immediate64(value);
            }
        }
        Some(())
    }

    /// An address for `bytes` bytes.
    fn address(&mut self, bytes: usize) -> u64 {
        let room = (WINDOW_BYTES - bytes.min(WINDOW_BYTES)) as u64;
        match self.rng.below(64) {
            0 => READ_ONLY_AT + self.rng.below(4000),
            1 => DATA_AT + 4096 + self.rng.below(200),
            2 if self.bits == Bits::B64 => self.rng.word(),
            3 | 4 => DATA_AT + 4096 - self.rng.below(64),
            5..24 => WINDOW_AT + self.rng.below(room + 1),
            _ => WINDOW_AT + (self.rng.below(room + 1) & !63),
        }
    }

    fn memory(
        &mut self,
        into: &mut Instruction,
        i: u32,
        vector_index: Option<Register>,
    ) -> Option<()> {
        let bytes = match into.code().op_code().memory_size() {
            MemorySize::Fxsave_512Byte | MemorySize::Fxsave64_512Byte => 512,
            MemorySize::Xsave | MemorySize::Xsave64 => 832,
            size => size.size().max(1),
        };
        let long = self.bits == Bits::B64;
        if !self.alone && vector_index.is_none() {
            return self.absolute(into, i, bytes);
        }
        let target = self.address(bytes);
        *self.wide |= bytes > 32 || !bytes.is_power_of_two();
        self.image(into.code(), target);
        into.set_op_kind(i, OpKind::Memory);
        // RAX and RDX choose the components of XSAVE.
        let saves = bytes == 832;
        let base = if saves {
            3
        } else {
            self.rng.below(self.registers())
        };
        let scale = 1_u32 << self.rng.below(4);
        let small = self.rng.one_in(2);
        let displacement = match self.rng.below(3) {
            0 => 0,
            _ if small => i64::from(self.rng.word().to_le_bytes()[0].cast_signed()),
            _ => i64::from(low32(self.rng.word()).cast_signed()),
        };
        let mask = if long { u64::MAX } else { 0xffff_ffff };
        let mut rest = target.wrapping_sub(displacement.cast_unsigned());
        into.set_memory_base(at(if long { Register::RAX } else { Register::EAX }, base));
        into.set_memory_displ_size(match displacement {
            0 => 0,
            -128..=127 => 1,
            _ if long => 8,
            _ => 4,
        });
        into.set_memory_displacement64(displacement.cast_unsigned() & mask);
        if let Some(first) = vector_index {
            let n = self.rng.below(self.registers());
            into.set_memory_index(at(first, n));
            into.set_memory_index_scale(scale);
            self.small_lanes(n, into.code());
        } else if !saves && self.rng.one_in(3) {
            let index = self.rng.below(self.registers());
            if index != 4 && index != base {
                into.set_memory_index(at(if long { Register::RAX } else { Register::EAX }, index));
                into.set_memory_index_scale(scale);
                let value = word(self.record, usize::try_from(index).ok()? * 8);
                rest = rest.wrapping_sub(value.wrapping_mul(scale.into()));
            }
        }
        if self.first {
            put(self.record, usize::try_from(base).ok()? * 8, rest & mask);
        }
        Some(())
    }

    /// A memory operand of a sequence, whose address no register can move.
    fn absolute(&mut self, into: &mut Instruction, i: u32, bytes: usize) -> Option<()> {
        let room = (WINDOW_BYTES - bytes.min(WINDOW_BYTES)) as u64;
        let target = WINDOW_AT + (self.rng.below(room + 1) & !15);
        self.image(into.code(), target);
        into.set_op_kind(i, OpKind::Memory);
        into.set_memory_displ_size(if self.bits == Bits::B64 { 8 } else { 4 });
        into.set_memory_displacement64(target);
        Some(())
    }

    /// Keeps operands out of where results are undefined.
    fn tame(&mut self, code: Code) {
        let mnemonic = code.mnemonic();
        if matches!(mnemonic, Mnemonic::F2xm1 | Mnemonic::Fyl2xp1) {
            let [low, high] = [self.record[XSAVE + 40], self.record[XSAVE + 41]];
            let exp = u16::from_le_bytes([low, high & 0x7f]);
            if exp > 0x3ffc && exp < 0x7fff {
                let exp = 0x3ffc - u16::from(low & 63);
                self.record[XSAVE + 40] = exp.to_le_bytes()[0];
                self.record[XSAVE + 41] = exp.to_le_bytes()[1] | (high & 0x80);
            }
        }
        if matches!(mnemonic, Mnemonic::Enter | Mnemonic::Leave) {
            // The frame pointer is a stack pointer.
            put(self.record, 5 * 8, WINDOW_AT + 128 + self.rng.below(90) * 8);
        }
        if code.op_code().memory_size() == MemorySize::Xsave
            || code.op_code().memory_size() == MemorySize::Xsave64
        {
            // The host has components that we do not.
            put(self.record, 0, self.rng.below(8));
            put(self.record, 16, 0);
        }
    }

    /// Puts something sensible where an image of state is read, and notes the word that has the host's own mask.
    fn image(&mut self, code: Code, target: u64) {
        let at = usize::try_from(target.wrapping_sub(WINDOW_AT)).unwrap_or(usize::MAX);
        let mxcsr = matches!(code.mnemonic(), Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr);
        if mxcsr && at < WINDOW_BYTES - 4 {
            self.record[WINDOW + at + 2..WINDOW + at + 4].fill(0);
        }
        let size = code.op_code().memory_size();
        let extended = matches!(size, MemorySize::Xsave | MemorySize::Xsave64);
        let legacy = matches!(
            size,
            MemorySize::Fxsave_512Byte | MemorySize::Fxsave64_512Byte
        );
        if !(extended || legacy) || at % 8 != 0 || at > WINDOW_BYTES - 32 {
            return;
        }
        *self.ignore = Some(at + 24);
        if matches!(code.mnemonic(), Mnemonic::Fxrstor | Mnemonic::Fxrstor64)
            || matches!(code.mnemonic(), Mnemonic::Xrstor | Mnemonic::Xrstor64)
        {
            let other = record::random(self.rng, self.bits);
            let bytes = 832.min(WINDOW_BYTES - at);
            self.record[WINDOW + at..WINDOW + at + bytes]
                .copy_from_slice(&other[XSAVE..XSAVE + bytes]);
            if extended && at + 520 < WINDOW_BYTES {
                self.record[WINDOW + at + 512] = self.rng.below(8).to_le_bytes()[0];
            }
        }
    }

    /// Indexes of a gather: small numbers in all lanes.
    fn small_lanes(&mut self, register: u64, code: Code) {
        let name = format!("{code:?}");
        let wide = name.contains("gatherq");
        let register = usize::try_from(register).expect("small");
        for half in [160, 576] {
            let at = XSAVE + half + register * 16;
            let size = if wide { 8 } else { 4 };
            for lane in self.record[at..at + 16].chunks_exact_mut(size) {
                let value = i64::try_from(self.rng.below(32)).expect("small") - 12;
                lane.copy_from_slice(&value.to_le_bytes()[..size]);
            }
        }
    }

    fn offset(&mut self, into: &mut Instruction, i: u32) -> Option<()> {
        let target = self.address(8);
        into.set_op_kind(i, OpKind::Memory);
        let long = self.bits == Bits::B64;
        into.set_memory_displ_size(if long { 8 } else { 4 });
        into.set_memory_displacement64(if long { target } else { target & 0xffff_ffff });
        Some(())
    }

    fn implicit(&mut self, into: &mut Instruction, i: u32, kind: Operand) -> Option<()> {
        let long = self.bits == Bits::B64;
        let (op_kind, register) = match (kind, long) {
            (Operand::seg_rSI, true) => (OpKind::MemorySegRSI, 6),
            (Operand::seg_rSI, false) => (OpKind::MemorySegESI, 6),
            (Operand::es_rDI, true) => (OpKind::MemoryESRDI, 7),
            (Operand::es_rDI, false) => (OpKind::MemoryESEDI, 7),
            (Operand::seg_rDI, true) => (OpKind::MemorySegRDI, 7),
            (Operand::seg_rDI, false) => (OpKind::MemorySegEDI, 7),
            _ => {
                into.set_op_kind(i, OpKind::Memory);
                into.set_memory_base(if long { Register::RBX } else { Register::EBX });
                into.set_memory_index(Register::AL);
                if self.first {
                    let target = self.address(256);
                    put(self.record, 3 * 8, target);
                }
                return Some(());
            }
        };
        into.set_op_kind(i, op_kind);
        *self.wide |= kind == Operand::seg_rDI;
        if self.first {
            let target = self.address(32);
            put(self.record, register * 8, target);
        }
        Some(())
    }
}

/// The flags that an instruction leaves undefined, as RFLAGS bits.
fn undefined(instruction: &Instruction) -> u64 {
    let bits = instruction.rflags_undefined();
    [
        (RflagsBits::OF, 0x800),
        (RflagsBits::SF, 0x80),
        (RflagsBits::ZF, 0x40),
        (RflagsBits::AF, 0x10),
        (RflagsBits::CF, 1),
        (RflagsBits::PF, 4),
    ]
    .into_iter()
    .filter(|(bit, _)| bits & bit != 0)
    .fold(0, |all, (_, flag)| all | flag)
}
