//! Processors of no maker: the emulator's own, and VIA and Zhaoxin.

use super::{Change, Model, Variant};

/// The models; words of features in the order of [`Leaf`](super::super::Leaf).
pub(super) const MODELS: &[Model] = &[
    Model {
        name: "qemu64",
        vendor: *b"AuthenticAMD",
        version: (15, 107, 1),
        level: 0xd,
        extended_level: 0x8000000a,
        brand: "QEMU Virtual CPU version 2.5+",
        words: [
            0x78bfbfd, 0x2001, 0x0, 0x0, 0x0, 0x0, 0x0, 0x20100800, 0x5, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "kvm64",
        vendor: *b"GenuineIntel",
        version: (15, 6, 1),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Common KVM processor",
        words: [
            0x78bfbff, 0x2001, 0x0, 0x0, 0x0, 0x0, 0x0, 0x20100800, 0x0, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "qemu32",
        vendor: *b"GenuineIntel",
        version: (6, 6, 3),
        level: 0x4,
        extended_level: 0x80000004,
        brand: "QEMU Virtual CPU version 2.5+",
        words: [
            0x781abfd, 0x1, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "kvm32",
        vendor: *b"GenuineIntel",
        version: (15, 6, 1),
        level: 0x5,
        extended_level: 0x80000008,
        brand: "Common 32-bit KVM processor",
        words: [
            0x78bfbff, 0x1, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "YongFeng",
        vendor: *b"  Shanghai  ",
        version: (7, 11, 3),
        level: 0x1f,
        extended_level: 0x80000008,
        brand: "Zhaoxin YongFeng Processor",
        words: [
            0xfcbfbff, 0x77fa320b, 0x201c05a9, 0x40000c, 0x24000000, 0x0, 0x1, 0x2c100800, 0x121,
            0x100, 0x0, 0x0,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "",
                changes: &[Change::Model(0x5b)],
            },
        ],
    },
];
