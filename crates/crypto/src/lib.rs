//! Secrets and the encryption of disks: ciphers over sectors, passphrases turned into keys, LUKS 1 headers. TLS, and
//! who may come in.
//!
//! Nothing here does I/O but for the files and kernel keys that secrets, credentials and rules are read from. Keys and passphrases are wiped when they are no
//! longer used, and neither error texts nor `Debug` show them.
#![forbid(unsafe_code)]

mod afsplit;
pub mod authz;
mod base64;
mod cipher;
mod hash;
pub mod luks;
mod pbkdf2;
mod qcow;
mod secret;
pub mod tls;

use object::ObjectType;

pub use cipher::{Algorithm, CipherSpec, IvGen, Mode, SECTOR_LEN, SectorCipher};
pub use hash::Hash;
pub use pbkdf2::{Stop, count_iterations, derive};
pub use qcow::legacy_aes;
pub use secret::{Passphrase, Secret, bytes, passphrase};
pub use zeroize::Zeroizing;

/// Objects of this crate.
pub const OBJECTS: &[ObjectType] = &[
    secret::SECRET,
    secret::SECRET_KEYRING,
    tls::X509,
    tls::PSK,
    tls::ANON,
    authz::SIMPLE,
    authz::LIST,
    authz::LIST_FILE,
    authz::PAM,
];

/// Fills `buf` with random bytes.
///
/// # Errors
/// When the system has none.
pub fn random(buf: &mut [u8]) -> qapi::Result<()> {
    getrandom::fill(buf).map_err(|e| qapi::Error::new(format!("Unable to read random bytes: {e}")))
}
