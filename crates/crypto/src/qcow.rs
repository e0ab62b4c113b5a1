//! The encryption that qcow and qcow2 had before LUKS: AES-128-CBC, the key the passphrase's first 16 bytes as they
//! are, the IV the sector's number. Weak; kept for old images.

use qapi::Result;
use zeroize::Zeroizing;

use crate::{Algorithm, CipherSpec, IvGen, Mode, Passphrase, SectorCipher};

/// The cipher for a passphrase.
///
/// # Errors
/// None that a passphrase can cause.
pub fn legacy_aes(passphrase: &Passphrase) -> Result<SectorCipher> {
    let mut key = Zeroizing::new([0; 16]);
    for (to, byte) in key.iter_mut().zip(passphrase.as_bytes()) {
        *to = *byte;
    }
    let spec = CipherSpec {
        algorithm: Algorithm::Aes128,
        mode: Mode::Cbc,
        ivgen: IvGen::Plain64,
        ivgen_hash: None,
    };
    SectorCipher::new(&spec, &key[..])
}
