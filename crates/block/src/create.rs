//! Makes images.

use block_core::{CreateRequest, ProtocolDriver};
use qapi::{Dict, Error, OptionDesc, opts};

use crate::name::{self, Named};
use crate::open::{Flags, Session};
use crate::registry::{find_format, find_protocol};

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
        return Err(Error::new(
            "Creating an image from JSON options is not supported",
        ));
    };
    let driver = options.get_str("driver").unwrap_or("file");
    let driver =
        find_protocol(driver).ok_or_else(|| Error::new(format!("Unknown protocol '{driver}'")))?;
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
            let unknown = || Error::new(format!("Unknown file format '{name}'"));
            let cannot = || {
                Error::new(format!(
                    "Format driver '{name}' does not support image creation"
                ))
            };
            if let Some(driver) = find_format(name) {
                driver.create.ok_or_else(cannot)?;
                driver.create_options.to_vec()
            } else {
                let driver = find_protocol(name).ok_or_else(unknown)?;
                driver.create.ok_or_else(cannot)?;
                driver.create_options.to_vec()
            }
        }
    };
    if let Some(filename) = filename {
        let (protocol, _) = protocol_of(filename)?;
        if protocol.create.is_none() {
            return Err(Error::new(format!(
                "Protocol driver '{}' does not support creating images",
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
    let gate = session.gate(spec.filename, flags, 0);
    let request = CreateRequest {
        filename: spec.filename,
        options: spec.options,
        gate: &gate,
    };
    if spec.format == "raw" {
        return block_formats::raw::create(request).await;
    }
    if let Some(create) = find_format(spec.format).and_then(|d| d.create) {
        return create(request).await;
    }
    let (protocol, _) = protocol_of(spec.filename)?;
    let Some(create) = protocol.create else {
        return Err(Error::new(format!(
            "Format driver '{}' does not support image creation",
            spec.format
        )));
    };
    create(spec.filename, spec.options).await
}
