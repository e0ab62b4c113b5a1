//! What the user says about the machine in its SMBIOS tables: `-smbios`.
//! ```text
//!   -smbios file=BINARY | type=N[,FIELD=VALUE]...
//! ```
//! Fields of one type that come in several options add up; connectors, texts and devices are one each.

use std::path::Path;

use firmware::smbios::{Fields, Given};
use qapi::{Error, Result};

use super::values::{number, pairs, switch, uuid};
use crate::files;
use crate::plan::Plan;

/// What a field's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number {
        most: u64,
    },
    Switch,
    /// `MAJOR.MINOR`
    Release,
    /// What sort of device is on the board.
    Device,
}

const WORD: Kind = Kind::Number { most: 0xffff };
const BYTE: Kind = Kind::Number { most: 0xff };
const LONG: Kind = Kind::Number { most: u64::MAX };

/// Types and their fields.
const TYPES: &[(u8, &[(&str, Kind)])] = &[
    (
        0,
        &[
            ("vendor", Kind::Text),
            ("version", Kind::Text),
            ("date", Kind::Text),
            ("release", Kind::Release),
            ("uefi", Kind::Switch),
        ],
    ),
    (
        1,
        &[
            ("manufacturer", Kind::Text),
            ("product", Kind::Text),
            ("version", Kind::Text),
            ("serial", Kind::Text),
            ("uuid", Kind::Text),
            ("sku", Kind::Text),
            ("family", Kind::Text),
        ],
    ),
    (
        2,
        &[
            ("manufacturer", Kind::Text),
            ("product", Kind::Text),
            ("version", Kind::Text),
            ("serial", Kind::Text),
            ("asset", Kind::Text),
            ("location", Kind::Text),
        ],
    ),
    (
        3,
        &[
            ("manufacturer", Kind::Text),
            ("version", Kind::Text),
            ("serial", Kind::Text),
            ("asset", Kind::Text),
            ("sku", Kind::Text),
        ],
    ),
    (
        4,
        &[
            ("sock_pfx", Kind::Text),
            ("manufacturer", Kind::Text),
            ("version", Kind::Text),
            ("max-speed", WORD),
            ("current-speed", WORD),
            ("serial", Kind::Text),
            ("asset", Kind::Text),
            ("part", Kind::Text),
            ("processor-id", LONG),
            ("processor-family", WORD),
        ],
    ),
    (
        8,
        &[
            ("internal_reference", Kind::Text),
            ("external_reference", Kind::Text),
            ("connector_type", BYTE),
            ("port_type", BYTE),
        ],
    ),
    (
        17,
        &[
            ("loc_pfx", Kind::Text),
            ("bank", Kind::Text),
            ("manufacturer", Kind::Text),
            ("serial", Kind::Text),
            ("asset", Kind::Text),
            ("part", Kind::Text),
            ("speed", WORD),
        ],
    ),
    (
        41,
        &[
            ("designation", Kind::Text),
            ("kind", Kind::Device),
            ("instance", BYTE),
        ],
    ),
];

/// Sorts of devices on a board, by their numbers less one.
const DEVICES: [&str; 10] = [
    "other",
    "unknown",
    "video",
    "scsi",
    "ethernet",
    "tokenring",
    "sound",
    "pata",
    "sata",
    "sas",
];

/// Takes an option.
pub(super) fn smbios(plan: &mut Plan, value: &str) -> Result<()> {
    let parts = pairs(value, "");
    if let Some((_, file)) = parts.iter().find(|(key, _)| key == "file") {
        return from_file(&mut plan.smbios, file, &parts);
    }
    let Some((_, kind)) = parts.iter().find(|(key, _)| key == "type") else {
        return Err(Error::new("Must specify type= or file="));
    };
    let kind = number("type", kind)?;
    let kind = u8::try_from(kind).map_err(|_| Error::new("out of range!"))?;
    if plan
        .smbios
        .files
        .iter()
        .any(|raw| raw.first() == Some(&kind))
    {
        let text = format!("can't process type {kind} smbios fields: file already loaded");
        return Err(Error::new(text));
    }
    let parts: Vec<(String, String)> = parts.into_iter().filter(|(key, _)| key != "type").collect();
    if kind == 11 {
        return texts(&mut plan.smbios, &parts);
    }
    let Some((_, known)) = TYPES.iter().find(|(number, _)| *number == kind) else {
        // GAP: slots need devices by their ids.
        let text = if kind == 9 {
            "SMBIOS type 9 is not supported yet".to_owned()
        } else {
            format!("Don't know how to build fields for SMBIOS type {kind}")
        };
        return Err(Error::new(text));
    };
    if let Some((_, text)) = parts.iter().find(|(key, _)| kind == 1 && key == "uuid") {
        plan.uuid = Some(uuid(text).map_err(|_| Error::new("Invalid UUID"))?);
    }
    let given = &mut plan.smbios;
    let fields = match kind {
        0 => given.bios.get_or_insert_default(),
        1 => &mut given.system,
        2 => given.board.get_or_insert_default(),
        3 => &mut given.enclosure,
        4 => &mut given.processor,
        8 => added(&mut given.connectors),
        17 => &mut given.memory,
        _ => added(&mut given.on_board),
    };
    for (key, value) in &parts {
        let row = known.iter().find(|(name, _)| name == key);
        let Some((name, kind)) = row else {
            return Err(unknown(key));
        };
        set(fields, name, *kind, value)?;
    }
    Ok(())
}

fn added(list: &mut Vec<Fields>) -> &mut Fields {
    let last = list.len();
    list.push(Fields::default());
    &mut list[last]
}

fn unknown(key: &str) -> Error {
    // GAP: a device of the board is not named by the place of a PCI function.
    if key == "pcidev" {
        return Error::new("'pcidev' is not supported yet");
    }
    Error::new(format!("Invalid parameter '{key}'"))
}

fn set(fields: &mut Fields, name: &'static str, kind: Kind, value: &str) -> Result<()> {
    let number = match kind {
        Kind::Text => {
            fields.texts.insert(name, value.to_owned());
            return Ok(());
        }
        Kind::Number { most } => {
            let parsed = match value.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => value.parse(),
            };
            let parsed =
                parsed.map_err(|_| Error::new(format!("Parameter '{name}' expects a number")))?;
            if parsed > most {
                return Err(Error::new(too_large(name)));
            }
            parsed
        }
        Kind::Switch => u64::from(switch(name, value)?),
        Kind::Release => {
            let numbers = value.split_once('.').and_then(|(major, minor)| {
                Some((major.parse::<u8>().ok()?, minor.parse::<u8>().ok()?))
            });
            let (major, minor) = numbers.ok_or_else(|| Error::new("Invalid release"))?;
            u64::from(major) << 8 | u64::from(minor)
        }
        Kind::Device => {
            let found = DEVICES.iter().position(|known| *known == value);
            let text = || Error::new(format!("invalid parameter value: {value}"));
            found.ok_or_else(text)? as u64 + 1
        }
    };
    fields.numbers.insert(name, number);
    Ok(())
}

fn too_large(name: &str) -> String {
    if name.ends_with("-speed") {
        "SMBIOS CPU speed is too large (> 65535)".to_owned()
    } else {
        format!("value of '{name}' is too large")
    }
}

/// Texts of the maker, each from the option or from a file.
fn texts(given: &mut Given, parts: &[(String, String)]) -> Result<()> {
    for (key, value) in parts {
        match key.as_str() {
            "value" => given.texts.push(value.clone()),
            "path" => {
                let bytes = files::content(Path::new(value), files::MOST)
                    .map_err(|error| Error::from_io(format!("Could not open '{value}'"), &error))?;
                given
                    .texts
                    .push(String::from_utf8_lossy(&bytes).into_owned());
            }
            _ => return Err(unknown(key)),
        }
    }
    Ok(())
}

/// A whole structure from a file.
fn from_file(given: &mut Given, file: &str, parts: &[(String, String)]) -> Result<()> {
    const HEADER: usize = 4;
    if let Some((other, _)) = parts.iter().find(|(key, _)| key != "file") {
        return Err(unknown(other));
    }
    let raw = files::content(Path::new(file), 0xffff)
        .ok()
        .filter(|raw| raw.len() >= HEADER);
    let raw = raw.ok_or_else(|| Error::new(format!("Cannot read SMBIOS file {file}")))?;
    let kind = raw.first().copied().unwrap_or(0);
    if !is_untouched(given, kind) {
        let text = format!("can't load type {kind} struct, fields already specified!");
        return Err(Error::new(text));
    }
    given.files.push(raw);
    Ok(())
}

fn is_untouched(given: &Given, kind: u8) -> bool {
    let none = Fields::default();
    match kind {
        0 => given.bios.is_none(),
        1 => given.system == none,
        2 => given.board.is_none(),
        3 => given.enclosure == none,
        4 => given.processor == none,
        8 => given.connectors.is_empty(),
        11 => given.texts.is_empty(),
        17 => given.memory == none,
        41 => given.on_board.is_empty(),
        _ => true,
    }
}
