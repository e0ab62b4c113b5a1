//! Processors of Intel for desks and laps.

use super::{Change, Model, Variant};

/// The models; words of features in the order of [`Leaf`](super::super::Leaf).
pub(super) const MODELS: &[Model] = &[
    Model {
        name: "core2duo",
        vendor: *b"GenuineIntel",
        version: (6, 15, 11),
        level: 0xa,
        extended_level: 0x80000008,
        brand: "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz",
        words: [
            0xfcbfbff, 0x2209, 0x0, 0x0, 0x0, 0x0, 0x0, 0x20100800, 0x1, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "coreduo",
        vendor: *b"GenuineIntel",
        version: (6, 14, 8),
        level: 0xa,
        extended_level: 0x80000008,
        brand: "Genuine Intel(R) CPU           T2600  @ 2.16GHz",
        words: [
            0xfc9fbff, 0x9, 0x0, 0x0, 0x0, 0x0, 0x0, 0x100000, 0x0, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "486",
        vendor: *b"GenuineIntel",
        version: (4, 8, 0),
        level: 0x1,
        extended_level: 0x0,
        brand: "",
        words: [0xb, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0],
        variants: &[],
    },
    Model {
        name: "pentium",
        vendor: *b"GenuineIntel",
        version: (5, 4, 3),
        level: 0x1,
        extended_level: 0x0,
        brand: "",
        words: [
            0x8003bf, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "pentium2",
        vendor: *b"GenuineIntel",
        version: (6, 5, 2),
        level: 0x2,
        extended_level: 0x0,
        brand: "",
        words: [
            0x183fbff, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "pentium3",
        vendor: *b"GenuineIntel",
        version: (6, 7, 3),
        level: 0x3,
        extended_level: 0x0,
        brand: "",
        words: [
            0x383fbff, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "n270",
        vendor: *b"GenuineIntel",
        version: (6, 28, 2),
        level: 0xa,
        extended_level: 0x80000008,
        brand: "Intel(R) Atom(TM) CPU N270   @ 1.60GHz",
        words: [
            0xfc9fbff, 0x400209, 0x0, 0x0, 0x0, 0x0, 0x0, 0x100000, 0x1, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "Conroe",
        vendor: *b"GenuineIntel",
        version: (6, 15, 3),
        level: 0xa,
        extended_level: 0x80000008,
        brand: "Intel Celeron_4x0 (Conroe/Merom Class Core 2)",
        words: [
            0x78bfbff, 0x201, 0x0, 0x0, 0x0, 0x0, 0x0, 0x20100800, 0x1, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "Penryn",
        vendor: *b"GenuineIntel",
        version: (6, 23, 3),
        level: 0xa,
        extended_level: 0x80000008,
        brand: "Intel Core 2 Duo P9xxx (Penryn Class Core 2)",
        words: [
            0x78bfbff, 0x82201, 0x0, 0x0, 0x0, 0x0, 0x0, 0x20100800, 0x1, 0x0, 0x0, 0x0,
        ],
        variants: &[],
    },
    Model {
        name: "Nehalem",
        vendor: *b"GenuineIntel",
        version: (6, 26, 3),
        level: 0xb,
        extended_level: 0x80000008,
        brand: "Intel Core i7 9xx (Nehalem Class Core i7)",
        words: [
            0x78bfbff, 0x982201, 0x0, 0x0, 0x0, 0x0, 0x0, 0x20100800, 0x1, 0x0, 0x0, 0x0,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "Nehalem-IBRS",
                changes: &[
                    Change::Feature("spec-ctrl", true),
                    Change::Brand("Intel Core i7 9xx (Nehalem Core i7, IBRS update)"),
                ],
            },
        ],
    },
    Model {
        name: "Westmere",
        vendor: *b"GenuineIntel",
        version: (6, 44, 1),
        level: 0xb,
        extended_level: 0x80000008,
        brand: "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
        words: [
            0x78bfbff, 0x2982203, 0x0, 0x0, 0x0, 0x0, 0x0, 0x20100800, 0x1, 0x0, 0x0, 0x4,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "Westmere-IBRS",
                changes: &[
                    Change::Feature("spec-ctrl", true),
                    Change::Brand("Westmere E56xx/L56xx/X56xx (IBRS update)"),
                ],
            },
        ],
    },
    Model {
        name: "SandyBridge",
        vendor: *b"GenuineIntel",
        version: (6, 42, 1),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Xeon E312xx (Sandy Bridge)",
        words: [
            0x78bfbff, 0x17b82203, 0x0, 0x0, 0x0, 0x0, 0x1, 0x28100800, 0x1, 0x0, 0x0, 0x4,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "SandyBridge-IBRS",
                changes: &[
                    Change::Feature("spec-ctrl", true),
                    Change::Brand("Intel Xeon E312xx (Sandy Bridge, IBRS update)"),
                ],
            },
        ],
    },
    Model {
        name: "IvyBridge",
        vendor: *b"GenuineIntel",
        version: (6, 58, 9),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Xeon E3-12xx v2 (Ivy Bridge)",
        words: [
            0x78bfbff, 0x77b82203, 0x281, 0x0, 0x0, 0x0, 0x1, 0x28100800, 0x1, 0x0, 0x0, 0x4,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "IvyBridge-IBRS",
                changes: &[
                    Change::Feature("spec-ctrl", true),
                    Change::Brand("Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)"),
                ],
            },
        ],
    },
    Model {
        name: "Haswell",
        vendor: *b"GenuineIntel",
        version: (6, 60, 4),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Core Processor (Haswell)",
        words: [
            0x78bfbff, 0x77fa3203, 0xfb9, 0x0, 0x0, 0x0, 0x1, 0x28100800, 0x21, 0x0, 0x0, 0x4,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "Haswell-noTSX",
                changes: &[
                    Change::Feature("hle", false),
                    Change::Feature("rtm", false),
                    Change::Stepping(1),
                ],
            },
            Variant {
                number: 3,
                alias: "Haswell-IBRS",
                changes: &[
                    Change::Feature("hle", true),
                    Change::Feature("rtm", true),
                    Change::Stepping(4),
                    Change::Feature("spec-ctrl", true),
                    Change::Brand("Intel Core Processor (Haswell, IBRS)"),
                ],
            },
            Variant {
                number: 4,
                alias: "Haswell-noTSX-IBRS",
                changes: &[
                    Change::Feature("hle", false),
                    Change::Feature("rtm", false),
                    Change::Stepping(1),
                    Change::Brand("Intel Core Processor (Haswell, no TSX, IBRS)"),
                ],
            },
        ],
    },
    Model {
        name: "Broadwell",
        vendor: *b"GenuineIntel",
        version: (6, 61, 2),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Core Processor (Broadwell)",
        words: [
            0x78bfbff, 0x77fa3203, 0x1c0fb9, 0x0, 0x0, 0x0, 0x1, 0x28100800, 0x121, 0x0, 0x0, 0x4,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "Broadwell-noTSX",
                changes: &[Change::Feature("hle", false), Change::Feature("rtm", false)],
            },
            Variant {
                number: 3,
                alias: "Broadwell-IBRS",
                changes: &[
                    Change::Feature("hle", true),
                    Change::Feature("rtm", true),
                    Change::Feature("spec-ctrl", true),
                    Change::Brand("Intel Core Processor (Broadwell, IBRS)"),
                ],
            },
            Variant {
                number: 4,
                alias: "Broadwell-noTSX-IBRS",
                changes: &[
                    Change::Feature("hle", false),
                    Change::Feature("rtm", false),
                    Change::Brand("Intel Core Processor (Broadwell, no TSX, IBRS)"),
                ],
            },
        ],
    },
    Model {
        name: "Skylake-Client",
        vendor: *b"GenuineIntel",
        version: (6, 94, 3),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Core Processor (Skylake)",
        words: [
            0x78bfbff, 0x77fa3203, 0x1c0fb9, 0x0, 0x0, 0x0, 0x7, 0x28100800, 0x121, 0x0, 0x0, 0x4,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "Skylake-Client-IBRS",
                changes: &[
                    Change::Feature("spec-ctrl", true),
                    Change::Brand("Intel Core Processor (Skylake, IBRS)"),
                ],
            },
            Variant {
                number: 3,
                alias: "Skylake-Client-noTSX-IBRS",
                changes: &[
                    Change::Feature("hle", false),
                    Change::Feature("rtm", false),
                    Change::Brand("Intel Core Processor (Skylake, IBRS, no TSX)"),
                ],
            },
            Variant {
                number: 4,
                alias: "",
                changes: &[Change::Feature("xsaves", true)],
            },
        ],
    },
];
