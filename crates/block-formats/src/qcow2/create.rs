//! Making an image: checks of all options first, then a bare header, then the same growth as by resize.

use std::sync::Arc;

use block_core::{
    CreateRequest, Edge, Perms, Preallocation, Resize, ResizeRequest, Role, Slot, WriteFlags,
};
use qapi::{Dict, Error, OptionDesc, OptionKind, Result, Value};

use super::encryption;
use super::header::{
    CompressionType, Header, MAX_BACKING, autoclear, compatible, extension, incompatible,
};
use super::open::{self, Options};
use super::refcount::set;

const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;

pub(super) const fn option(name: &'static str, kind: OptionKind, help: &'static str) -> OptionDesc {
    OptionDesc {
        name,
        kind,
        help,
        default: None,
    }
}

const fn defaulted(
    name: &'static str,
    kind: OptionKind,
    help: &'static str,
    default: &'static str,
) -> OptionDesc {
    OptionDesc {
        name,
        kind,
        help,
        default: Some(default),
    }
}

pub(super) const SIZE: OptionDesc = option("size", OptionKind::Size, "Virtual disk size");
pub(super) const COMPAT: OptionDesc = option(
    "compat",
    OptionKind::Str,
    "Compatibility level (v2 [0.10] or v3 [1.1])",
);
pub(super) const BACKING_FILE: OptionDesc =
    option("backing_file", OptionKind::Str, "File name of a base image");
pub(super) const BACKING_FMT: OptionDesc = option(
    "backing_fmt",
    OptionKind::Str,
    "Image format of the base image",
);
pub(super) const DATA_FILE: OptionDesc = option(
    "data_file",
    OptionKind::Str,
    "File name of an external data file",
);
pub(super) const DATA_FILE_RAW: OptionDesc = option(
    "data_file_raw",
    OptionKind::Bool,
    "The external data file must stay valid as a raw image",
);
pub(super) const ITER_TIME: OptionDesc = option(
    "encrypt.iter-time",
    OptionKind::Number,
    "Time to spend in PBKDF in milliseconds",
);

/// Options of create, in the order in which they are told.
pub(super) const OPTIONS: &[OptionDesc] = &[
    option(
        "encryption",
        OptionKind::Bool,
        "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
    ),
    option(
        "encrypt.format",
        OptionKind::Str,
        "Encrypt the image, format choices: 'aes', 'luks'",
    ),
    option(
        "encrypt.key-secret",
        OptionKind::Str,
        "ID of secret providing qcow AES key or LUKS passphrase",
    ),
    option(
        "encrypt.cipher-alg",
        OptionKind::Str,
        "Name of encryption cipher algorithm",
    ),
    option(
        "encrypt.cipher-mode",
        OptionKind::Str,
        "Name of encryption cipher mode",
    ),
    option(
        "encrypt.ivgen-alg",
        OptionKind::Str,
        "Name of IV generator algorithm",
    ),
    option(
        "encrypt.ivgen-hash-alg",
        OptionKind::Str,
        "Name of IV generator hash algorithm",
    ),
    option(
        "encrypt.hash-alg",
        OptionKind::Str,
        "Name of encryption hash algorithm",
    ),
    ITER_TIME,
    defaulted(
        "cluster_size",
        OptionKind::Size,
        "qcow2 cluster size",
        "65536",
    ),
    defaulted("extended_l2", OptionKind::Bool, "Extended L2 tables", "off"),
    option(
        "preallocation",
        OptionKind::Str,
        "Preallocation mode (allowed values: off, metadata, falloc, full)",
    ),
    defaulted(
        "compression_type",
        OptionKind::Str,
        "Compression method used for image cluster compression",
        "zlib",
    ),
    SIZE,
    COMPAT,
    BACKING_FILE,
    BACKING_FMT,
    DATA_FILE,
    DATA_FILE_RAW,
    defaulted(
        "lazy_refcounts",
        OptionKind::Bool,
        "Postpone refcount updates",
        "off",
    ),
    defaulted(
        "refcount_bits",
        OptionKind::Number,
        "Width of a reference count entry in bits",
        "16",
    ),
];

fn invalid(message: impl Into<String>) -> Error {
    Error::new(message).errno(EINVAL)
}

/// What an image is to be like: options, checked against each other.
pub(super) struct Spec {
    pub(super) size: u64,
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    pub(super) extended: bool,
    pub(super) preallocation: Preallocation,
    pub(super) refcount_order: u32,
    lazy: bool,
    compression: CompressionType,
    pub(super) backing: Option<String>,
    backing_format: Option<String>,
    pub(super) data_file: Option<String>,
    data_file_raw: bool,
}

fn flag(options: &Dict, name: &str) -> bool {
    matches!(options.get(name), Some(Value::Bool(true)))
}

fn number(options: &Dict, name: &str, default: u64) -> u64 {
    match options.get(name) {
        Some(Value::Int(n)) => u64::try_from(*n).unwrap_or(default),
        Some(Value::Uint(n)) => *n,
        _ => default,
    }
}

fn text(options: &Dict, name: &str) -> Option<String> {
    options.get_str(name).map(str::to_owned)
}

fn not_accepted(name: &str, value: &str) -> Error {
    invalid(format!(
        "Parameter '{name}' does not accept value '{value}'"
    ))
}

fn needs_v3(what: &str) -> Error {
    invalid(format!(
        "{what} only supported with compatibility level 1.1 and above (use version=v3 or greater)"
    ))
}

impl Spec {
    /// Reads typed create options.
    ///
    /// # Errors
    /// In the reference's words for values and combinations that cannot be.
    pub(super) fn read(options: &Dict) -> Result<Self> {
        let preallocation = match options.get_str("preallocation") {
            None => Preallocation::Off,
            Some(name) => {
                Preallocation::parse(name).ok_or_else(|| not_accepted("preallocation", name))?
            }
        };
        let version = match options.get_str("compat") {
            None | Some("1.1" | "v3") => 3,
            Some("0.10" | "v2") => 2,
            Some(other) => return Err(not_accepted("version", other)),
        };
        let compression = match options.get_str("compression_type") {
            None | Some("zlib") => CompressionType::Zlib,
            Some("zstd") => CompressionType::Zstd,
            Some(other) => return Err(not_accepted("compression-type", other)),
        };
        let extended = flag(options, "extended_l2");
        if extended && version < 3 {
            return Err(needs_v3("Extended L2 entries are"));
        }
        let mut spec = Self {
            size: number(options, "size", 0).next_multiple_of(512),
            version,
            cluster_bits: cluster_bits(number(options, "cluster_size", 65536), extended)?,
            extended,
            preallocation,
            refcount_order: 4,
            lazy: flag(options, "lazy_refcounts"),
            compression,
            backing: text(options, "backing_file"),
            backing_format: text(options, "backing_fmt"),
            data_file: text(options, "data_file"),
            data_file_raw: flag(options, "data_file_raw"),
        };
        spec.check_backing()?;
        spec.refcount_order = refcount_order(number(options, "refcount_bits", 16))?;
        spec.check_files()?;
        Ok(spec)
    }

    fn check_backing(&self) -> Result<()> {
        if self.backing.is_some() && self.preallocation != Preallocation::Off && !self.extended {
            return Err(invalid(
                "Backing file and preallocation can only be used at the same time if extended_l2 is on",
            ));
        }
        if self.backing.is_none() && self.backing_format.is_some() {
            return Err(invalid(
                "Backing format cannot be used without backing file",
            ));
        }
        if self.lazy && self.version < 3 {
            return Err(needs_v3("Lazy refcounts"));
        }
        Ok(())
    }

    fn check_files(&self) -> Result<()> {
        let old = self.version < 3;
        if old && self.refcount_order != 4 {
            return Err(invalid(
                "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)",
            ));
        }
        if self.data_file_raw && self.data_file.is_none() {
            return Err(invalid("data-file-raw requires data-file"));
        }
        if self.data_file_raw && self.backing.is_some() {
            return Err(invalid(
                "Backing file and data-file-raw cannot be used at the same time",
            ));
        }
        if old && self.data_file.is_some() {
            return Err(needs_v3("External data files are"));
        }
        if old && self.compression != CompressionType::Zlib {
            return Err(needs_v3("Non-zlib compression type is"));
        }
        Ok(())
    }

    fn header(&self) -> Header {
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        let cluster = 1_u64 << self.cluster_bits;
        let zstd = self.compression == CompressionType::Zstd;
        let mut header = Header {
            version: self.version,
            cluster_bits: self.cluster_bits,
            size: 0,
            crypt_method: 0,
            l1_size: 0,
            l1_offset: 0,
            refcount_table_offset: cluster,
            refcount_table_clusters: 1,
            nb_snapshots: 0,
            snapshots_offset: 0,
            incompatible: bit(self.data_file.is_some(), incompatible::DATA_FILE)
                | bit(zstd, incompatible::COMPRESSION)
                | bit(self.extended, incompatible::EXTENDED_L2),
            compatible: bit(self.lazy, compatible::LAZY_REFCOUNTS),
            autoclear: bit(self.data_file_raw, autoclear::RAW_DATA_FILE),
            refcount_order: self.refcount_order,
            compression: self.compression,
            extensions: Vec::new(),
            unknown_fields: Vec::new(),
            backing: self.backing.as_ref().map(|name| name.clone().into_bytes()),
        };
        let format = self.backing_format.as_ref().map(|f| f.clone().into_bytes());
        header.set_extension(extension::BACKING_FORMAT, format);
        let data_file = self.data_file.as_ref().map(|f| f.clone().into_bytes());
        header.set_extension(extension::DATA_FILE, data_file);
        header
    }

    /// The first three clusters: header, refcount table, refcount block.
    fn first_clusters(&self, header: &Header) -> Result<Vec<u8>> {
        let refused = |errno| {
            let name = self.backing.as_deref().unwrap_or_default();
            let format = self.backing_format.as_deref().unwrap_or_default();
            Error::with_errno(
                format!("Could not assign backing file '{name}' with format '{format}'"),
                errno,
            )
        };
        let too_long = self
            .backing
            .as_ref()
            .is_some_and(|name| name.len() > MAX_BACKING as usize);
        if too_long || self.backing_format.as_ref().is_some_and(|f| f.len() > 15) {
            return Err(refused(EINVAL));
        }
        let cluster = 1_usize << self.cluster_bits;
        let mut bytes = header.encode().map_err(|_| refused(ENOSPC))?;
        bytes.resize(3 * cluster, 0);
        bytes[cluster..cluster + 8].copy_from_slice(&(2 * cluster as u64).to_be_bytes());
        for index in 0..3 {
            set(&mut bytes[2 * cluster..], index, self.refcount_order, 1);
        }
        Ok(bytes)
    }
}

pub(super) fn cluster_bits(size: u64, extended: bool) -> Result<u32> {
    if !size.is_power_of_two() || !(512..=2 << 20).contains(&size) {
        return Err(invalid(
            "Cluster size must be a power of two between 512 and 2048k",
        ));
    }
    if extended && size < 16384 {
        return Err(invalid(
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
        ));
    }
    Ok(size.trailing_zeros())
}

pub(super) fn refcount_order(bits: u64) -> Result<u32> {
    if !bits.is_power_of_two() || bits > 64 {
        return Err(invalid(
            "Refcount width must be a power of two and may not exceed 64 bits",
        ));
    }
    Ok(bits.trailing_zeros())
}

/// Options of the files themselves.
fn file_options(options: &Dict) -> Dict {
    let mut out = Dict::new();
    for name in ["nocow", "extent_size_hint"] {
        if let Some(value) = options.get(name) {
            out.insert(name, value.clone());
        }
    }
    out.insert("size", 0_u64);
    out
}

/// [`block_core::FormatDriver::create`].
pub(super) async fn create(request: CreateRequest<'_>) -> Result<()> {
    let spec = Spec::read(request.options)?;
    let encryption = encryption::prepare(request.options, request.gate).await?;
    let header = spec.header();
    let bytes = spec.first_clusters(&header)?;
    let options = file_options(request.options);
    let file = attach(
        request.gate.create_file(request.filename, &options).await?,
        Role::File,
    )?;
    let (slot, data) = match &spec.data_file {
        None => (Slot::FILE, Arc::clone(&file)),
        Some(name) => {
            let node = request.gate.create_file(name, &options).await?;
            (Slot(1), attach(node, Role::Data)?)
        }
    };
    let failed = |e: std::io::Error| Error::from_io("Could not write qcow2 header", &e);
    file.write(0, &bytes, WriteFlags::default())
        .await
        .map_err(failed)?;
    let options = Options::take(&mut Dict::new(), &header, false)?;
    let image = open::build(Arc::clone(&file), (slot, data), header, options, false).await?;
    encryption.store(&image, &file).await?;
    let request = ResizeRequest {
        size: spec.size,
        preallocation: spec.preallocation,
    };
    let failed = |e: Error| e.prefix("Could not resize image: ");
    Resize::resize(&image, request).await.map_err(failed)?;
    block_core::Format::close(&image).await
}

fn attach(node: Arc<block_core::Node>, role: Role) -> Result<Arc<Edge>> {
    let used = Perms::CONSISTENT_READ | Perms::WRITE | Perms::RESIZE;
    let name = if role == Role::Data {
        "data-file"
    } else {
        "file"
    };
    Edge::attach(
        name,
        role,
        node,
        used,
        Perms::ALL - (Perms::WRITE | Perms::RESIZE),
    )
}
