//! What a processor can do: feature bits, CPUID, CPU models.

mod gate;
pub mod models;
mod names;
mod query;

use crate::names::cr;

pub use query::{query, xcr0};

/// All feature bits that have a name.
pub fn feature_names() -> impl Iterator<Item = (Feature, &'static str)> {
    let all = names::NAMES.iter();
    all.map(|(name, leaf, bit)| (Feature(*leaf, *bit), *name))
}

/// Width of a physical address.
pub const PHYSICAL_BITS: u32 = 40;

/// A word of feature bits: the CPUID register it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Leaf {
    /// 1, EDX.
    L1Edx,
    /// 1, ECX.
    L1Ecx,
    /// 7, EBX.
    L7Ebx,
    /// 7, ECX.
    L7Ecx,
    /// 7, EDX.
    L7Edx,
    /// 7.1, EAX.
    L71Eax,
    /// 0xd.1, EAX.
    D1Eax,
    /// 0x80000001, EDX.
    X1Edx,
    /// 0x80000001, ECX.
    X1Ecx,
    /// 0x80000007, EDX.
    X7Edx,
    /// 0x80000008, EBX.
    X8Ebx,
    /// 6, EAX.
    L6Eax,
}

/// How many [`Leaf`]s there are.
const LEAVES: usize = 12;

/// One feature bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature(pub Leaf, pub u32);

/// A processor's identity and abilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Vendor, as CPUID 0 gives it.
    pub vendor: [u8; 12],
    /// Family, model, stepping.
    pub version: (u32, u32, u32),
    /// Highest basic leaf.
    pub level: u32,
    /// Highest extended leaf; zero for none.
    pub extended_level: u32,
    /// Brand string.
    pub brand: [u8; 48],
    words: [u32; LEAVES],
}

impl Default for Features {
    /// Everything that this processor can do.
    fn default() -> Self {
        let mut brand = [0; 48];
        let name = b"QEMU TCG CPU version 2.5+";
        brand[..name.len()].copy_from_slice(name);
        Self {
            vendor: *b"AuthenticAMD",
            version: (6, 6, 3),
            level: 0xd,
            extended_level: 0x8000_000a,
            brand,
            words: ABILITIES,
        }
    }
}

/// The numbers of bits as a word.
const fn bits(list: &[u32]) -> u32 {
    let mut out = 0;
    let mut n = 0;
    while n < list.len() {
        out |= 1 << list[n];
        n += 1;
    }
    out
}

/// What `exec` can do, by [`Leaf`]. A bit here promises that every instruction and register behind it works.
const ABILITIES: [u32; LEAVES] = [
    bits(&[
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26,
    ]),
    bits(&[
        0, 1, 3, 9, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30, 31,
    ]),
    bits(&[0, 1, 3, 5, 7, 8, 9, 10, 18, 19, 20, 23, 24, 29]),
    bits(&[2, 3, 16, 22, 31]),
    0,
    0,
    bits(&[0, 1, 2, 3]),
    bits(&[
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 20, 22, 23, 24, 26, 27, 29,
    ]),
    bits(&[0, 4, 5, 8]),
    bits(&[8]),
    0,
    bits(&[2]),
];

impl Features {
    /// Whether a feature is on.
    pub fn has(&self, feature: Feature) -> bool {
        self.words[feature.0 as usize] >> (feature.1 & 31) & 1 != 0
    }

    /// Switches a feature.
    pub fn set(&mut self, feature: Feature, on: bool) {
        let bit = 1 << (feature.1 & 31);
        let word = &mut self.words[feature.0 as usize];
        *word = if on { *word | bit } else { *word & !bit };
    }

    /// A word of feature bits.
    pub fn word(&self, leaf: Leaf) -> u32 {
        self.words[leaf as usize]
    }

    /// The bits of CR4 that exist.
    pub fn cr4(&self) -> u64 {
        let on = |leaf, bit, mask: u64| {
            if self.has(Feature(leaf, bit)) {
                mask
            } else {
                0
            }
        };
        on(Leaf::L1Edx, 1, cr::VME | cr::PVI)
            | on(Leaf::L1Edx, 4, cr::TSD)
            | on(Leaf::L1Edx, 2, cr::DE)
            | on(Leaf::L1Edx, 3, cr::PSE)
            | on(Leaf::L1Edx, 6, cr::PAE)
            | on(Leaf::L1Edx, 7, cr::MCE)
            | on(Leaf::L1Edx, 13, cr::PGE)
            | cr::PCE
            | on(Leaf::L1Edx, 24, cr::OSFXSR)
            | on(Leaf::L1Edx, 25, cr::OSXMMEXCPT)
            | on(Leaf::L7Ecx, 2, cr::UMIP)
            | on(Leaf::L7Ecx, 16, cr::LA57)
            | on(Leaf::L7Ebx, 0, cr::FSGSBASE)
            | on(Leaf::L1Ecx, 17, cr::PCIDE)
            | on(Leaf::L1Ecx, 26, cr::OSXSAVE)
            | on(Leaf::L7Ebx, 7, cr::SMEP)
            | on(Leaf::L7Ebx, 20, cr::SMAP)
            | on(Leaf::L7Ecx, 3, cr::PKE)
            | on(Leaf::L7Ecx, 31, cr::PKS)
    }

    /// CPUID 1, EAX; what EDX holds after reset.
    pub fn signature(&self) -> u64 {
        let (family, model, stepping) = self.version;
        let extended = family.saturating_sub(15);
        let bits = stepping & 15
            | (model & 15) << 4
            | family.min(15) << 8
            | (model >> 4 & 15) << 16
            | extended << 20;
        u64::from(bits)
    }
}
