//! Permissions of an edge: what its parent needs of a node, and what it lets others do.
//!
//! The bits and their numbers are QEMU's, since the image locks put them on disk bytes
//! (`100 + bit` taken, `200 + bit` not shared).

use std::ops::{BitAnd, BitOr, Not, Sub};

use crate::Role;

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

/// What a node needs of a child and lets others do there, from what its own parents need and share.
///
/// Metadata must stay consistent, so nobody else may write or resize what a format keeps it in; a writable
/// format always needs to write there, whatever its parents need now. A backing file is only read, and may be
/// written by others only if the overlay itself may.
pub(crate) fn child_perms(
    role: Role,
    writable: bool,
    used: Perms,
    shared: Perms,
) -> (Perms, Perms) {
    let storage = Perms::WRITE | Perms::RESIZE;
    match role {
        Role::Backing => {
            let others = if shared.contains(Perms::WRITE) {
                storage
            } else {
                Perms::NONE
            };
            (
                Perms::CONSISTENT_READ,
                others | Perms::CONSISTENT_READ | Perms::WRITE_UNCHANGED,
            )
        }
        Role::Filtered | Role::Root => (used, shared),
        Role::File | Role::Data if writable => {
            (used | Perms::CONSISTENT_READ | storage, shared - storage)
        }
        Role::File | Role::Data => (used | Perms::CONSISTENT_READ, shared - storage),
    }
}
