//! qcow: the first version of QEMU's own format (header and tables as in the reference's `block/qcow.c`; there is no
//! other specification).
//!
//! A header of 48 bytes, the backing file's name, a directory (L1) of tables (L2) of 64-bit offsets, clusters. Clusters may
//! be packed. There are no reference counts: nothing is freed, nothing can be checked.

mod create;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use block_core::{
    BackingLink, BoxFuture, Cipher, CreateRequest, Edge, FormatDriver, FormatInfo, OpenRequest,
    Opened, ProbeInput,
};
use qapi::{Error, Result, format_size};

use crate::blocks::{Blocks, Cell, Core, Packer, Scheme};
use crate::bytes::{be32, be64};
use crate::deflate;
use crate::luks::{EncryptOptions, Sealed};
use crate::make::{invalid, unsupported};
use crate::tables::{Coding, Home, Tables};

const MAGIC: &[u8] = b"QFI\xfb";
const HEADER: usize = 48;
/// The entry of a packed cluster.
const PACKED: u64 = 1 << 63;
const MAX_NAME: u32 = 1023;

/// qcow
pub static DRIVER: FormatDriver = FormatDriver {
    name: "qcow",
    probe,
    open: |request: OpenRequest<'_>| -> BoxFuture<'_, Result<Opened>> { Box::pin(open(request)) },
    create: Some(|request: CreateRequest<'_>| -> BoxFuture<'_, Result<()>> {
        Box::pin(create::create(request))
    }),
    create_options: create::OPTIONS,
    amend_options: &[],
    measure: None,
    supports_backing: true,
};

fn probe(input: &ProbeInput<'_>) -> u8 {
    if input.head.starts_with(MAGIC) && be32(input.head, 4) == 1 {
        100
    } else {
        0
    }
}

struct Header {
    backing: Option<(u64, u32)>,
    size: u64,
    cluster_bits: u8,
    l2_bits: u8,
    /// Enciphered with the old AES.
    aes: bool,
    l1_offset: u64,
}

impl Header {
    fn decode(bytes: &[u8; HEADER]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(invalid("Image not in qcow format"));
        }
        let version = be32(bytes, 4);
        if version != 1 {
            let error = unsupported(format!("qcow (v1) does not support qcow version {version}"));
            return Err(match version {
                2 | 3 => error.hint("Try the 'qcow2' driver instead."),
                _ => error,
            });
        }
        let header = Self {
            backing: Some((be64(bytes, 8), be32(bytes, 16))).filter(|(at, _)| *at != 0),
            size: be64(bytes, 24),
            cluster_bits: bytes[32],
            l2_bits: bytes[33],
            aes: be32(bytes, 36) == 1,
            l1_offset: be64(bytes, 40),
        };
        header.check(be32(bytes, 36))?;
        Ok(header)
    }

    fn check(&self, crypt: u32) -> Result<()> {
        if self.size <= 1 {
            return Err(invalid(
                "Image size is too small (must be at least 2 bytes)",
            ));
        }
        if !(9..=16).contains(&self.cluster_bits) {
            return Err(invalid("Cluster size must be between 512 and 64k"));
        }
        if !(6..=13).contains(&self.l2_bits) {
            return Err(invalid("L2 table size must be between 512 and 64k"));
        }
        match crypt {
            0 | 1 => {}
            _ => return Err(invalid("invalid encryption method in qcow header")),
        }
        if self.size > u64::MAX - (1 << self.table_shift()) || self.tables() > 1 << 28 {
            return Err(invalid("Image too large"));
        }
        if self.backing.is_some_and(|(_, len)| len > MAX_NAME) {
            return Err(invalid("Backing file name too long"));
        }
        Ok(())
    }

    fn table_shift(&self) -> u8 {
        self.cluster_bits + self.l2_bits
    }

    fn tables(&self) -> u64 {
        self.size.div_ceil(1 << self.table_shift())
    }
}

struct Qcow {
    cluster_bits: u8,
    sealed: Option<Sealed>,
    backing: Option<BackingLink>,
    /// Where the directory ends.
    first: u64,
}

async fn open(mut request: OpenRequest<'_>) -> Result<Opened> {
    let file = Arc::clone(&request.file);
    let mut bytes = [0; HEADER];
    let failed = |e: io::Error| Error::from_io("Could not read qcow header", &e);
    file.read(0, &mut bytes).await.map_err(failed)?;
    let header = Header::decode(&bytes)?;
    let sealed = sealed(&header, &mut request)?;
    let length = file.node().length().map_err(failed)?;
    let entries = read_l1(&file, &header, length).await?;
    let backing = match header.backing {
        Some((at, len)) => Some(read_name(&file, at, len).await?),
        None => None,
    };
    let home = Home::Directory {
        offset: header.l1_offset,
        entries,
        coding: Coding::Be64,
        table: 8 << header.l2_bits,
        unit: 1,
        copies: Vec::new(),
    };
    let entries = header.tables() << header.l2_bits;
    let tables = Tables::new(file.clone(), Coding::Be64, home, entries);
    let numbers = (header.size & !511, 1 << header.cluster_bits, length);
    let core = Core::new(file.clone(), tables, numbers, request.read_write);
    let scheme = Qcow {
        cluster_bits: header.cluster_bits,
        sealed,
        backing: backing.clone(),
        first: header.l1_offset + header.tables() * 8,
    };
    Ok(Opened {
        format: Box::new(Blocks::new(core, scheme)),
        edges: vec![file],
        backing,
    })
}

/// What deciphers the image, from what its header and the options say.
fn sealed(header: &Header, request: &mut OpenRequest<'_>) -> Result<Option<Sealed>> {
    let given = EncryptOptions::take(request.options)?;
    if !header.aes {
        given.refuse_format("")?;
        return Ok(None);
    }
    given.refuse_format("aes")?;
    if request.no_io {
        return Ok(Some(Sealed::new(None, false)));
    }
    let passphrase = given.passphrase(request.gate)?;
    let cipher = crypto::legacy_aes(&passphrase)?;
    Ok(Some(Sealed::new(Some(cipher), false)))
}

async fn read_l1(file: &Arc<Edge>, header: &Header, length: u64) -> Result<Vec<AtomicU64>> {
    let bytes = header.tables() * 8;
    let end = header.l1_offset.checked_add(bytes);
    if end.is_none_or(|end| end > length.next_multiple_of(512)) {
        return Err(invalid("L1 table ends behind the end of the file"));
    }
    let mut raw = vec![0; usize::try_from(bytes).map_err(|_| invalid("Image too large"))?];
    file.read(header.l1_offset, &mut raw)
        .await
        .map_err(|e| Error::from_io("Could not read the L1 table", &e))?;
    let entries = raw.chunks_exact(8).map(|entry| be64(entry, 0));
    Ok(entries.map(AtomicU64::new).collect())
}

async fn read_name(file: &Arc<Edge>, at: u64, len: u32) -> Result<BackingLink> {
    let mut name = vec![0; len as usize];
    file.read(at, &mut name)
        .await
        .map_err(|e| Error::from_io("Could not read the backing file name", &e))?;
    Ok(BackingLink {
        file: String::from_utf8_lossy(&name).into_owned(),
        format: None,
    })
}

impl Qcow {
    /// Bits of an entry that hold a packed cluster's offset.
    fn offset_bits(&self) -> u8 {
        63 - self.cluster_bits
    }
}

impl Qcow {
    fn uses(&self, block: u64) -> Vec<String> {
        let mut uses = vec![format!(
            "version 1 of QEMU's own format, in clusters of {}",
            format_size(block)
        )];
        if self.sealed.is_some() {
            uses.push(
                "encrypted by its old AES, which is weak: its key is the password itself"
                    .to_owned(),
            );
        }
        uses
    }
}

impl Scheme for Qcow {
    fn cell(&self, raw: u64) -> Cell {
        if raw == 0 {
            return Cell::Free;
        }
        if raw & PACKED == 0 {
            return Cell::Data(raw);
        }
        let len = (raw & !PACKED) >> self.offset_bits();
        let at = raw & ((1 << self.offset_bits()) - 1);
        Cell::Packed(at, u32::try_from(len).unwrap_or(0))
    }

    fn raw(&self, host: u64) -> u64 {
        host
    }

    fn backed(&self) -> bool {
        self.backing.is_some()
    }

    fn empty_end(&self) -> Option<u64> {
        Some(self.first)
    }

    fn alignment(&self) -> u64 {
        1 << self.cluster_bits
    }

    fn info(&self, core: &Core) -> FormatInfo {
        FormatInfo {
            dirty: Some(false),
            encrypted: self.sealed.is_some(),
            cluster_size: Some(core.block),
            backing: self.backing.clone(),
            uses: self.uses(core.block),
            ..FormatInfo::default()
        }
    }

    fn packer(&self) -> Option<&dyn Packer> {
        Some(self)
    }

    fn cipher(&self) -> Option<&dyn Cipher> {
        let sealed = self.sealed.as_ref()?;
        Some(sealed)
    }
}

impl Packer for Qcow {
    fn pack(&self, block: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        Ok(deflate::pack(block, out))
    }

    fn unpack(&self, packed: &[u8], block: &mut [u8]) -> io::Result<()> {
        deflate::unpack(packed, block)
    }

    fn packed_raw(&self, host: u64, len: u32) -> u64 {
        PACKED | u64::from(len) << self.offset_bits() | host
    }
}

#[cfg(test)]
mod tests;
