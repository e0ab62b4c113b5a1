//! Names and sizes of what encrypts a disk.

/// A block cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// FIPS 197, 128 bits of key.
    Aes128,
    /// FIPS 197, 192 bits of key.
    Aes192,
    /// FIPS 197, 256 bits of key.
    Aes256,
    /// FIPS 46
    Des,
    /// FIPS 46, three keys.
    TripleDes,
    /// RFC 2144
    Cast5,
    /// Serpent, 128 bits of key.
    Serpent128,
    /// Serpent, 192 bits of key.
    Serpent192,
    /// Serpent, 256 bits of key.
    Serpent256,
    /// Twofish, 128 bits of key.
    Twofish128,
    /// Twofish, 192 bits of key.
    Twofish192,
    /// Twofish, 256 bits of key.
    Twofish256,
    /// GB/T 32907
    Sm4,
}

/// One row: algorithm, QEMU's name, LUKS's name, key and block length in bytes.
type Row = (Algorithm, &'static str, Option<&'static str>, usize, usize);

const ALGORITHMS: &[Row] = &[
    (Algorithm::Aes128, "aes-128", Some("aes"), 16, 16),
    (Algorithm::Aes192, "aes-192", Some("aes"), 24, 16),
    (Algorithm::Aes256, "aes-256", Some("aes"), 32, 16),
    (Algorithm::Des, "des", None, 8, 8),
    (Algorithm::TripleDes, "3des", None, 24, 8),
    (Algorithm::Cast5, "cast5-128", Some("cast5"), 16, 8),
    (
        Algorithm::Serpent128,
        "serpent-128",
        Some("serpent"),
        16,
        16,
    ),
    (
        Algorithm::Serpent192,
        "serpent-192",
        Some("serpent"),
        24,
        16,
    ),
    (
        Algorithm::Serpent256,
        "serpent-256",
        Some("serpent"),
        32,
        16,
    ),
    (
        Algorithm::Twofish128,
        "twofish-128",
        Some("twofish"),
        16,
        16,
    ),
    (
        Algorithm::Twofish192,
        "twofish-192",
        Some("twofish"),
        24,
        16,
    ),
    (
        Algorithm::Twofish256,
        "twofish-256",
        Some("twofish"),
        32,
        16,
    ),
    (Algorithm::Sm4, "sm4", Some("sm4"), 16, 16),
];

impl Algorithm {
    fn row(self) -> &'static Row {
        ALGORITHMS
            .iter()
            .find(|row| row.0 == self)
            .unwrap_or(&ALGORITHMS[0])
    }

    /// QEMU's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// By QEMU's name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALGORITHMS.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The name in LUKS headers, if it has one there.
    #[must_use]
    pub fn luks_name(self) -> Option<&'static str> {
        self.row().2
    }

    /// By the name in a LUKS header and the length of its key in bytes.
    #[must_use]
    pub fn of_luks(name: &str, key_len: usize) -> Option<Self> {
        ALGORITHMS
            .iter()
            .find(|row| row.2 == Some(name) && row.3 == key_len)
            .map(|row| row.0)
    }

    /// Length of its key in bytes.
    #[must_use]
    pub fn key_len(self) -> usize {
        self.row().3
    }

    /// Length of its block in bytes.
    #[must_use]
    pub fn block_len(self) -> usize {
        self.row().4
    }

    /// The same cipher with a key of another length, if there is one.
    #[must_use]
    pub fn with_key_len(self, key_len: usize) -> Option<Self> {
        Self::of_luks(self.luks_name()?, key_len)
    }
}

/// How blocks are chained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each block for itself.
    Ecb,
    /// NIST SP 800-38A
    Cbc,
    /// IEEE 1619
    Xts,
    /// NIST SP 800-38A
    Ctr,
}

impl Mode {
    const ALL: &[Self] = &[Self::Ecb, Self::Cbc, Self::Xts, Self::Ctr];

    /// QEMU's and LUKS's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecb => "ecb",
            Self::Cbc => "cbc",
            Self::Xts => "xts",
            Self::Ctr => "ctr",
        }
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.name() == name)
    }
}

/// What makes a sector's number into its IV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IvGen {
    /// Its low 32 bits, little endian.
    Plain,
    /// 64 bits, little endian.
    Plain64,
    /// The same, encrypted with the hash of the key.
    Essiv,
}

impl IvGen {
    const ALL: &[Self] = &[Self::Plain, Self::Plain64, Self::Essiv];

    /// QEMU's and LUKS's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Plain64 => "plain64",
            Self::Essiv => "essiv",
        }
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|g| g.name() == name)
    }
}
