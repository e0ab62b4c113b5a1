//! Permissions of an edge: what its parent needs of a node, and what it lets others do.
//!
//! The bits and their numbers are QEMU's, since the image locks put them on disk bytes
//! (`100 + bit` taken, `200 + bit` not shared).

use std::ops::{BitAnd, BitOr, Not, Sub};

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Perms(u8);

impl Perms {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The content makes sense to a reader.
    pub const CONSISTENT_READ: Self = Self(1);
    /// Content may be changed.
    pub const WRITE: Self = Self(2);
    /// Writes that do not change what is read.
    pub const WRITE_UNCHANGED: Self = Self(4);
    /// The length may be changed.
    pub const RESIZE: Self = Self(8);
    /// Everything.
    pub const ALL: Self = Self(15);

    const NAMES: [(Self, &'static str); 4] = [
        (Self::CONSISTENT_READ, "consistent read"),
        (Self::WRITE, "write"),
        (Self::WRITE_UNCHANGED, "write unchanged"),
        (Self::RESIZE, "resize"),
    ];

    /// Whether every bit of `other` is in it.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no bit is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The raw bits, 0 to 15.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Single permissions that are set, with their bit number and QEMU's word.
    pub fn each(self) -> impl Iterator<Item = (u32, &'static str)> {
        Self::NAMES
            .into_iter()
            .filter(move |(bit, _)| self.contains(*bit))
            .map(|(bit, name)| (bit.0.trailing_zeros(), name))
    }

    /// QEMU's words joined by `, `.
    pub fn names(self) -> String {
        self.each()
            .map(|(_, name)| name)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl BitOr for Perms {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Perms {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Perms {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Not for Perms {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0 & Self::ALL.0)
    }
}
