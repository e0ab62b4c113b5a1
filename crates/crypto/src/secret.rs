//! `secret` and `secret_keyring` objects: passphrases and keys that the user gives, in the clear or encrypted with
//! another secret.
//!
//! ```text
//! data=TEXT | file=NAME       where a `secret` comes from
//! serial=NUMBER               the same of a `secret_keyring`: a key of the kernel's
//! format=raw | base64         how it is written
//! keyid=ID, iv=BASE64         it is AES-256-CBC with PKCS#7 padding; the key is the secret ID, 32 bytes
//! ```

mod keyring;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use object::{ObjectType, Objects};
use qapi::record::{self, Form, Place};
use qapi::{Dict, Error, Result, opts, strerror};
use zeroize::Zeroizing;

use crate::base64;
use crate::cipher::{Direction, cbc_once};

pub(crate) const SECRET: ObjectType = ObjectType {
    name: "secret",
    make: |options, objects| Ok(Arc::new(Secret::make(options, objects)?)),
};

pub(crate) const SECRET_KEYRING: ObjectType = ObjectType {
    name: "secret_keyring",
    make: |options, objects| Ok(Arc::new(Secret::of_keyring(options, objects)?)),
};

/// Largest file that a secret is read from.
const MAX_FILE: u64 = 16 << 20;

const KEY_LEN: usize = 32;
const IV_LEN: usize = 16;

/// Bytes that are nobody's business; wiped when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A passphrase: what a secret holds up to its first NUL byte.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Passphrase {
    /// From plain bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        Self(Zeroizing::new(bytes[..end].to_vec()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Secret {
    /// Reads what the options say.
    fn make(options: &mut Dict, objects: &Objects) -> Result<Self> {
        let data = opts::take_str(options, "data")?.map(|text| Zeroizing::new(text.into_bytes()));
        let file = opts::take_str(options, "file")?;
        let written = Written::take(options)?;
        let input = match (data, file) {
            (Some(_), Some(_)) => {
                return Err(Error::new("'file' and 'data' are mutually exclusive"));
            }
            (None, None) => return Err(Error::new("Either 'file' or 'data' must be provided")),
            (Some(data), None) => data,
            (None, Some(file)) => read_file(&file)?,
        };
        written.read(input, objects)
    }

    /// Reads a key of the kernel's.
    fn of_keyring(options: &mut Dict, objects: &Objects) -> Result<Self> {
        let serial: i32 = record::take(options, "serial", &Place::root(Form::Keyval))?;
        let written = Written::take(options)?;
        if serial == 0 {
            return Err(Error::new("'serial' should not be equal to 0"));
        }
        written.read(keyring::read(serial)?, objects)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// How a secret is written.
struct Written {
    base64: bool,
    key: Option<String>,
    iv: Option<String>,
}

impl Written {
    /// What the options say of it; there must be no others.
    fn take(options: &mut Dict) -> Result<Self> {
        let format = opts::take_str(options, "format")?;
        let key = opts::take_str(options, "keyid")?;
        let iv = opts::take_str(options, "iv")?;
        let base64 = match format.as_deref() {
            None | Some("raw") => false,
            Some("base64") => true,
            Some(other) => {
                return Err(Error::new(format!(
                    "Parameter 'format' does not accept value '{other}'"
                )));
            }
        };
        if let Some((name, _)) = options.iter().next() {
            return Err(Error::new(format!("Parameter '{name}' is unexpected")));
        }
        Ok(Self { base64, key, iv })
    }

    fn read(&self, input: Zeroizing<Vec<u8>>, objects: &Objects) -> Result<Secret> {
        let iv = self.iv.as_deref();
        let opened = match &self.key {
            Some(id) => decrypt(&input, self.base64, &*bytes(objects.find(id), id)?, iv)?,
            None if self.base64 => base64::decode(&input)?,
            None => input,
        };
        Ok(Secret(opened))
    }
}

fn read_file(name: &str) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |what: &str, e: &io::Error| {
        let why = e.raw_os_error().map_or_else(|| e.to_string(), strerror);
        Error::new(format!("Unable to read {name}: {what} “{name}”: {why}"))
    };
    let path = Path::new(name);
    let meta = std::fs::metadata(path).map_err(|e| failed("Failed to open file", &e))?;
    if meta.len() > MAX_FILE {
        return Err(Error::new(format!(
            "Unable to read {name}: a secret is at most {MAX_FILE} bytes long"
        )));
    }
    let mut file = std::fs::File::open(path).map_err(|e| failed("Failed to open file", &e))?;
    let room = usize::try_from(meta.len()).unwrap_or(0);
    let mut data = Zeroizing::new(Vec::with_capacity(room.max(4096)));
    io::Read::read_to_end(&mut io::Read::take(&mut file, MAX_FILE), &mut data)
        .map_err(|e| failed("Error reading file", &e))?;
    Ok(data)
}

fn decrypt(
    input: &[u8],
    base64: bool,
    key: &Secret,
    iv: Option<&str>,
) -> Result<Zeroizing<Vec<u8>>> {
    let key = key.as_bytes();
    if key.len() != KEY_LEN {
        return Err(Error::new("Key should be 32 bytes in length"));
    }
    let iv = iv.ok_or_else(|| Error::new("IV is required to decrypt secret"))?;
    let iv = base64::decode(iv.as_bytes())?;
    let iv: [u8; IV_LEN] = iv[..]
        .try_into()
        .map_err(|_| Error::new(format!("IV should be 16 bytes in length not {}", iv.len())))?;
    let mut text = if base64 {
        base64::decode(input)?
    } else {
        Zeroizing::new(input.to_vec())
    };
    if !text.len().is_multiple_of(IV_LEN) {
        return Err(Error::new(format!(
            "Length {} must be a multiple of block size 16",
            text.len()
        )));
    }
    cbc_once(key, iv, &mut text, Direction::Decrypt)?;
    let padding = text.last().copied().unwrap_or(0);
    if usize::from(padding) > IV_LEN.min(text.len()) {
        return Err(Error::new(format!(
            "Incorrect number of padding bytes ({padding}) found on decrypted data"
        )));
    }
    let len = text.len() - usize::from(padding);
    text.truncate(len);
    Ok(text)
}

/// What the secret `object`, called `id`, holds.
///
/// # Errors
/// In QEMU's words, when there is none or it is something else.
pub fn bytes(object: Option<object::Object>, id: &str) -> Result<Arc<Secret>> {
    let object = object.ok_or_else(|| Error::new(format!("No secret with id '{id}'")))?;
    object
        .downcast()
        .map_err(|_| Error::new(format!("Object with id '{id}' is not a secret")))
}

/// The passphrase in the secret `object`, called `id`.
///
/// # Errors
/// As [`bytes`], and when it is not UTF-8.
pub fn passphrase(object: Option<object::Object>, id: &str) -> Result<Passphrase> {
    let secret = bytes(object, id)?;
    if std::str::from_utf8(secret.as_bytes()).is_err() {
        return Err(Error::new(format!(
            "Data from secret {id} is not valid UTF-8"
        )));
    }
    Ok(Passphrase::new(secret.as_bytes()))
}

#[cfg(test)]
mod tests;
