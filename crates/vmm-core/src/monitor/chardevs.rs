//! Character devices.

use char_backends::BACKENDS;
use monitor_core::{Command, Flags};
use qapi::record::{Choice, Record};
use qapi::{Error, Result};

use super::{Nothing, Vm, ask};

#[derive(Debug, Record)]
struct ChardevInfo {
    label: String,
    filename: String,
    frontend_open: bool,
}

#[derive(Debug, Record)]
struct ChardevBackendInfo {
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum DataFormat {
    Utf8,
    Base64,
}

#[derive(Debug, Record)]
struct RingRead {
    device: String,
    size: i64,
    format: Option<DataFormat>,
}

#[derive(Debug, Record)]
struct RingWrite {
    device: String,
    data: String,
    format: Option<DataFormat>,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[
    ask!("query-chardev", Flags::EARLY, Nothing => Vec<ChardevInfo>, |vm: &Vm, _| {
        let row = |row: &std::sync::Arc<crate::chars::Row>| ChardevInfo {
            label: row.label.clone(),
            filename: row.filename(),
            frontend_open: row.attached(),
        };
        Ok(vm.chars.iter().map(row).collect())
    }),
    ask!("query-chardev-backends", Nothing => Vec<ChardevBackendInfo>, |_: &Vm, _| {
        let row = |name: &&str| ChardevBackendInfo { name: (*name).to_owned() };
        Ok(BACKENDS.iter().map(row).collect())
    }),
    ask!("ringbuf-read", RingRead => String, |vm: &Vm, wanted: RingRead| {
        ring_read(vm, &wanted.device, wanted.size, wanted.format)
    }),
    ask!("ringbuf-write", RingWrite => Nothing, |vm: &Vm, wanted: RingWrite| {
        only_text(wanted.format)?;
        ring_write(vm, &wanted.device, &wanted.data)
    }),
];

fn only_text(format: Option<DataFormat>) -> Result<()> {
    match format {
        // GAP: bytes that are no text.
        Some(DataFormat::Base64) => Err(Error::new("'base64' is not supported yet")),
        _ => Ok(()),
    }
}

fn ring<'v>(vm: &'v Vm, label: &str) -> Result<&'v char_backends::Ring> {
    let found = vm.chars.iter().find(|row| row.label == label);
    let found = found.ok_or_else(|| Error::new(format!("Device '{label}' not found")))?;
    let ring = found.ring.as_ref();
    ring.ok_or_else(|| Error::new(format!("{label} is not a ringbuf device")))
}

fn ring_read(vm: &Vm, label: &str, size: i64, format: Option<DataFormat>) -> Result<String> {
    only_text(format)?;
    let ring = ring(vm, label)?;
    let most = usize::try_from(size).ok().filter(|most| *most > 0);
    let most = most.ok_or_else(|| Error::new("size must be greater than zero"))?;
    Ok(String::from_utf8_lossy(&ring.take(most)).into_owned())
}

fn ring_write(vm: &Vm, label: &str, text: &str) -> Result<Nothing> {
    ring(vm, label)?.put(text.as_bytes());
    Ok(Nothing {})
}

/// What `ringbuf_read` prints.
pub(super) fn ring_text(vm: &Vm, label: &str, size: i64) -> Result<String> {
    ring_read(vm, label, size, None).map(|text| format!("{text}\n"))
}

/// What `ringbuf_write` does.
pub(super) fn ring_put(vm: &Vm, label: &str, text: &str) -> Result<()> {
    ring_write(vm, label, text).map(|_| ())
}

/// What `info chardev` prints.
pub(super) fn shown(vm: &Vm) -> String {
    let lines = vm.chars.iter();
    lines
        .map(|row| format!("{}: filename={}\n", row.label, row.filename()))
        .collect()
}
