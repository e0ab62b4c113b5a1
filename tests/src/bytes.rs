//! Making and changing image files byte by byte, for tests that need a damaged or odd one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Writes `bytes` at `offset` of a file that exists.
///
/// # Panics
/// When it cannot be written.
pub fn poke(path: &Path, offset: u64, bytes: &[u8]) {
    open(path)
        .write_all_at(bytes, offset)
        .expect("a scratch file can be written");
}

/// Reads `len` bytes at `offset`.
///
/// # Panics
/// When the file is shorter.
pub fn peek(path: &Path, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    open(path)
        .read_exact_at(&mut bytes, offset)
        .expect("the scratch file is long enough");
    bytes
}

/// The big-endian 64-bit number at `offset`.
///
/// # Panics
/// When the file is shorter.
pub fn peek_u64(path: &Path, offset: u64) -> u64 {
    let bytes = peek(path, offset, 8);
    u64::from_be_bytes(bytes.try_into().expect("eight bytes were read"))
}

/// Writes a big-endian 64-bit number.
///
/// # Panics
/// When it cannot be written.
pub fn poke_u64(path: &Path, offset: u64, value: u64) {
    poke(path, offset, &value.to_be_bytes());
}

/// Writes a big-endian 32-bit number.
///
/// # Panics
/// When it cannot be written.
pub fn poke_u32(path: &Path, offset: u64, value: u32) {
    poke(path, offset, &value.to_be_bytes());
}

/// A sparse file of `len` bytes with `pieces` (offset, bytes) in it.
///
/// # Panics
/// When it cannot be written.
pub fn sparse(path: &Path, len: u64, pieces: &[(u64, &[u8])]) {
    let file = File::create(path).expect("a scratch file can be made");
    file.set_len(len).expect("a scratch file can be sized");
    for (offset, bytes) in pieces {
        file.write_all_at(bytes, *offset)
            .expect("a scratch file can be written");
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()))
}
