//! Processors of Intel for servers.

use super::{Change, Model, Variant};

/// The models; words of features in the order of [`Leaf`](super::super::Leaf).
pub(super) const MODELS: &[Model] = &[
    Model {
        name: "Skylake-Server",
        vendor: *b"GenuineIntel",
        version: (6, 85, 4),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Xeon Processor (Skylake)",
        words: [
            0x78bfbff, 0x77fa3203, 0xd19f0fb9, 0x8, 0x0, 0x0, 0x7, 0x2c100800, 0x121, 0x0, 0x0, 0x4,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "Skylake-Server-IBRS",
                changes: &[
                    Change::Feature("clflushopt", false),
                    Change::Feature("spec-ctrl", true),
                    Change::Brand("Intel Xeon Processor (Skylake, IBRS)"),
                ],
            },
            Variant {
                number: 3,
                alias: "Skylake-Server-noTSX-IBRS",
                changes: &[
                    Change::Feature("hle", false),
                    Change::Feature("rtm", false),
                    Change::Brand("Intel Xeon Processor (Skylake, IBRS, no TSX)"),
                ],
            },
            Variant {
                number: 4,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 5,
                alias: "",
                changes: &[Change::Feature("xsaves", true)],
            },
        ],
    },
    Model {
        name: "Cascadelake-Server",
        vendor: *b"GenuineIntel",
        version: (6, 85, 6),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Xeon Processor (Cascadelake)",
        words: [
            0x78bfbff, 0x77fa3203, 0xd19f0fb9, 0x808, 0x84000000, 0x0, 0x7, 0x2c100800, 0x121, 0x0,
            0x0, 0x4,
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
                changes: &[Change::Feature("arch-capabilities", true)],
            },
            Variant {
                number: 3,
                alias: "Cascadelake-Server-noTSX",
                changes: &[Change::Feature("hle", false), Change::Feature("rtm", false)],
            },
            Variant {
                number: 4,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 5,
                alias: "",
                changes: &[Change::Feature("xsaves", true)],
            },
        ],
    },
    Model {
        name: "Cooperlake",
        vendor: *b"GenuineIntel",
        version: (6, 85, 10),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Xeon Processor (Cooperlake)",
        words: [
            0x78bfbff, 0x77fa3203, 0xd19f0fb9, 0x808, 0xac000000, 0x20, 0x7, 0x2c100800, 0x121,
            0x0, 0x0, 0x4,
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
        name: "Icelake-Server",
        vendor: *b"GenuineIntel",
        version: (6, 134, 0),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Xeon Processor (Icelake)",
        words: [
            0x78bfbff, 0x77fa3203, 0xd19f0fb9, 0x15f4e, 0x84000000, 0x0, 0x7, 0x2c100800, 0x121,
            0x0, 0x200, 0x4,
        ],
        variants: &[
            Variant {
                number: 1,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 2,
                alias: "Icelake-Server-noTSX",
                changes: &[Change::Feature("hle", false), Change::Feature("rtm", false)],
            },
            Variant {
                number: 3,
                alias: "",
                changes: &[Change::Feature("arch-capabilities", true)],
            },
            Variant {
                number: 4,
                alias: "",
                changes: &[
                    Change::Feature("sha-ni", true),
                    Change::Feature("avx512ifma", true),
                    Change::Feature("rdpid", true),
                    Change::Feature("fsrm", true),
                    Change::Model(106),
                ],
            },
            Variant {
                number: 5,
                alias: "",
                changes: &[Change::Feature("xsaves", true)],
            },
            Variant {
                number: 6,
                alias: "",
                changes: &[],
            },
            Variant {
                number: 7,
                alias: "",
                changes: &[Change::Feature("hle", true), Change::Feature("rtm", true)],
            },
        ],
    },
    Model {
        name: "SapphireRapids",
        vendor: *b"GenuineIntel",
        version: (6, 143, 4),
        level: 0x20,
        extended_level: 0x80000008,
        brand: "Intel Xeon Processor (SapphireRapids)",
        words: [
            0x78bfbff, 0x77fa3203, 0xf1bf0fb9, 0x1415f4e, 0xa7c14010, 0x1c30, 0x1f, 0x2c100800,
            0x121, 0x0, 0x200, 0x4,
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
                changes: &[],
            },
            Variant {
                number: 3,
                alias: "",
                changes: &[
                    Change::Feature("ss", true),
                    Change::Feature("tsc-adjust", true),
                    Change::Feature("cldemote", true),
                    Change::Feature("movdiri", true),
                    Change::Feature("movdir64b", true),
                ],
            },
        ],
    },
    Model {
        name: "GraniteRapids",
        vendor: *b"GenuineIntel",
        version: (6, 173, 0),
        level: 0x20,
        extended_level: 0x80000008,
        brand: "Intel Xeon Processor (GraniteRapids)",
        words: [
            0x78bfbff, 0x77fa3203, 0xf1bf0fb9, 0x1415f4e, 0xa7c14010, 0x201c30, 0x1f, 0x2c100800,
            0x121, 0x0, 0x200, 0x4,
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
                    Change::Feature("ss", true),
                    Change::Feature("tsc-adjust", true),
                    Change::Feature("cldemote", true),
                    Change::Feature("movdiri", true),
                    Change::Feature("movdir64b", true),
                    Change::Stepping(1),
                ],
            },
        ],
    },
    Model {
        name: "SierraForest",
        vendor: *b"GenuineIntel",
        version: (6, 175, 0),
        level: 0x23,
        extended_level: 0x80000008,
        brand: "Intel Xeon Processor (SierraForest)",
        words: [
            0x78bfbff, 0x77fa3203, 0x219c07a9, 0x140070c, 0xa4004010, 0x800890, 0xf, 0x2c100800,
            0x121, 0x0, 0x200, 0x4,
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
                    Change::Feature("ss", true),
                    Change::Feature("tsc-adjust", true),
                    Change::Feature("cldemote", true),
                    Change::Feature("movdiri", true),
                    Change::Feature("movdir64b", true),
                    Change::Feature("lam", true),
                    Change::Stepping(3),
                ],
            },
        ],
    },
    Model {
        name: "ClearwaterForest",
        vendor: *b"GenuineIntel",
        version: (6, 221, 0),
        level: 0x23,
        extended_level: 0x80000008,
        brand: "Intel Xeon Processor (ClearwaterForest)",
        words: [
            0xf8bfbff, 0x77fa3203, 0x219c07ab, 0x1b40070c, 0xa4004010, 0x4800897, 0xf, 0x2c100800,
            0x121, 0x0, 0x200, 0x4,
        ],
        variants: &[Variant {
            number: 1,
            alias: "",
            changes: &[],
        }],
    },
    Model {
        name: "Denverton",
        vendor: *b"GenuineIntel",
        version: (6, 95, 1),
        level: 0x15,
        extended_level: 0x80000008,
        brand: "Intel Atom Processor (Denverton)",
        words: [
            0x78bfbff, 0x47f8220b, 0x20944281, 0x0, 0xa4000000, 0x0, 0x7, 0x2c100800, 0x101, 0x0,
            0x0, 0x4,
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
                    Change::Feature("monitor", false),
                    Change::Feature("mpx", false),
                ],
            },
            Variant {
                number: 3,
                alias: "",
                changes: &[Change::Feature("xsaves", true)],
            },
        ],
    },
    Model {
        name: "Snowridge",
        vendor: *b"GenuineIntel",
        version: (6, 134, 1),
        level: 0x1b,
        extended_level: 0x80000008,
        brand: "Intel Atom Processor (SnowRidge)",
        words: [
            0x78bfbff, 0x47f8220b, 0x21944281, 0x1a000104, 0xe4000000, 0x0, 0x7, 0x2c100800, 0x101,
            0x0, 0x0, 0x4,
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
                    Change::Feature("mpx", false),
                    Change::Brand("Intel Atom Processor (Snowridge, no MPX)"),
                ],
            },
            Variant {
                number: 3,
                alias: "",
                changes: &[Change::Feature("xsaves", true)],
            },
            Variant {
                number: 4,
                alias: "",
                changes: &[Change::Feature("core-capability", false)],
            },
        ],
    },
    Model {
        name: "KnightsMill",
        vendor: *b"GenuineIntel",
        version: (6, 133, 0),
        level: 0xd,
        extended_level: 0x80000008,
        brand: "Intel Xeon Phi Processor (Knights Mill)",
        words: [
            0xf8bfbff, 0x77f83203, 0x1c0d03a9, 0x4000, 0xc, 0x0, 0x1, 0x2c100800, 0x121, 0x0, 0x0,
            0x4,
        ],
        variants: &[],
    },
];
