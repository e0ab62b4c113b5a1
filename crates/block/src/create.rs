//! Makes images.

use std::sync::PoisonError;

use block_core::{CreateRequest, Format, FormatDriver, Kind, Node, ProtocolDriver, Role};
use qapi::{Dict, Error, OptionDesc, opts};

use crate::gate::ImageGate;
use crate::name::{self, ImageName, Named};
use crate::open::{Flags, Session};
use crate::registry::{find_format, find_protocol, unknown};

/// What to make.
pub struct CreateSpec<'a> {
    /// `raw` or a format's name.
    pub format: &'a str,
    /// Where.
    pub filename: &'a str,
    /// Typed options, `size` among them.
    pub options: &'a Dict,
}

/// The protocol that a name goes to, and the options the name stands for.
///
/// # Errors
/// When there is none.
pub fn protocol_of(filename: &str) -> qapi::Result<(&'static ProtocolDriver, Dict)> {
    let Named::Protocol(options) = name::parse(filename)? else {
        return Err(Error::new("Unknown protocol 'json'"));
    };
    let driver = options.get_str("driver").unwrap_or("file");
    let driver = find_protocol(driver).ok_or_else(|| unknown("protocol", driver))?;
    Ok((driver, options))
}

/// Options that creating `format` takes, with those of the protocol that `filename` goes to.
///
/// # Errors
/// In QEMU's words, when either cannot create.
pub fn create_options(format: &str, filename: Option<&str>) -> qapi::Result<Vec<OptionDesc>> {
    let mut all: Vec<OptionDesc> = match format {
        "raw" => block_formats::raw::CREATE_OPTIONS.to_vec(),
        name => {
            let cannot = || {
                Error::new(format!(
                    "Format driver '{name}' does not support image creation"
                ))
            };
            if let Some(driver) = find_format(name) {
                driver.create.ok_or_else(cannot)?;
                driver.create_options.to_vec()
            } else {
                let driver = find_protocol(name).ok_or_else(|| unknown("file format", name))?;
                driver.create.ok_or_else(cannot)?;
                driver.create_options.to_vec()
            }
        }
    };
    if let Some(filename) = filename {
        let (protocol, _) = protocol_of(filename)?;
        if protocol.create.is_none() {
            return Err(Error::new(format!(
                "Protocol driver '{}' does not support image creation",
                protocol.name
            )));
        }
        for option in protocol.create_options {
            if !all.iter().any(|known| known.name == option.name) {
                all.push(*option);
            }
        }
    }
    Ok(all)
}

/// Whether images of a format hold their own file name, so that they cannot be made under another one.
pub fn knows_its_name(format: &str) -> bool {
    format == "vmdk"
}

/// Whether a disk that was just made reads as zeroes. `preallocated`: its clusters show what the file below holds.
pub fn starts_as_zeroes(node: &Node, preallocated: bool) -> bool {
    match node.kind() {
        Kind::Protocol(_) => {
            ["file", "ssh"].contains(&node.driver()) || node.driver().starts_with("null")
        }
        Kind::Filter(filter) => starts_as_zeroes(&filter.child().node(), preallocated),
        Kind::Format(mapped) if enciphered(mapped.format(), preallocated) => false,
        Kind::Format(_) if !preallocated => true,
        Kind::Format(_) => node
            .children()
            .iter()
            .filter(|edge| edge.role() != Role::Backing)
            .all(|edge| starts_as_zeroes(&edge.node(), preallocated)),
    }
}

/// Whether what was never written is deciphered all the same: the whole disk, or clusters that are there already.
fn enciphered(format: &dyn Format, preallocated: bool) -> bool {
    format.cipher().is_some() && (preallocated || format.opaque())
}

/// Reads an option string (`-o`) over `known` options into `into`.
///
/// # Errors
/// In QEMU's words.
pub fn read_options(known: &[OptionDesc], text: &str, into: &mut Dict) -> qapi::Result<()> {
    for (name, value) in opts::split(text, None) {
        let option = opts::describe(known, &name)?;
        into.insert(name, opts::typed(option.name, &value, option.kind)?);
    }
    Ok(())
}

/// Makes an image.
///
/// # Errors
/// In QEMU's words, without the tool's own prefix.
pub async fn create(session: &Session, spec: CreateSpec<'_>) -> qapi::Result<()> {
    let flags = Flags {
        writable: true,
        ..Flags::default()
    };
    let gate = session.gate(ImageName::plain(spec.filename), flags, 0);
    let request = CreateRequest {
        filename: spec.filename,
        options: spec.options,
        gate: &gate,
    };
    if spec.format == "raw" {
        return block_formats::raw::create(request).await;
    }
    if let Some(driver) = find_format(spec.format)
        && let Some(create) = driver.create
    {
        let result = create(request).await;
        if result.is_err() {
            take_back(&gate);
        }
        return result.map_err(|e| too_large(e, driver));
    }
    let (protocol, _) = protocol_of(spec.filename)?;
    // A file's name is no name of a disk on another host.
    let local = ["file", "host_device", "host_cdrom"];
    if protocol.name != spec.format && !local.contains(&spec.format) {
        return Err(Error::new("Could not create image: Invalid argument"));
    }
    let Some(create) = protocol.create else {
        return Err(Error::new(format!(
            "Format driver '{}' does not support image creation",
            spec.format
        )));
    };
    create(spec.filename, spec.options).await
}

const EFBIG: i32 = 27;

/// A half-made image is of no use to anybody.
fn take_back(gate: &ImageGate<'_>) {
    let made = gate.made.lock().unwrap_or_else(PoisonError::into_inner);
    for name in made.iter() {
        let path = name.strip_prefix("file:").unwrap_or(name);
        if std::fs::metadata(path).is_ok_and(|m| m.is_file())
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(path, %error, "cannot remove a half-made image");
        }
    }
}

fn too_large(error: Error, driver: &FormatDriver) -> Error {
    if error.errno_value() != Some(EFBIG) {
        return error;
    }
    let clusters = driver
        .create_options
        .iter()
        .any(|o| o.name == "cluster_size");
    let hint = if clusters {
        " (try using a larger cluster size)"
    } else {
        ""
    };
    Error::new(format!(
        "The image size is too large for file format '{}'{hint}",
        driver.name
    ))
    .errno(EFBIG)
}
