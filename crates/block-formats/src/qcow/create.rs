//! Makes a qcow image.

use block_core::{CreateRequest, OptionDesc, OptionKind, WriteFlags};
use qapi::{Error, Result};

use super::{HEADER, MAGIC, MAX_NAME};
use crate::bytes::{put_be32, put_be64};
use crate::luks::Given;
use crate::make::{self, disk_size, flag, invalid, option, unsupported};

/// Options of create.
pub(super) const OPTIONS: &[OptionDesc] = &[
    make::SIZE,
    option("backing_file", OptionKind::Str, "File name of a base image"),
    option(
        "backing_fmt",
        OptionKind::Str,
        "Format of the backing image",
    ),
    option(
        "encrypt.format",
        OptionKind::Str,
        "Encrypt the image, format choices: 'aes'",
    ),
    option(
        "encrypt.key-secret",
        OptionKind::Str,
        "ID of the secret that provides the AES encryption key",
    ),
    option(
        "encryption",
        OptionKind::Bool,
        "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
    ),
];

/// Directories that the format could have and nobody means.
const MAX_L1: u64 = 1 << 31;

/// [`block_core::FormatDriver::create`].
pub(super) async fn create(request: CreateRequest<'_>) -> Result<()> {
    let options = request.options;
    let size = disk_size(options)?;
    if size == 0 {
        return Err(invalid("Image size is too small, cannot be zero length"));
    }
    let aes = asks_for_aes(&request)?;
    let backing = options.get_str("backing_file").unwrap_or_default();
    if backing.len() > MAX_NAME as usize {
        return Err(invalid("Backing file name too long"));
    }
    // Small clusters over a backing file: less is copied for a small write.
    let (cluster_bits, l2_bits) = if backing.is_empty() { (12, 9) } else { (9, 12) };
    let l1_offset = (HEADER + backing.len()).next_multiple_of(8);
    let l1_bytes = size.div_ceil(1 << (cluster_bits + l2_bits)) * 8;
    if l1_bytes > MAX_L1 {
        return Err(invalid("Image too large"));
    }
    let mut bytes = vec![0; l1_offset];
    bytes[..4].copy_from_slice(MAGIC);
    put_be32(&mut bytes, 4, 1);
    if !backing.is_empty() {
        put_be64(&mut bytes, 8, HEADER as u64);
        put_be32(&mut bytes, 16, u32::try_from(backing.len()).unwrap_or(0));
        bytes[HEADER..HEADER + backing.len()].copy_from_slice(backing.as_bytes());
    }
    put_be64(&mut bytes, 24, size);
    bytes[32] = cluster_bits;
    bytes[33] = l2_bits;
    put_be32(&mut bytes, 36, u32::from(aes));
    put_be64(&mut bytes, 40, l1_offset as u64);
    let l1_bytes = usize::try_from(l1_bytes.next_multiple_of(512)).unwrap_or(0);
    bytes.resize(l1_offset + l1_bytes, 0);
    let file = make::file(&request).await?;
    let failed = |e: std::io::Error| Error::from_io("Could not write qcow header", &e);
    file.write(0, &bytes, WriteFlags::default())
        .await
        .map_err(failed)?;
    file.flush().await.map_err(failed)
}

/// Whether the image is to be enciphered; its passphrase is there then.
fn asks_for_aes(request: &CreateRequest<'_>) -> Result<bool> {
    let options = request.options;
    let old = flag(options, "encryption");
    match options.get_str("encrypt.format") {
        Some(_) if old => {
            return Err(invalid(
                "'encrypt.format' and its alias 'encryption' can't be used at the same time",
            ));
        }
        Some("luks") => return Err(unsupported("Unsupported encryption format")),
        Some("aes") => {}
        Some(other) => {
            return Err(invalid(format!(
                "Parameter 'format' does not accept value '{other}'"
            )));
        }
        None if old => {}
        None if options.get("encrypt.key-secret").is_some() => {
            return Err(invalid("Parameter 'encrypt.format' is missing"));
        }
        None => return Ok(false),
    }
    let given = Given {
        options,
        prefix: "encrypt.",
    };
    let id = given.key_secret()?;
    crypto::passphrase(request.gate.object(id), id).map(|_| true)
}
