//! Makes an image: its extents, and the descriptor that names them.

use std::fmt::Write as _;

use block_core::{CreateRequest, Edge, OptionDesc, OptionKind, Preallocation, Role, WriteFlags};
use qapi::{Dict, Error, Result, Value};

use super::cid;
use super::descriptor::{self, EMBEDDED, EMBEDDED_AT, New};
use super::header::{HEADER, Layout, is_sparse};
use crate::make::{self, disk_size, flag, invalid, option, unsupported};

/// Bytes of each part of a split image.
const SPLIT: u64 = 0x8000_0000;

/// Options of create.
pub(super) const OPTIONS: &[OptionDesc] = &[
    make::SIZE,
    option(
        "adapter_type",
        OptionKind::Str,
        "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX",
    ),
    option("backing_file", OptionKind::Str, "File name of a base image"),
    option("backing_fmt", OptionKind::Str, "Must be 'vmdk' if present"),
    OptionDesc {
        name: "compat6",
        kind: OptionKind::Bool,
        help: "VMDK version 6 image",
        default: Some("off"),
    },
    OptionDesc {
        name: "hwversion",
        kind: OptionKind::Str,
        help: "VMDK hardware version",
        default: Some("undefined"),
    },
    option(
        "toolsversion",
        OptionKind::Str,
        "VMware guest tools version",
    ),
    option(
        "subformat",
        OptionKind::Str,
        "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} ",
    ),
    option(
        "zeroed_grain",
        OptionKind::Bool,
        "Enable efficient zero writes using the zeroed-grain GTE feature",
    ),
];

/// What is to be made.
struct Spec {
    size: u64,
    subformat: &'static str,
    split: bool,
    flat: bool,
    packed: bool,
    zero_grains: bool,
    adapter: &'static str,
    hardware: String,
    tools: String,
    backing: Option<String>,
}

fn one_of(options: &Dict, name: &str, words: &[&'static str]) -> Result<&'static str> {
    let Some(asked) = options.get_str(name) else {
        return Ok(words[0]);
    };
    let found = words.iter().copied().find(|word| *word == asked);
    found.ok_or_else(|| invalid(format!("invalid parameter value: {asked}")))
}

impl Spec {
    fn read(options: &Dict) -> Result<Self> {
        if options.get_str("backing_fmt").is_some_and(|f| f != "vmdk") {
            return Err(invalid("backing_file must be a vmdk image"));
        }
        let adapters = ["ide", "buslogic", "lsilogic", "legacyESX"];
        let adapter = one_of(options, "adapter_type", &adapters)?;
        let subformats = [
            "monolithicSparse",
            "monolithicFlat",
            "twoGbMaxExtentSparse",
            "twoGbMaxExtentFlat",
            "streamOptimized",
        ];
        let subformat = one_of(options, "subformat", &subformats)?;
        let hardware = options.get_str("hwversion").filter(|v| *v != "undefined");
        let compat6 = flag(options, "compat6");
        if compat6 && hardware.is_some() {
            return Err(invalid("compat6 cannot be enabled with hwversion set"));
        }
        let default = if compat6 { "6" } else { "4" };
        let spec = Self {
            size: disk_size(options)?,
            subformat,
            split: subformat.starts_with("twoGb"),
            flat: subformat.ends_with("Flat"),
            packed: subformat == "streamOptimized",
            zero_grains: flag(options, "zeroed_grain"),
            adapter,
            hardware: hardware.unwrap_or(default).to_owned(),
            tools: options
                .get_str("toolsversion")
                .unwrap_or("2147483647")
                .to_owned(),
            backing: options.get_str("backing_file").map(str::to_owned),
        };
        if spec.flat && spec.backing.is_some() {
            return Err(unsupported("Flat image can't have backing file"));
        }
        if spec.flat && spec.zero_grains {
            return Err(unsupported("Flat image can't enable zeroed grain"));
        }
        Ok(spec)
    }

    /// The descriptor is a file of its own.
    fn own_file(&self) -> bool {
        self.split || self.flat
    }

    /// Bytes of each extent.
    fn parts(&self) -> Vec<u64> {
        if !self.own_file() {
            return vec![self.size];
        }
        let most = if self.split { SPLIT } else { self.size.max(1) };
        let whole = usize::try_from(self.size / most).unwrap_or(0);
        let mut parts = vec![most; whole];
        parts.extend(Some(self.size % most).filter(|rest| *rest > 0));
        parts
    }

    /// The file of extent `number`, counted from 1.
    fn part_name(&self, image: &str, number: usize) -> String {
        let base = image.rfind(['/', ':']).map_or(0, |at| at + 1);
        let (stem, ending) = match image[base..].rfind('.') {
            Some(dot) => image.split_at(base + dot),
            None => (image, ""),
        };
        if self.split {
            let letter = if self.flat { 'f' } else { 's' };
            format!("{stem}-{letter}{number:03}{ending}")
        } else {
            format!("{stem}-flat{ending}")
        }
    }

    /// The line that names an extent.
    fn line(&self, size: u64, file: &str) -> String {
        let name = file.rsplit('/').next().unwrap_or(file);
        let sectors = size.div_ceil(512);
        if self.flat {
            format!("RW {sectors} FLAT \"{name}\" 0\n")
        } else {
            format!("RW {sectors} SPARSE \"{name}\"\n")
        }
    }
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Error {
    move |e| Error::from_io(what, &e)
}

/// [`block_core::FormatDriver::create`].
pub(super) async fn create(request: CreateRequest<'_>) -> Result<()> {
    let spec = Spec::read(request.options)?;
    let image = make::file(&request).await?;
    let mut lines = String::new();
    if !spec.own_file() {
        init(&image, &spec, spec.size).await?;
        lines.push_str(&spec.line(spec.size, request.filename));
    }
    let parent_cid = match &spec.backing {
        Some(name) => parent_cid(&request, name).await?,
        None => u32::MAX,
    };
    if spec.own_file() {
        for (number, size) in (1..).zip(spec.parts()) {
            let name = spec.part_name(request.filename, number);
            let part = make::named_file(&request, &name, 0).await?;
            init(&part, &spec, size).await?;
            let _ = write!(lines, "{}", spec.line(size, &name));
            part.flush()
                .await
                .map_err(failed("Could not write extent"))?;
        }
    }
    let text = New {
        cid: cid::random()?,
        parent_cid,
        create_type: spec.subformat,
        parent: spec.backing.as_deref(),
        extents: &lines,
        hardware: &spec.hardware,
        size: spec.size,
        adapter: spec.adapter,
        tools: &spec.tools,
    }
    .text();
    if !spec.own_file() && text.len() >= EMBEDDED {
        return Err(invalid("The descriptor is too long"));
    }
    let at = if spec.own_file() { 0 } else { EMBEDDED_AT };
    let written = image
        .write(at, text.as_bytes(), WriteFlags::default())
        .await;
    written.map_err(failed("Could not write description"))?;
    image
        .flush()
        .await
        .map_err(failed("Could not write description"))
}

/// Writes the front of an extent of `size` bytes.
async fn init(file: &Edge, spec: &Spec, size: u64) -> Result<()> {
    if spec.flat {
        return file.truncate(size, Preallocation::Off).await;
    }
    let layout = Layout {
        capacity: size / 512,
        packed: spec.packed,
        zero_grains: spec.zero_grains,
    };
    if layout.overhead() / 512 > u64::from(u32::MAX) {
        return Err(Error::new("The image size is too large").errno(27));
    }
    let flags = WriteFlags::default();
    file.write(0, &layout.header(), flags)
        .await
        .map_err(failed("failed to write VMDK header"))?;
    file.truncate(layout.overhead(), Preallocation::Off).await?;
    for (at, bytes) in layout.directories() {
        file.write(at, &bytes, flags)
            .await
            .map_err(failed("failed to write VMDK grain directory"))?;
    }
    Ok(())
}

/// The content id of the backing file.
async fn parent_cid(request: &CreateRequest<'_>, name: &str) -> Result<u32> {
    let folder = request
        .filename
        .rfind('/')
        .map_or("", |end| &request.filename[..=end]);
    let path = if name.starts_with('/') {
        name.to_owned()
    } else {
        format!("{folder}{name}")
    };
    let mut options = Dict::new();
    options.insert("driver", "file");
    options.insert("filename", path);
    options.insert("read-only", true);
    let gate = request.gate;
    let file = gate
        .open_child(Role::Backing, "backing", Some(Value::Dict(options)), None)
        .await?;
    let unread = failed("Failed to read parent CID");
    let mut head = [0; HEADER];
    file.read(0, &mut head).await.map_err(&unread)?;
    let (at, len) = if is_sparse(&head) {
        (EMBEDDED_AT, EMBEDDED as u64)
    } else if descriptor::looks_like(&head) {
        let length = file.node().length().map_err(&unread)?;
        (0, length.min(descriptor::MAX))
    } else {
        return Err(invalid("Invalid backing file format: raw. Must be vmdk"));
    };
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(EMBEDDED)];
    file.read(at, &mut bytes).await.map_err(unread)?;
    let id = descriptor::hex(&descriptor::text(&bytes), "CID=");
    id.ok_or_else(|| invalid("Failed to read parent CID"))
}
