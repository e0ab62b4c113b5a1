//! Which instructions need which feature.

use iced_x86::{Code, CpuidFeature};

use super::{Feature, Features, Leaf};

impl Features {
    /// Whether an instruction exists on this processor.
    pub fn allow(&self, code: Code) -> bool {
        code.cpuid_features()
            .iter()
            .all(|needed| feature(*needed).is_none_or(|bit| self.has(bit)))
    }
}

/// The bit behind iced's name; `None` for what every processor has.
fn feature(needed: CpuidFeature) -> Option<Feature> {
    use CpuidFeature as F;
    use Leaf::{D1Eax, L1Ecx, L1Edx, L7Ebx, L7Ecx, X1Ecx, X1Edx};
    let (leaf, bit) = match needed {
        F::FPU | F::FPU287 | F::FPU387 => (L1Edx, 0),
        F::TSC => (L1Edx, 4),
        F::MSR => (L1Edx, 5),
        F::CX8 => (L1Edx, 8),
        F::SEP => (L1Edx, 11),
        F::CMOV => (L1Edx, 15),
        F::CLFSH => (L1Edx, 19),
        F::MMX => (L1Edx, 23),
        F::FXSR => (L1Edx, 24),
        F::SSE => (L1Edx, 25),
        F::SSE2 => (L1Edx, 26),
        F::SSE3 => (L1Ecx, 0),
        F::PCLMULQDQ => (L1Ecx, 1),
        F::MONITOR => (L1Ecx, 3),
        F::SSSE3 => (L1Ecx, 9),
        F::FMA => (L1Ecx, 12),
        F::CMPXCHG16B => (L1Ecx, 13),
        F::SSE4_1 => (L1Ecx, 19),
        F::SSE4_2 => (L1Ecx, 20),
        F::MOVBE => (L1Ecx, 22),
        F::POPCNT => (L1Ecx, 23),
        F::AES => (L1Ecx, 25),
        F::XSAVE => (L1Ecx, 26),
        F::AVX => (L1Ecx, 28),
        F::F16C => (L1Ecx, 29),
        F::RDRAND => (L1Ecx, 30),
        F::FSGSBASE => (L7Ebx, 0),
        F::BMI1 => (L7Ebx, 3),
        F::AVX2 => (L7Ebx, 5),
        F::BMI2 => (L7Ebx, 8),
        F::INVPCID => (L7Ebx, 10),
        F::RTM => (L7Ebx, 11),
        F::RDSEED => (L7Ebx, 18),
        F::ADX => (L7Ebx, 19),
        F::SMAP => (L7Ebx, 20),
        F::CLFLUSHOPT => (L7Ebx, 23),
        F::CLWB => (L7Ebx, 24),
        F::SHA => (L7Ebx, 29),
        F::PKU => (L7Ecx, 3),
        F::GFNI => (L7Ecx, 8),
        F::VAES => (L7Ecx, 9),
        F::VPCLMULQDQ => (L7Ecx, 10),
        F::RDPID => (L7Ecx, 22),
        F::XSAVEOPT => (D1Eax, 0),
        F::XSAVEC => (D1Eax, 1),
        F::XSAVES => (D1Eax, 3),
        F::SYSCALL => (X1Edx, 11),
        F::RDTSCP => (X1Edx, 27),
        F::X64 => (X1Edx, 29),
        F::D3NOWEXT => (X1Edx, 30),
        F::D3NOW => (X1Edx, 31),
        F::LZCNT => (X1Ecx, 5),
        F::SSE4A => (X1Ecx, 6),
        F::SVM => (X1Ecx, 2),
        _ => return None,
    };
    Some(Feature(leaf, bit))
}
