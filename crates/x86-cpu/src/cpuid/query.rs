//! What CPUID answers.

use super::{Feature, Features, Leaf, PHYSICAL_BITS};
use crate::state::{CpuState, cr};

/// Registers EAX, EBX, ECX, EDX.
type Answer = [u32; 4];

/// The XCR0 bits that exist.
pub fn xcr0(features: &Features) -> u64 {
    let on = |leaf, bit, mask: u64| {
        if features.has(Feature(leaf, bit)) {
            mask
        } else {
            0
        }
    };
    1 | on(Leaf::L1Edx, 25, 2) | on(Leaf::L1Ecx, 28, 4) | on(Leaf::L7Ecx, 3, 1 << 9)
}

fn word(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |out, byte| out << 8 | u32::from(*byte))
}

/// Answers a leaf. Beyond the last leaf the last basic one answers, as on Intel's processors.
pub fn query(cpu: &CpuState, leaf: u32, subleaf: u32) -> Answer {
    let features = &cpu.features;
    match leaf {
        0x4000_0000 => [0x4000_0001, word(b"TCGT"), word(b"CGTC"), word(b"GTCG")],
        0x4000_0001 => [0; 4],
        0x8000_0000.. if leaf <= features.extended_level => extended(cpu, leaf),
        _ if leaf <= features.level => basic(cpu, leaf, subleaf),
        _ => basic(cpu, features.level, subleaf),
    }
}

fn basic(cpu: &CpuState, leaf: u32, subleaf: u32) -> Answer {
    let features = &cpu.features;
    let vendor = &features.vendor;
    match leaf {
        0 => [
            features.level,
            word(&vendor[..4]),
            word(&vendor[8..]),
            word(&vendor[4..8]),
        ],
        1 => {
            let count = if cpu.processors > 1 {
                cpu.processors.min(255)
            } else {
                0
            };
            let identity = cpu.apic_id << 24 | count << 16 | 8 << 8;
            let os = if cpu.cr4 & cr::OSXSAVE == 0 {
                0
            } else {
                1 << 27
            };
            let many = if cpu.processors > 1 { 1 << 28 } else { 0 };
            let ecx = features.word(Leaf::L1Ecx) | os;
            let controller = if cpu.apic_off { 1 << 9 } else { 0 };
            let edx = features.word(Leaf::L1Edx) & !(1 << 28 | controller) | many;
            [
                u32::try_from(features.signature()).unwrap_or(0),
                identity,
                ecx,
                edx,
            ]
        }
        // AMD's processors have neither of the two leaves about caches.
        2 | 4 if features.vendor == *b"AuthenticAMD" => [0; 4],
        // Cache descriptors: as leaf 4 says.
        2 => [1, 0, 0x4d, 0x002c_307d],
        4 => caches(cpu, subleaf),
        5 => [0, 0, 3, 0],
        6 => [features.word(Leaf::L6Eax), 0, 0, 0],
        7 if subleaf == 0 => {
            let pke = if cpu.cr4 & cr::PKE == 0 { 0 } else { 1 << 4 };
            let ecx = features.word(Leaf::L7Ecx) & !(1 << 4) | pke;
            [
                0,
                features.word(Leaf::L7Ebx),
                ecx,
                features.word(Leaf::L7Edx),
            ]
        }
        0xb => topology(cpu, subleaf),
        0xd => xsave(cpu, subleaf),
        _ => [0; 4],
    }
}

fn caches(cpu: &CpuState, subleaf: u32) -> Answer {
    let cores = (cpu.processors.clamp(1, 64) - 1) << 26;
    // Type and level, ways, lines of 64 bytes, sets.
    let cache = |kind: u32, ways: u32, sets: u32, shared: u32, flags: u32| {
        [
            kind | 1 << 8 | cores | shared << 14,
            (ways - 1) << 22 | 63,
            sets - 1,
            flags,
        ]
    };
    match subleaf {
        0 => cache(1 | 1 << 5, 8, 64, 0, 1),
        1 => cache(2 | 1 << 5, 8, 64, 0, 1),
        2 => cache(3 | 2 << 5, 16, 4096, 0, 1),
        3 => cache(3 | 3 << 5, 16, 16384, cpu.processors.clamp(1, 4096) - 1, 6),
        _ => [0; 4],
    }
}

fn topology(cpu: &CpuState, subleaf: u32) -> Answer {
    let bits = 32 - (cpu.processors.max(1) - 1).leading_zeros();
    match subleaf {
        0 => [0, 1, 1 << 8, cpu.apic_id],
        1 => [bits, cpu.processors.max(1), 2 << 8 | 1, cpu.apic_id],
        _ => [0, 0, subleaf, cpu.apic_id],
    }
}

fn xsave(cpu: &CpuState, subleaf: u32) -> Answer {
    if !cpu.features.has(Feature(Leaf::L1Ecx, 26)) {
        return [0; 4];
    }
    let known = xcr0(&cpu.features);
    let size = |components: u64| {
        if components >> 9 & 1 != 0 {
            0xa88
        } else if components >> 2 & 1 != 0 {
            832
        } else {
            576
        }
    };
    let compact =
        576 + u32::from(cpu.xcr0 >> 2 & 1 != 0) * 256 + u32::from(cpu.xcr0 >> 9 & 1 != 0) * 8;
    match subleaf {
        0 => [
            u32::try_from(known).unwrap_or(7),
            size(cpu.xcr0),
            size(known),
            0,
        ],
        1 => [cpu.features.word(Leaf::D1Eax), compact, 0, 0],
        2 if known >> 2 & 1 != 0 => [256, 576, 0, 0],
        9 if known >> 9 & 1 != 0 => [8, 0xa80, 0, 0],
        _ => [0; 4],
    }
}

fn extended(cpu: &CpuState, leaf: u32) -> Answer {
    let features = &cpu.features;
    let vendor = &features.vendor;
    match leaf {
        0x8000_0000 => [
            features.extended_level,
            word(&vendor[..4]),
            word(&vendor[8..]),
            word(&vendor[4..8]),
        ],
        0x8000_0001 => {
            let signature = u32::try_from(features.signature()).unwrap_or(0);
            // Intel's processors have SYSCALL in 64-bit code only, and show it only there.
            let hidden = *vendor == *b"GenuineIntel" && !cpu.long_mode();
            let edx = features.word(Leaf::X1Edx) & if hidden { !(1 << 11) } else { u32::MAX };
            [signature, 0, features.word(Leaf::X1Ecx), edx]
        }
        0x8000_0002..=0x8000_0004 => {
            let part = usize::try_from(leaf - 0x8000_0002).unwrap_or(0) * 16;
            let text = &features.brand[part..part + 16];
            [
                word(&text[..4]),
                word(&text[4..8]),
                word(&text[8..12]),
                word(&text[12..]),
            ]
        }
        // L1 caches and TLBs, then L2 and L3.
        0x8000_0005 => [0x01ff_01ff, 0x01ff_01ff, 0x4002_0140, 0x4002_0140],
        0x8000_0006 => [0, 0x4200_4200, 0x0200_8140, 0x0080_8140],
        0x8000_0007 => [0, 0, 0, features.word(Leaf::X7Edx)],
        0x8000_0008 => {
            let linear = if features.has(Feature(Leaf::L7Ecx, 16)) {
                57
            } else {
                48
            };
            [
                PHYSICAL_BITS | linear << 8,
                features.word(Leaf::X8Ebx),
                0,
                0,
            ]
        }
        _ => [0; 4],
    }
}
