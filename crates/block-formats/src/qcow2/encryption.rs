//! Encryption: none, the old AES, or LUKS with its header in clusters of its own.
//!
//! ```text
//! header field crypt_method: 0 none, 1 AES, 2 LUKS
//! extension 0x0537be77:      u64 offset, u64 length of the LUKS header with its slots
//! ```
//!
//! The old AES takes a sector's IV from its number on the disk, LUKS from where it is in the file. Packed clusters are
//! not enciphered.

use std::io;
use std::sync::Arc;

use block_core::{AmendRequest, Edge, FindObject, Gate, OpenRequest};
use crypto::luks::{CreateOptions, Header as LuksHeader};
use qapi::{Dict, Error, Result, Value};

use super::Qcow2;
use super::header::{Header, extension};
use crate::luks::volume::{self, Area, Made};
use crate::luks::{EncryptOptions, Given, Sealed, describe};

const EINVAL: i32 = 22;
const ENOTSUP: i32 = 95;

const AES: u32 = 1;
const LUKS: u32 = 2;

/// Longest LUKS header with slots that is believed, in bytes; the longest that is made is 2 MiB.
const MAX_HEADER: u64 = 16 << 20;

const PREFIX: &str = "encrypt.";

/// What an open image has for it.
pub(super) struct Encryption {
    pub(super) sealed: Sealed,
    luks: Option<Luks>,
}

struct Luks {
    area: Area,
    header: tokio::sync::Mutex<LuksHeader>,
    /// The secret that opened the image.
    secret: String,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(message).errno(EINVAL)
}

/// Where the LUKS header is, and how long.
pub(super) fn luks_area(header: &Header) -> Result<Option<(u64, u64)>> {
    let Some(data) = header.extension(extension::ENCRYPTION) else {
        return Ok(None);
    };
    if header.crypt_method != LUKS {
        return Err(invalid(
            "CRYPTO header extension only expected with LUKS encryption method",
        ));
    }
    let Ok(data) = <[u8; 16]>::try_from(data) else {
        return Err(invalid(format!(
            "CRYPTO header extension size {}, but expected size 16",
            data.len()
        )));
    };
    let word = |at: usize| {
        data[at..]
            .first_chunk()
            .map_or(0, |w| u64::from_be_bytes(*w))
    };
    let (offset, len) = (word(0), word(8));
    let cluster = 1_u64 << header.cluster_bits;
    if !offset.is_multiple_of(cluster) {
        return Err(invalid(format!(
            "Encryption header offset '{offset}' is not a multiple of cluster size '{cluster}'"
        )));
    }
    if len > MAX_HEADER
        || offset
            .checked_add(len)
            .is_none_or(|end| end > i64::MAX as u64)
    {
        return Err(invalid(format!(
            "Encryption header of {len} bytes at offset {offset} is too large"
        )));
    }
    Ok(Some((offset, len)))
}

/// Sets up what an image needs, from what its header and the options say.
pub(super) async fn open(
    header: &Header,
    request: &mut OpenRequest<'_>,
) -> Result<Option<Encryption>> {
    let given = EncryptOptions::take(request.options)?;
    given.refuse_format(match header.crypt_method {
        0 => "",
        AES => "aes",
        _ => "luks",
    })?;
    let area = luks_area(header)?;
    if header.crypt_method == 0 {
        return Ok(None);
    }
    if !header.size.is_multiple_of(512) {
        return Err(invalid(
            "The size of an encrypted image is a multiple of 512",
        ));
    }
    let passphrase = if request.no_io {
        None
    } else {
        Some(given.passphrase(request.gate)?)
    };
    if header.crypt_method == AES {
        let cipher = passphrase.as_ref().map(crypto::legacy_aes).transpose()?;
        return Ok(Some(Encryption {
            sealed: Sealed::new(cipher, false),
            luks: None,
        }));
    }
    let Some((base, len)) = area else {
        return Err(invalid(format!(
            "Missing CRYPTO header for crypt method {}",
            header.crypt_method
        )));
    };
    let area = Area {
        file: Arc::clone(&request.file),
        base,
        len: Some(len),
    };
    let luks = volume::load(&area, false).await?;
    let cipher = match passphrase {
        None => None,
        Some(passphrase) => {
            let key = volume::unlock(&area, &luks, &passphrase).await?;
            Some(luks.cipher(&key)?)
        }
    };
    Ok(Some(Encryption {
        sealed: Sealed::new(cipher, true),
        luks: Some(Luks {
            area,
            header: tokio::sync::Mutex::new(luks),
            secret: given.secret.unwrap_or_default(),
        }),
    }))
}

impl Encryption {
    /// What `info` shows.
    pub(super) async fn describe(&self) -> Dict {
        let mut out = Dict::new();
        match &self.luks {
            None => out.insert("format", "aes"),
            Some(luks) => {
                out = describe(&*luks.header.lock().await);
                out.insert("format", "luks");
            }
        }
        out
    }
}

/// Changes slots, if the options of amend ask for it.
pub(super) async fn amend(image: &Qcow2, request: &AmendRequest<'_>) -> Result<()> {
    let Some(encryption) = &image.encryption else {
        return Err(invalid(
            "Can't amend encryption options - encryption not present",
        ));
    };
    let Some(luks) = &encryption.luks else {
        let error = Error::new("Only LUKS encryption options can be amended");
        return Err(error.errno(ENOTSUP));
    };
    let given = Given {
        options: request.options,
        prefix: PREFIX,
    };
    let change = given.change(&luks.secret, request.force, request.object)?;
    let mut header = luks.header.lock().await;
    volume::change(&luks.area, &mut header, &change).await
}

/// Whether options of amend ask for it.
pub(super) fn asked(options: &Dict) -> bool {
    options.iter().any(|(name, _)| name.starts_with(PREFIX))
}

/// What the options of create ask for.
enum Wanted {
    None,
    Aes,
    Luks(CreateOptions),
}

fn wanted(options: &Dict) -> Result<Wanted> {
    let old = match options.get("encryption") {
        Some(Value::Bool(true)) => Some("aes"),
        _ => None,
    };
    let format = match (options.get_str("encrypt.format"), old) {
        (Some(_), Some(_)) => {
            return Err(invalid(
                "'encrypt.format' and its alias 'encryption' can't be used at the same time",
            ));
        }
        (new, old) => new.or(old),
    };
    let Some(format) = format else {
        return if asked(options) {
            Err(invalid("Parameter 'encrypt.format' is missing"))
        } else {
            Ok(Wanted::None)
        };
    };
    let given = Given {
        options,
        prefix: PREFIX,
    };
    match format {
        "luks" => {
            let create = given.create()?;
            given.key_secret()?;
            create.check()?;
            Ok(Wanted::Luks(create))
        }
        "aes" => {
            let known = ["encrypt.format", "encrypt.key-secret"];
            let mut all = options.iter().map(|(name, _)| name);
            if let Some(name) = all.find(|n| n.starts_with(PREFIX) && !known.contains(n)) {
                return Err(invalid(format!("Parameter '{name}' is unexpected")));
            }
            Ok(Wanted::Aes)
        }
        other => Err(invalid(format!(
            "Parameter 'format' does not accept value '{other}'"
        ))),
    }
}

fn secret(options: &Dict) -> Result<&str> {
    let given = Given {
        options,
        prefix: PREFIX,
    };
    given.key_secret()
}

/// Bytes that encryption takes in a new image, in whole clusters.
pub(super) fn measure(options: &Dict, find: FindObject<'_>, cluster: u64) -> Result<u64> {
    let Wanted::Luks(create) = wanted(options)? else {
        return Ok(0);
    };
    volume::passphrase(find, secret(options)?)?;
    Ok(create.header_bytes().next_multiple_of(cluster))
}

/// What a new image gets.
pub(super) enum New {
    None,
    Aes,
    Luks(Box<Made>),
}

/// Makes ready what a new image gets, before anything is written.
pub(super) async fn prepare(options: &Dict, gate: &dyn Gate) -> Result<New> {
    let wanted = wanted(options)?;
    if matches!(wanted, Wanted::None) {
        return Ok(New::None);
    }
    let find = |id: &str| gate.object(id);
    let passphrase = volume::passphrase(&find, secret(options)?)?;
    match wanted {
        Wanted::Luks(create) => {
            let made = volume::make(create, &passphrase, false).await?;
            Ok(New::Luks(Box::new(made)))
        }
        Wanted::Aes | Wanted::None => Ok(New::Aes),
    }
}

impl New {
    /// Enters it in a new image.
    pub(super) async fn store(&self, image: &Qcow2, file: &Arc<Edge>) -> Result<()> {
        let failed = |e: io::Error| Error::from_io("Could not write encryption header", &e);
        let place = match self {
            Self::None => return Ok(()),
            Self::Aes => None,
            Self::Luks(made) => {
                let len = made.header.payload_offset;
                let base = image.allocate_bytes(len).await.map_err(failed)?;
                let area = Area {
                    file: Arc::clone(file),
                    base,
                    len: Some(len),
                };
                let whole = len.next_multiple_of(image.cluster_size());
                file.write_zeroes(base, whole, block_core::ZeroFlags::default())
                    .await
                    .map_err(failed)?;
                made.store(&area).await?;
                Some((base, len))
            }
        };
        image.write_out().await.map_err(failed)?;
        image
            .change_header(|header| {
                header.crypt_method = if place.is_some() { LUKS } else { AES };
                let data =
                    place.map(|(base, len)| [base.to_be_bytes(), len.to_be_bytes()].concat());
                header.set_extension(extension::ENCRYPTION, data);
            })
            .await
            .map_err(failed)
    }
}
