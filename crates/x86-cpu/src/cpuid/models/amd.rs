//! Processors of AMD and Hygon.

use super::{Change, Model, Variant};

/// The models; words of features in the order of [`Leaf`](super::super::Leaf).
pub(super) const MODELS: &[Model] = &[
    Model {
        name: "phenom",
        vendor: *b"AuthenticAMD",
        version: (16, 2, 3),
        level: 0x5,
        extended_level: 0x8000001a,
        brand: "AMD Phenom(tm) 9550 Quad-Core Processor",
        words: [
            0x78bfbff, 0x802009, 0x0, 0x0, 0x0, 0x0, 0x0, 0xee500800, 0x65, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "athlon",
        vendor: *b"AuthenticAMD",
        version: (6, 2, 3),
        level: 0x2,
        extended_level: 0x80000008,
        brand: "QEMU Virtual CPU version 2.5+",
        words: [
            0x783fbff, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0xc0400000, 0x0, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "Opteron_G1",
        vendor: *b"AuthenticAMD",
        version: (15, 6, 1),
        level: 0x5,
        extended_level: 0x80000008,
        brand: "AMD Opteron 240 (Gen 1 Class Opteron)",
        words: [
            0x78bfbff, 0x1, 0x0, 0x0, 0x0, 0x0, 0x0, 0x20100800, 0x0, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "Opteron_G2",
        vendor: *b"AuthenticAMD",
        version: (15, 6, 1),
        level: 0x5,
        extended_level: 0x80000008,
        brand: "AMD Opteron 22xx (Gen 2 Class Opteron)",
        words: [
            0x78bfbff, 0x2001, 0x0, 0x0, 0x0, 0x0, 0x0, 0x20100800, 0x5, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "Opteron_G3",
        vendor: *b"AuthenticAMD",
        version: (16, 2, 3),
        level: 0x5,
        extended_level: 0x80000008,
        brand: "AMD Opteron 23xx (Gen 3 Class Opteron)",
        words: [
            0x78bfbff, 0x802009, 0x0, 0x0, 0x0, 0x0, 0x0, 0x28100800, 0xe5, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "Opteron_G4",
        vendor: *b"AuthenticAMD",
        version: (21, 1, 2),
        level: 0xd,
        extended_level: 0x8000001a,
        brand: "AMD Opteron 62xx class CPU",
        words: [
            0x78bfbff, 0x16982203, 0x0, 0x0, 0x0, 0x0, 0x0, 0x2c100800, 0x109e5, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "Opteron_G5",
        vendor: *b"AuthenticAMD",
        version: (21, 2, 0),
        level: 0xd,
        extended_level: 0x8000001a,
        brand: "AMD Opteron 63xx class CPU",
        words: [
            0x78bfbff, 0x36983203, 0x0, 0x0, 0x0, 0x0, 0x0, 0x2c100800, 0x2109e5, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "EPYC",
        vendor: *b"AuthenticAMD",
        version: (23, 1, 2),
        level: 0xd,
        extended_level: 0x8000001e,
        brand: "AMD EPYC Processor",
        words: [
            0x78bfbff, 0x76d8320b, 0x209c01a9, 0x0, 0x0, 0x0, 0x7, 0x2e500800, 0x4003f5, 0x0, 0x0,
            0x4,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "EPYC-IBPB",
                changes: &[
                    Change::Feature("ibpb", true),
                    Change::Brand("AMD EPYC Processor (with IBPB)"),
                ],
            },
            Variant {
                number: 3,
                alias: "",
                changes: &[
                    Change::Feature("ibpb", true),
                    Change::Feature("perfctr-core", true),
                    Change::Feature("clzero", true),
                    Change::Feature("xsaveerptr", true),
                    Change::Feature("xsaves", true),
                    Change::Brand("AMD EPYC Processor"),
                ],
            },
            Variant {
                number: 4,
                alias: "",
                changes: &[Change::Brand("AMD EPYC-v4 Processor")],
            },
        ],
    },
    Model {
        name: "Dhyana",
        vendor: *b"HygonGenuine",
        version: (24, 0, 1),
        level: 0xd,
        extended_level: 0x8000001e,
        brand: "Hygon Dhyana Processor",
        words: [
            0x78bfbff, 0x74d83209, 0x9c01a9, 0x0, 0x0, 0x0, 0x7, 0x2e500800, 0x4003f5, 0x0, 0x1000,
            0x4,
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
                changes: &[Change::Feature("xsaves", true)],
            },
        ],
    },
    Model {
        name: "EPYC-Rome",
        vendor: *b"AuthenticAMD",
        version: (23, 49, 0),
        level: 0xd,
        extended_level: 0x8000001e,
        brand: "AMD EPYC-Rome Processor",
        words: [
            0x78bfbff, 0x76d8320b, 0x219c01a9, 0x400004, 0x0, 0x0, 0xf, 0x2e500800, 0xc003f5, 0x0,
            0x9205, 0x4,
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
                changes: &[
                    Change::Feature("ibrs", true),
                    Change::Feature("amd-ssbd", true),
                ],
            },
            Variant {
                number: 3,
                alias: "",
                changes: &[Change::Brand("AMD EPYC-Rome-v3 Processor")],
            },
            Variant {
                number: 4,
                alias: "",
                changes: &[
                    Change::Brand("AMD EPYC-Rome-v4 Processor (no XSAVES)"),
                    Change::Feature("xsaves", false),
                ],
            },
        ],
    },
    Model {
        name: "EPYC-Milan",
        vendor: *b"AuthenticAMD",
        version: (25, 1, 1),
        level: 0xd,
        extended_level: 0x8000001e,
        brand: "AMD EPYC-Milan Processor",
        words: [
            0x78bfbff, 0x76da320b, 0x219c07a9, 0x40000c, 0x10, 0x0, 0xf, 0x2e500800, 0xc003f5, 0x0,
            0x100d205, 0x4,
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
                changes: &[
                    Change::Brand("AMD EPYC-Milan-v2 Processor"),
                    Change::Feature("vaes", true),
                    Change::Feature("vpclmulqdq", true),
                    Change::Feature("stibp-always-on", true),
                    Change::Feature("amd-psfd", true),
                ],
            },
        ],
    },
    Model {
        name: "EPYC-Genoa",
        vendor: *b"AuthenticAMD",
        version: (25, 17, 0),
        level: 0xd,
        extended_level: 0x80000022,
        brand: "AMD EPYC-Genoa Processor",
        words: [
            0x78bfbff, 0x76da320b, 0xf1bf07a9, 0x415f4e, 0x10, 0x20, 0xf, 0x2e500800, 0xc003f5,
            0x0, 0x1102d205, 0x4,
        ],
        variants: &[],
    },
];
