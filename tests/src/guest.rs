//! Guests of the emulator that was built beside the test.

pub use guest_kit::{Console, Guest, Report, Root, Step, grub};

use crate::tools::built;

/// A guest on a machine of ours, made with these options.
///
/// # Errors
/// What is missing, for [`crate::require!`].
pub fn ours(options: &str) -> Result<Guest, String> {
    Guest::of(built("qsystem-x86_64"), options)
}
