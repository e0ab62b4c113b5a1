//! All drivers by name, and which format some bytes are of.

use block_core::{FilterDriver, FormatDriver, ProbeInput, ProtocolDriver};
use block_formats::FORMATS;
use block_protocols::{FILTERS, PROTOCOLS};
use qapi::Error;

/// How many bytes probing looks at.
pub(crate) const PROBE_LEN: usize = 512;

/// Other names that users know formats by.
const ALIASES: &[(&str, &str)] = &[("vhd", "vpc")];

/// Drivers of QEMU's that are left out, by their names and the prefixes of their file names, and what to do instead.
const LEFT_OUT: &[(&[&str], &str)] = &[(
    &["vvfat", "fat"],
    "Folders shown as FAT disks (vvfat) are not supported: mkfs.fat and mcopy make an image of a folder.",
)];

/// `Unknown WHAT 'NAME'`, with a hint for what is left out.
pub(crate) fn unknown(what: &str, name: &str) -> Error {
    let error = Error::new(format!("Unknown {what} '{name}'"));
    match LEFT_OUT.iter().find(|(names, _)| names.contains(&name)) {
        Some((_, hint)) => error.hint(*hint),
        None => error,
    }
}

/// The format called `name`; raw is not among them.
pub fn find_format(name: &str) -> Option<&'static FormatDriver> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |(_, name)| name);
    FORMATS.iter().copied().find(|d| d.name == name)
}

/// The protocol called `name`.
pub fn find_protocol(name: &str) -> Option<&'static ProtocolDriver> {
    PROTOCOLS.iter().copied().find(|d| d.name == name)
}

/// The filter called `name`.
pub(crate) fn find_filter(name: &str) -> Option<&'static FilterDriver> {
    FILTERS.iter().copied().find(|d| d.name == name)
}

/// Whether nodes with this driver are found by a file name.
pub fn is_protocol(driver: &str) -> bool {
    find_protocol(driver).is_some()
        || find_filter(driver).is_some_and(|filter| filter.parse_filename.is_some())
}

/// Whether `-f NAME` means something.
pub fn is_format(name: &str) -> bool {
    name == "raw"
        || find_format(name).is_some()
        || find_protocol(name).is_some()
        || find_filter(name).is_some()
}

/// The names of all formats, protocols and filters, sorted.
pub fn format_names() -> Vec<&'static str> {
    let formats = FORMATS.iter().map(|d| d.name);
    let protocols = PROTOCOLS.iter().map(|d| d.name);
    let filters = FILTERS.iter().map(|d| d.name);
    let mut all: Vec<_> = formats
        .chain(protocols)
        .chain(filters)
        .chain(["raw"])
        .collect();
    all.sort_unstable();
    all
}

/// The format that scores highest; `None` is raw.
pub(crate) fn probe(head: &[u8], filename: &str) -> Option<&'static FormatDriver> {
    let input = ProbeInput { head, filename };
    let mut best = (1, None);
    for driver in FORMATS {
        let score = (driver.probe)(&input);
        if score > best.0 {
            best = (score, Some(*driver));
        }
    }
    best.1
}

/// Whether bytes at a disk's front would be taken for another format than raw.
pub fn looks_like_format(head: &[u8]) -> bool {
    probe(head, "").is_some()
}
