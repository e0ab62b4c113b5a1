//! LUKS 1 (LUKS On-Disk Format Specification 1.2.3): how a disk's key is kept under up to eight passphrases.
//!
//! ```text
//! 0      magic "LUKS" ba be, u16 version 1, 32 bytes cipher name, 32 mode, 32 hash, u32 payload offset in sectors,
//!        u32 key length, 20 bytes digest of the key, 32 salt, u32 iterations, 40 bytes UUID
//! 208    8 slots: u32 state, u32 iterations, 32 bytes salt, u32 offset of the material in sectors, u32 stripes
//! 592    end of header; each slot's material and the payload follow where the offsets say
//! ```
//!
//! All numbers are big endian. A slot's material is the disk's key, split into stripes and encrypted with a key made
//! of a passphrase. The functions work on bytes; the caller reads and writes them.

mod create;
mod header;
mod slots;
#[cfg(test)]
mod tests;

pub use create::CreateOptions;
pub use header::{Header, Slot, is_luks};
pub use slots::{MasterKey, MaterialRange};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 592;

/// Slots in a header.
pub const SLOTS: usize = 8;

/// Stripes that a key is split into.
const STRIPES: u32 = 4000;

/// Length of a sector in bytes.
const SECTOR: u64 = 512;

/// Materials begin at multiples of this many sectors, the first right behind the header.
const ALIGN_SECTORS: u64 = 4096 / SECTOR;

/// Times that a slot's material is overwritten when it is erased.
pub const ERASE_TIMES: usize = 40;

/// Most iterations that an unlock does in all. A header may ask for 2^32 in each of nine places, which would be hours;
/// this is minutes, and ten times what a minute's benchmark gives.
const MAX_ITERATIONS: u64 = 1 << 30;

/// Length of the digest of the key in bytes.
const DIGEST_LEN: usize = 20;

/// Length of salts in bytes.
const SALT_LEN: usize = 32;
