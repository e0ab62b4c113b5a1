//! What a version of a model has over the one before, as `-cpu help` says it.

/// Version and note.
pub(super) const NOTES: &[(&str, &str)] = &[
    ("Cascadelake-Server-v2", "ARCH_CAPABILITIES"),
    ("Cascadelake-Server-v3", "ARCH_CAPABILITIES, no TSX"),
    (
        "Cascadelake-Server-v4",
        "ARCH_CAPABILITIES, EPT switching, no TSX",
    ),
    (
        "Cascadelake-Server-v5",
        "ARCH_CAPABILITIES, EPT switching, XSAVES, no TSX",
    ),
    ("Cooperlake-v2", "XSAVES"),
    ("Denverton-v2", "no MPX, no MONITOR"),
    ("Denverton-v3", "XSAVES, no MPX, no MONITOR"),
    ("Dhyana-v2", "XSAVES"),
    ("Icelake-Server-v2", "no TSX"),
    ("Icelake-Server-v5", "XSAVES"),
    ("Icelake-Server-v6", "5-level EPT"),
    ("Icelake-Server-v7", "TSX, taa-no"),
    ("Skylake-Client-v4", "IBRS, XSAVES, no TSX"),
    ("Skylake-Server-v4", "IBRS, EPT switching, no TSX"),
    ("Skylake-Server-v5", "IBRS, XSAVES, EPT switching, no TSX"),
    ("Snowridge-v3", "XSAVES, no MPX"),
    ("Snowridge-v4", "no split lock detect, no core-capability"),
    ("YongFeng-v2", "with the correct model number"),
];
