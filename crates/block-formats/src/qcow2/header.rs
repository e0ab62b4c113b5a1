//! The qcow2 header and its extensions (qcow2 interoperability document, "Header", "Header extensions").
//!
//! ```text
//! 0 magic, 4 version, 8 backing offset, 16 backing size, 20 cluster_bits, 24 size, 32 crypt_method, 36 l1_size,
//! 40 l1_offset, 48 refcount_table_offset, 56 refcount_table_clusters, 60 nb_snapshots, 64 snapshots_offset
//! version 3: 72 incompatible, 80 compatible, 88 autoclear, 96 refcount_order, 100 header_length, 104 compression
//! then extensions (u32 kind, u32 length, data padded to 8) up to kind 0, then the backing file's name
//! ```

use qapi::{Error, Result};

/// `QFI\xfb`
pub(crate) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Bytes of a version 2 header.
const V2_LENGTH: usize = 72;
/// Bytes of a version 3 header with the compression type.
const V3_LENGTH: usize = 112;
/// Longest backing file name in bytes.
pub(crate) const MAX_BACKING: u32 = 1023;
/// Longest L1 table in bytes.
pub(crate) const MAX_L1_BYTES: u64 = 32 << 20;
/// Longest refcount table in bytes.
pub(crate) const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;

/// Most snapshots that an image may have.
pub(crate) const MAX_SNAPSHOTS: u32 = 65536;

/// Bytes left in the first cluster with which feature names are written.
const ROOM_FOR_NAMES: usize = 4096;

const EINVAL: i32 = 22;
const ENOTSUP: i32 = 95;
const EFBIG: i32 = 27;

/// Bits of `incompatible_features`.
pub(crate) mod incompatible {
    pub(crate) const DIRTY: u64 = 1;
    pub(crate) const CORRUPT: u64 = 2;
    pub(crate) const DATA_FILE: u64 = 4;
    pub(crate) const COMPRESSION: u64 = 8;
    pub(crate) const EXTENDED_L2: u64 = 16;
    pub(crate) const KNOWN: u64 = 31;
}

/// Bits of `compatible_features`.
pub(crate) mod compatible {
    pub(crate) const LAZY_REFCOUNTS: u64 = 1;
}

/// Bits of `autoclear_features`.
pub(crate) mod autoclear {
    pub(crate) const BITMAPS: u64 = 1;
    pub(crate) const RAW_DATA_FILE: u64 = 2;
    pub(crate) const KNOWN: u64 = 3;
}

/// Kinds of header extensions.
pub(crate) mod extension {
    pub(crate) const BACKING_FORMAT: u32 = 0xE279_2ACA;
    pub(crate) const FEATURE_NAMES: u32 = 0x6803_F857;
    pub(crate) const BITMAPS: u32 = 0x2385_2875;
    pub(crate) const ENCRYPTION: u32 = 0x0537_BE77;
    pub(crate) const DATA_FILE: u32 = 0x4441_5441;
}

/// Names of features, as every version 3 image carries them: (type, bit, name).
const FEATURE_NAMES: [(u8, u8, &str); 8] = [
    (0, 0, "dirty bit"),
    (0, 1, "corrupt bit"),
    (0, 2, "external data file"),
    (0, 3, "compression type"),
    (0, 4, "extended L2 entries"),
    (1, 0, "lazy refcounts"),
    (2, 0, "bitmaps"),
    (2, 1, "raw external data"),
];

/// How clusters are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompressionType {
    /// Raw deflate.
    Zlib,
    Zstd,
}

/// One header extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) kind: u32,
    pub(crate) data: Vec<u8>,
}

/// A header whose numbers have been checked against every limit that does not need the file's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) cluster_bits: u32,
    /// Virtual size in bytes.
    pub(crate) size: u64,
    pub(crate) crypt_method: u32,
    /// Entries of the active L1 table.
    pub(crate) l1_size: u32,
    pub(crate) l1_offset: u64,
    pub(crate) refcount_table_offset: u64,
    pub(crate) refcount_table_clusters: u32,
    pub(crate) nb_snapshots: u32,
    pub(crate) snapshots_offset: u64,
    pub(crate) incompatible: u64,
    pub(crate) compatible: u64,
    pub(crate) autoclear: u64,
    pub(crate) refcount_order: u32,
    pub(crate) compression: CompressionType,
    /// Everything but the feature names, which are written anew.
    pub(crate) extensions: Vec<Extension>,
    /// Header fields behind those known here, kept as they are.
    pub(crate) unknown_fields: Vec<u8>,
    /// The backing file's name as stored.
    pub(crate) backing: Option<Vec<u8>>,
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    word.map_or(0, u32::from_be_bytes)
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
    word.map_or(0, u64::from_be_bytes)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(message).errno(EINVAL)
}

impl Header {
    /// Bytes from the start of the file that [`Header::parse`] needs: the first cluster, known after 24 bytes.
    ///
    /// # Errors
    /// When the file is of another format or version.
    pub(crate) fn cluster_len(head: &[u8]) -> Result<usize> {
        if head.get(..4) != Some(&MAGIC) {
            return Err(invalid("Image is not in qcow2 format"));
        }
        let version = be32(head, 4);
        if !(2..=3).contains(&version) {
            return Err(Error::new(format!("Unsupported qcow2 version {version}")).errno(ENOTSUP));
        }
        let cluster_bits = be32(head, 20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(invalid(format!(
                "Unsupported cluster size: 2^{cluster_bits}"
            )));
        }
        Ok(1 << cluster_bits)
    }

    /// Reads the header from the first cluster of a file.
    ///
    /// # Errors
    /// In the reference's words for everything that is out of bounds or unknown.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let cluster = Self::cluster_len(bytes)?;
        let v3 = be32(bytes, 4) == 3;
        let header_length = if v3 {
            be32(bytes, 100) as usize
        } else {
            V2_LENGTH
        };
        if header_length > cluster {
            return Err(invalid("qcow2 header exceeds cluster size"));
        }
        if v3 && header_length < 104 {
            return Err(invalid("qcow2 header too short"));
        }
        let backing_offset = be64(bytes, 8);
        if backing_offset > cluster as u64 {
            return Err(invalid("Invalid backing file offset"));
        }
        let mut header = Self::fields(bytes, v3, header_length);
        header.extensions = extensions(bytes, header_length, backing_offset)?;
        header.compression = match (v3 && header_length > 104, bytes.get(104).copied()) {
            (true, Some(kind)) => compression(kind, header.incompatible)?,
            _ => compression(0, header.incompatible)?,
        };
        header.check_features()?;
        header.check_bounds()?;
        header.backing = backing_name(bytes, backing_offset)?;
        Ok(header)
    }

    fn fields(bytes: &[u8], v3: bool, header_length: usize) -> Self {
        let feature = |at| if v3 { be64(bytes, at) } else { 0 };
        Self {
            version: be32(bytes, 4),
            cluster_bits: be32(bytes, 20),
            size: be64(bytes, 24),
            crypt_method: be32(bytes, 32),
            l1_size: be32(bytes, 36),
            l1_offset: be64(bytes, 40),
            refcount_table_offset: be64(bytes, 48),
            refcount_table_clusters: be32(bytes, 56),
            nb_snapshots: be32(bytes, 60),
            snapshots_offset: be64(bytes, 64),
            incompatible: feature(72),
            compatible: feature(80),
            autoclear: feature(88),
            refcount_order: if v3 { be32(bytes, 96) } else { 4 },
            compression: CompressionType::Zlib,
            extensions: Vec::new(),
            unknown_fields: bytes
                .get(V3_LENGTH..header_length)
                .unwrap_or_default()
                .to_vec(),
            backing: None,
        }
    }

    fn check_features(&self) -> Result<()> {
        let unknown = self.incompatible & !incompatible::KNOWN;
        if unknown == 0 {
            return Ok(());
        }
        let names = self.extension(extension::FEATURE_NAMES).unwrap_or_default();
        let mut left = unknown;
        let mut shown = Vec::new();
        for entry in names.chunks(48).filter(|entry| entry.len() > 2) {
            let bit = 1_u64.checked_shl(u32::from(entry[1])).unwrap_or(0);
            if entry[0] == 0 && left & bit != 0 {
                let name = entry[2..].split(|b| *b == 0).next().unwrap_or_default();
                shown.push(String::from_utf8_lossy(name).into_owned());
                left &= !bit;
            }
        }
        if left != 0 {
            shown.push(format!("Unknown incompatible feature: {left:x}"));
        }
        Err(Error::new(format!(
            "Unsupported qcow2 feature(s): {}",
            shown.join(", ")
        ))
        .errno(ENOTSUP))
    }

    fn check_bounds(&self) -> Result<()> {
        if self.refcount_order > 6 {
            return Err(invalid(
                "Reference count entry width too large; may not exceed 64 bits",
            ));
        }
        if self.crypt_method > 2 {
            return Err(invalid(format!(
                "Unsupported encryption method {}",
                self.crypt_method
            )));
        }
        if self.incompatible & incompatible::EXTENDED_L2 != 0 && self.cluster_bits < 14 {
            return Err(invalid("Unsupported cluster size for extended L2 entries"));
        }
        let cluster = 1_u64 << self.cluster_bits;
        let table = u64::from(self.refcount_table_clusters) * cluster;
        self.check_table(
            "Reference count table",
            self.refcount_table_offset,
            table,
            MAX_REFCOUNT_TABLE_BYTES,
        )?;
        self.check_l1()
    }

    /// Bounds that a check does without, for it repairs them.
    ///
    /// # Errors
    /// In the reference's words.
    pub(crate) fn check_usable(&self) -> Result<()> {
        if self.refcount_table_clusters == 0 {
            return Err(invalid("Image does not contain a reference count table"));
        }
        self.check_snapshot_table("Snapshot table")
    }

    /// Bounds of the snapshot table, which is called `name`.
    ///
    /// # Errors
    /// In the reference's words.
    pub(crate) fn check_snapshot_table(&self, name: &str) -> Result<()> {
        if self.nb_snapshots > MAX_SNAPSHOTS {
            return Err(Error::new(format!("{name} too large")).errno(EFBIG));
        }
        let bytes = u64::from(self.nb_snapshots) * 40;
        self.check_table(name, self.snapshots_offset, bytes, 64 << 20)
    }

    fn check_l1(&self) -> Result<()> {
        let bytes = u64::from(self.l1_size) * 8;
        self.check_table("Active L1 table", self.l1_offset, bytes, MAX_L1_BYTES)?;
        let needed = l1_entries(self.size, self.cluster_bits, self.extended_l2());
        if needed > u64::from(u32::MAX >> 1) {
            return Err(Error::new("Image is too big").errno(EFBIG));
        }
        if u64::from(self.l1_size) < needed {
            return Err(invalid("L1 table is too small"));
        }
        Ok(())
    }

    fn check_table(&self, name: &str, offset: u64, bytes: u64, most: u64) -> Result<()> {
        if bytes > most {
            return Err(Error::new(format!("{name} too large")).errno(EFBIG));
        }
        let fits = offset
            .checked_add(bytes)
            .is_some_and(|end| end <= i64::MAX.cast_unsigned());
        if !fits || !offset.is_multiple_of(1 << self.cluster_bits) {
            return Err(invalid(format!("{name} offset invalid")));
        }
        Ok(())
    }

    /// Whether L2 entries carry subcluster bitmaps.
    pub(crate) fn extended_l2(&self) -> bool {
        self.incompatible & incompatible::EXTENDED_L2 != 0
    }

    /// Whether data is in a file of its own.
    pub(crate) fn has_data_file(&self) -> bool {
        self.incompatible & incompatible::DATA_FILE != 0
    }

    /// Data of an extension.
    pub(crate) fn extension(&self, kind: u32) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find(|e| e.kind == kind)
            .map(|e| e.data.as_slice())
    }

    /// Text of an extension.
    pub(crate) fn extension_text(&self, kind: u32) -> Option<String> {
        self.extension(kind)
            .map(|data| String::from_utf8_lossy(data).into_owned())
    }

    /// Sets, changes or (with `None`) drops an extension.
    pub(crate) fn set_extension(&mut self, kind: u32, data: Option<Vec<u8>>) {
        let at = self.extensions.iter().position(|e| e.kind == kind);
        match (at, data) {
            (Some(at), Some(data)) => self.extensions[at].data = data,
            (Some(at), None) => {
                self.extensions.remove(at);
            }
            (None, Some(data)) => self.extensions.push(Extension { kind, data }),
            (None, None) => {}
        }
    }

    /// The header as stored, padded with zeroes to a whole cluster.
    ///
    /// # Errors
    /// `ENOSPC` when name and extensions do not fit the first cluster.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let full = || Error::with_errno("Header does not fit the first cluster", 28);
        let mut out = self.encode_fields();
        for kind in [
            extension::BACKING_FORMAT,
            extension::DATA_FILE,
            extension::ENCRYPTION,
        ] {
            if let Some(data) = self.extension(kind) {
                push_extension(&mut out, kind, data);
            }
        }
        // Small clusters have better use for the room.
        if self.version >= 3 && out.len() + ROOM_FOR_NAMES <= 1 << self.cluster_bits {
            push_extension(&mut out, extension::FEATURE_NAMES, &feature_names());
        }
        let early = [
            extension::BACKING_FORMAT,
            extension::DATA_FILE,
            extension::ENCRYPTION,
            extension::FEATURE_NAMES,
        ];
        for other in self.extensions.iter().filter(|e| !early.contains(&e.kind)) {
            push_extension(&mut out, other.kind, &other.data);
        }
        push_extension(&mut out, 0, &[]);
        if let Some(name) = &self.backing {
            let (offset, len) = (
                out.len() as u64,
                u32::try_from(name.len()).map_err(|_| full())?,
            );
            out[8..16].copy_from_slice(&offset.to_be_bytes());
            out[16..20].copy_from_slice(&len.to_be_bytes());
            out.extend_from_slice(name);
        }
        if out.len() > 1 << self.cluster_bits {
            return Err(full());
        }
        out.resize(1 << self.cluster_bits, 0);
        Ok(out)
    }

    fn encode_fields(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&self.cluster_bits.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.crypt_method.to_be_bytes());
        out.extend_from_slice(&self.l1_size.to_be_bytes());
        out.extend_from_slice(&self.l1_offset.to_be_bytes());
        out.extend_from_slice(&self.refcount_table_offset.to_be_bytes());
        out.extend_from_slice(&self.refcount_table_clusters.to_be_bytes());
        out.extend_from_slice(&self.nb_snapshots.to_be_bytes());
        out.extend_from_slice(&self.snapshots_offset.to_be_bytes());
        if self.version >= 3 {
            out.extend_from_slice(&self.incompatible.to_be_bytes());
            out.extend_from_slice(&self.compatible.to_be_bytes());
            out.extend_from_slice(&self.autoclear.to_be_bytes());
            out.extend_from_slice(&self.refcount_order.to_be_bytes());
            let length = u32::try_from(V3_LENGTH + self.unknown_fields.len()).unwrap_or(112);
            out.extend_from_slice(&length.to_be_bytes());
            out.push(u8::from(self.compression == CompressionType::Zstd));
            out.extend_from_slice(&[0; 7]);
            out.extend_from_slice(&self.unknown_fields);
        }
        out
    }
}

/// L1 entries that a disk of `size` bytes needs.
pub(crate) fn l1_entries(size: u64, cluster_bits: u32, extended: bool) -> u64 {
    let entry_bits = if extended { 4 } else { 3 };
    size.div_ceil(1 << (cluster_bits * 2 - entry_bits))
}

fn compression(kind: u8, features: u64) -> Result<CompressionType> {
    let flagged = features & incompatible::COMPRESSION != 0;
    match kind {
        0 if !flagged => Ok(CompressionType::Zlib),
        0 => Err(invalid(
            "qcow2: Compression type incompatible feature bit must not be set",
        )),
        1 if flagged => Ok(CompressionType::Zstd),
        1 => Err(invalid(
            "qcow2: Compression type incompatible feature bit must be set",
        )),
        other => {
            Err(Error::new(format!("qcow2: unknown compression type: {other}")).errno(ENOTSUP))
        }
    }
}

fn extensions(bytes: &[u8], start: usize, backing_offset: u64) -> Result<Vec<Extension>> {
    let backing_offset = usize::try_from(backing_offset).unwrap_or(0);
    let end = if backing_offset == 0 {
        bytes.len()
    } else {
        backing_offset.min(bytes.len())
    };
    let mut found = Vec::new();
    let mut at = start;
    while at < end && at + 8 <= bytes.len() {
        let (kind, len) = (be32(bytes, at), be32(bytes, at + 4) as usize);
        if kind == 0 {
            break;
        }
        at += 8;
        if len > end.saturating_sub(at) {
            return Err(invalid("Header extension too large"));
        }
        check_extension(kind, len)?;
        // Of several of one kind the last one counts.
        found.retain(|e: &Extension| e.kind != kind);
        found.push(Extension {
            kind,
            data: bytes[at..at + len].to_vec(),
        });
        at += len.next_multiple_of(8);
    }
    Ok(found)
}

fn check_extension(kind: u32, len: usize) -> Result<()> {
    match kind {
        extension::BACKING_FORMAT if len >= 16 => Err(invalid(format!(
            "ERROR: ext_backing_format: len={len} too large (>=16)"
        ))),
        extension::ENCRYPTION if len < 16 => Err(invalid(format!(
            "CRYPTO header extension size {len}, but expected size 16"
        ))),
        _ => Ok(()),
    }
}

fn backing_name(bytes: &[u8], offset: u64) -> Result<Option<Vec<u8>>> {
    if offset == 0 {
        return Ok(None);
    }
    let len = be32(bytes, 16);
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    if len > MAX_BACKING.min(u32::try_from(bytes.len().saturating_sub(at)).unwrap_or(0)) {
        return Err(invalid("Backing file name too long"));
    }
    let name = bytes.get(at..at + len as usize).unwrap_or_default();
    Ok(Some(name.to_vec()))
}

fn push_extension(out: &mut Vec<u8>, kind: u32, data: &[u8]) {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(8), 0);
}

fn feature_names() -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, bit, name) in FEATURE_NAMES {
        out.extend_from_slice(&[kind, bit]);
        out.extend_from_slice(name.as_bytes());
        out.resize(out.len().next_multiple_of(48), 0);
    }
    out
}
