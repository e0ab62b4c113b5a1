//! Keys of the kernel's keyrings.

use linux_keyutils::{Key, KeyError, KeySerialId};
use qapi::{Error, Result, strerror};
use zeroize::Zeroizing;

/// Room for a key at first; most are passphrases.
const ROOM: usize = 4096;

/// Largest key: "big_key" has room for 1 MiB.
const MAX: usize = 1 << 20;

/// What the key of this number holds.
pub(super) fn read(serial: i32) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |e| {
        Error::new(format!(
            "Unable to read serial key {serial:08x}: {}",
            text(e)
        ))
    };
    let key = Key::from_id(KeySerialId::new(serial));
    let mut data = Zeroizing::new(vec![0; ROOM]);
    loop {
        // The answer is the key's length, also where that is more than there was room for.
        let len = key.read(&mut data).map_err(failed)?;
        if len <= data.len() {
            data.truncate(len);
            return Ok(data);
        }
        if len > MAX {
            return Err(Error::new(format!(
                "Unable to read serial key {serial:08x}: a secret is at most {MAX} bytes long"
            )));
        }
        data = Zeroizing::new(vec![0; len]);
    }
}

fn text(error: KeyError) -> String {
    strerror(match error {
        KeyError::MissingFileOrDirectory => 2,
        KeyError::PermissionDenied => 1,
        KeyError::AccessDenied => 13,
        KeyError::InvalidArguments => 22,
        KeyError::OperationNotSupported => 95,
        KeyError::KeyDoesNotExist => 126,
        KeyError::KeyExpired => 127,
        KeyError::KeyRevoked => 128,
        KeyError::KeyRejected => 129,
        KeyError::Unknown(errno) => errno,
        other => return other.to_string(),
    })
}
