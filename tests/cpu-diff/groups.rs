//! The groups of instructions, by what CPUID says a processor has.

use iced_x86::{Code, CpuidFeature, EncodingKind, FlowControl, Mnemonic};

use crate::record::Bits;

/// A group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// What every processor in 64-bit mode has, without system instructions.
    Integer,
    /// BMI1, BMI2, ADX, MOVBE, LZCNT, POPCNT.
    Bits,
    /// The x87 but for its transcendental functions.
    X87,
    /// Those.
    Transcendental,
    /// MMX.
    Mmx,
    /// SSE to SSE4.2.
    Sse,
    /// AVX and AVX2, F16C.
    Avx,
    /// FMA.
    Fma,
    /// AES, PCLMULQDQ, SHA.
    Crypto,
    /// FXSAVE and XSAVE.
    Save,
}

const INTEGER: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL8086_ONLY,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::CX8,
    CpuidFeature::CMOV,
    CpuidFeature::X64,
    CpuidFeature::CMPXCHG16B,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
];
const BITS: &[CpuidFeature] = &[
    CpuidFeature::BMI1,
    CpuidFeature::BMI2,
    CpuidFeature::ADX,
    CpuidFeature::MOVBE,
    CpuidFeature::LZCNT,
    CpuidFeature::POPCNT,
];
const X87: &[CpuidFeature] = &[
    CpuidFeature::FPU,
    CpuidFeature::FPU287,
    CpuidFeature::FPU387,
    CpuidFeature::CMOV,
    CpuidFeature::SSE3,
];
const SSE: &[CpuidFeature] = &[
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::SSE3,
    CpuidFeature::SSSE3,
    CpuidFeature::SSE4_1,
    CpuidFeature::SSE4_2,
];
const AVX: &[CpuidFeature] = &[CpuidFeature::AVX, CpuidFeature::AVX2, CpuidFeature::F16C];
const CRYPTO: &[CpuidFeature] = &[
    CpuidFeature::AES,
    CpuidFeature::PCLMULQDQ,
    CpuidFeature::SHA,
    CpuidFeature::VAES,
    CpuidFeature::VPCLMULQDQ,
    CpuidFeature::AVX,
];
const SAVE: &[CpuidFeature] = &[
    CpuidFeature::FXSR,
    CpuidFeature::XSAVE,
    CpuidFeature::XSAVEOPT,
    CpuidFeature::XSAVEC,
];

/// Instructions that a program in user mode cannot run here, or whose results are the machine's own.
const NOT: &[Mnemonic] = &[
    Mnemonic::Int,
    Mnemonic::Int1,
    Mnemonic::Int3,
    Mnemonic::Into,
    Mnemonic::Syscall,
    Mnemonic::Sysenter,
    Mnemonic::Sysret,
    Mnemonic::Sysexit,
    Mnemonic::Cpuid,
    Mnemonic::Hlt,
    Mnemonic::Iret,
    Mnemonic::Iretd,
    Mnemonic::Iretq,
    Mnemonic::Retf,
    Mnemonic::Popf,
    Mnemonic::Popfd,
    Mnemonic::Popfq,
    Mnemonic::Smsw,
    Mnemonic::Str,
    Mnemonic::Sldt,
    Mnemonic::Sgdt,
    Mnemonic::Sidt,
    Mnemonic::Lar,
    Mnemonic::Lsl,
    Mnemonic::Verr,
    Mnemonic::Verw,
    Mnemonic::Lmsw,
    Mnemonic::Lgdt,
    Mnemonic::Lidt,
    Mnemonic::Lldt,
    Mnemonic::Ltr,
    Mnemonic::Clts,
    Mnemonic::Invd,
    Mnemonic::Wbinvd,
    Mnemonic::Invlpg,
    Mnemonic::In,
    Mnemonic::Insb,
    Mnemonic::Insw,
    Mnemonic::Insd,
    Mnemonic::Out,
    Mnemonic::Outsb,
    Mnemonic::Outsw,
    Mnemonic::Outsd,
    Mnemonic::Cli,
    Mnemonic::Sti,
    Mnemonic::Lds,
    Mnemonic::Les,
    Mnemonic::Lfs,
    Mnemonic::Lgs,
    Mnemonic::Lss,
    Mnemonic::Bound,
    Mnemonic::Arpl,
    Mnemonic::Swapgs,
    Mnemonic::Prefetchit0,
    Mnemonic::Prefetchit1,
    Mnemonic::Fstdw,
    Mnemonic::Fstsg,
    Mnemonic::Fsetpm,
    Mnemonic::Fnsetpm,
    Mnemonic::Loadall,
    Mnemonic::Xgetbv,
    Mnemonic::Xsetbv,
    Mnemonic::Ud0,
    Mnemonic::Ud1,
    Mnemonic::Ud2,
    Mnemonic::Montmul,
    // Each stands for two instructions.
    Mnemonic::Fstcw,
    Mnemonic::Fstsw,
    Mnemonic::Fstenv,
    Mnemonic::Fsave,
    Mnemonic::Fclex,
    Mnemonic::Finit,
    Mnemonic::Feni,
    Mnemonic::Fdisi,
];

/// Approximations, and what stores the pointers of x87 instructions or moves the stack.
const ALONE: &[Mnemonic] = &[
    Mnemonic::Rcpps,
    Mnemonic::Rcpss,
    Mnemonic::Rsqrtps,
    Mnemonic::Rsqrtss,
    Mnemonic::Fnsave,
    Mnemonic::Fnstenv,
    Mnemonic::Frstor,
    Mnemonic::Fldenv,
    Mnemonic::Maskmovdqu,
    Mnemonic::Maskmovq,
    Mnemonic::Ldmxcsr,
    // When both operands fault, either may be named.
    Mnemonic::Cmpsb,
    Mnemonic::Cmpsw,
    Mnemonic::Cmpsd,
    Mnemonic::Cmpsq,
    // Their frame pointer is whatever a sequence left.
    Mnemonic::Enter,
    Mnemonic::Leave,
    // Their condition codes are undefined after an exception.
    Mnemonic::Fprem,
    Mnemonic::Fprem1,
];

const TRANSCENDENTAL: &[Mnemonic] = &[
    Mnemonic::Fsin,
    Mnemonic::Fcos,
    Mnemonic::Fsincos,
    Mnemonic::Fptan,
    Mnemonic::Fpatan,
    Mnemonic::F2xm1,
    Mnemonic::Fyl2x,
    Mnemonic::Fyl2xp1,
];

/// Whether an instruction is the x87's.
fn is_x87(code: Code) -> bool {
    format!("{code:?}").starts_with('F') && code.encoding() == EncodingKind::Legacy
}

fn only(code: Code, allowed: &[CpuidFeature]) -> bool {
    code.cpuid_features().iter().all(|f| allowed.contains(f))
}

impl Group {
    /// Whether the code belongs to the group.
    fn has(self, code: Code) -> bool {
        let vex = code.encoding() == EncodingKind::VEX;
        let legacy = code.encoding() == EncodingKind::Legacy;
        let trans = TRANSCENDENTAL.contains(&code.mnemonic());
        let x87 = only(code, X87) && is_x87(code);
        let mmx = format!("{code:?}").contains("_mm");
        let mmx = mmx && legacy || code == Code::Emms;
        match self {
            Self::Integer => legacy && only(code, INTEGER),
            Self::Bits => only(code, BITS),
            Self::X87 => x87 && !trans,
            Self::Transcendental => x87 && trans,
            Self::Mmx => legacy && mmx,
            Self::Sse => legacy && only(code, SSE) && !mmx && !x87,
            Self::Avx => vex && only(code, AVX),
            Self::Fma => only(code, &[CpuidFeature::FMA]),
            Self::Crypto => only(code, CRYPTO) && !only(code, AVX),
            Self::Save => only(code, SAVE),
        }
    }

    /// Its instructions; for sequences only those whose results say nothing of how they were come by.
    pub(crate) fn codes(self, bits: Bits, sequences: bool) -> Vec<Code> {
        Code::values()
            .filter(|code| !sequences || !ALONE.contains(&code.mnemonic()))
            .filter(|&code| self.has(code) && runs(code, bits))
            .collect()
    }
}

/// Whether the harness can run the instruction.
fn runs(code: Code, bits: Bits) -> bool {
    let form = code.op_code();
    let mode = match bits {
        Bits::B32 => form.mode32() && form.amd_decoder32(),
        Bits::B64 => form.mode64() && form.amd_decoder64(),
    };
    let kinds = (0..form.op_count()).map(|i| form.op_kind(i));
    use iced_x86::OpCodeOperandKind as Operand;
    let odd = |kind: Operand| {
        matches!(
            kind,
            Operand::farbr2_2
                | Operand::farbr4_2
                | Operand::br16_1
                | Operand::br16_2
                | Operand::seg_reg
                | Operand::cr_reg
                | Operand::dr_reg
                | Operand::tr_reg
                | Operand::es
                | Operand::cs
                | Operand::ss
                | Operand::ds
                | Operand::fs
                | Operand::gs
        )
    };
    let flow = matches!(
        code.flow_control(),
        FlowControl::IndirectBranch | FlowControl::IndirectCall | FlowControl::Interrupt
    );
    // With an operand size of 16 bits, near returns and branches in 64-bit code are Intel's and AMD's own.
    let short = matches!(code, Code::Retnw | Code::Retnw_imm16) && bits == Bits::B64;
    mode && !short
        && form.is_instruction()
        && !kinds.into_iter().any(odd)
        && !flow
        && !NOT.contains(&code.mnemonic())
        && !form.is_privileged()
        && form.address_size() == 0
}
