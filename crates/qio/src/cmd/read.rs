//! `read` and `readv`

use std::time::Instant;

use qapi::getopt::Opt;
use qapi::strerror;

use super::Command;
use crate::number::{self, Failed};
use crate::report::{Report, dump};
use crate::shell::Call;
use qapi::out;

const READ_OPTIONS: &[Opt] = &[
    Opt::short('b', false),
    Opt::short('C', false),
    Opt::short('l', true),
    Opt::short('p', false),
    Opt::short('P', true),
    Opt::short('q', false),
    Opt::short('r', false),
    Opt::short('s', true),
    Opt::short('v', false),
];

pub(super) const READ: Command = Command {
    args: "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
    more: " -P PATTERN  every byte (from -s on, -l of them) must be PATTERN\n \
           -v          show the bytes\n \
           -C          one line for machines\n \
           -q          no report\n \
           -b          from the VM state\n \
           -r          through a registered buffer",
    count: (2, None),
    options: READ_OPTIONS,
    ..Command::plain(
        &["read", "r"],
        "reads a number of bytes at a specified offset",
        |_, call| Box::pin(async move { read(&call).await }),
    )
};

pub(super) const READV: Command = Command {
    args: "[-Cqrv] [-P pattern] off len [len..]",
    more: " The options of 'read', for several buffers of these lengths, one behind the other.",
    count: (2, None),
    options: &[
        Opt::short('C', false),
        Opt::short('P', true),
        Opt::short('q', false),
        Opt::short('r', false),
        Opt::short('v', false),
    ],
    ..Command::plain(
        &["readv"],
        "reads a number of bytes at a specified offset",
        |_, call| Box::pin(async move { readv(&call).await }),
    )
};

/// The part of what was read that must be of one pattern.
struct Check {
    pattern: u8,
    from: u64,
    len: u64,
}

fn check(call: &Call<'_>, len: u64) -> Result<Option<Check>, Failed> {
    let options = &call.options;
    let bound = |key| options.value(key).map(number::number).transpose();
    let (part, from) = (bound("l")?, bound("s")?);
    let pattern = options.value("P").map(number::pattern).transpose()?;
    let Some(pattern) = pattern else {
        return if part.is_some() || from.is_some() {
            Err(call.usage())
        } else {
            Ok(None)
        };
    };
    let from = from.unwrap_or(0);
    let end = match part {
        Some(part) => from.checked_add(part),
        None => Some(len),
    };
    match end.filter(|end| *end <= len && from <= *end) {
        Some(end) => Ok(Some(Check {
            pattern,
            from,
            len: end - from,
        })),
        None => {
            out::line("pattern verification range exceeds end of read data");
            Err(Failed)
        }
    }
}

impl Check {
    fn verify(&self, buf: &[u8], offset: u64) -> Result<(), Failed> {
        let from = usize::try_from(self.from).unwrap_or(usize::MAX);
        let part = buf
            .iter()
            .skip(from)
            .take(usize::try_from(self.len).unwrap_or(usize::MAX));
        if part.copied().all(|byte| byte == self.pattern) {
            return Ok(());
        }
        out::line(format!(
            "Pattern verification failed at offset {}, {} bytes",
            offset + self.from,
            self.len
        ));
        Err(Failed)
    }
}

async fn read(call: &Call<'_>) -> Result<(), Failed> {
    let [offset, len] = call.operands() else {
        return Err(call.usage());
    };
    let (offset, len) = (number::number(offset)?, number::length(len)?);
    let check = check(call, len as u64)?;
    if call.has("b") {
        aligned(offset, "offset")?;
        aligned(len as u64, "count")?;
        if call.has("r") {
            out::line("I/O buffer registration is not supported when reading from vmstate");
            return Err(Failed);
        }
    }
    finish(call, "read", offset, len, check.as_ref()).await
}

async fn readv(call: &Call<'_>) -> Result<(), Failed> {
    let [offset, lens @ ..] = call.operands() else {
        return Err(call.usage());
    };
    if lens.is_empty() {
        return Err(call.usage());
    }
    let offset = number::number(offset)?;
    let len = number::lengths(lens)?.iter().sum();
    let check = check(call, len as u64)?;
    finish(call, "readv", offset, len, check.as_ref()).await
}

/// Refuses what is no multiple of a sector.
///
/// # Errors
/// Told.
pub(super) fn aligned(value: u64, what: &str) -> Result<(), Failed> {
    if value.is_multiple_of(512) {
        return Ok(());
    }
    out::line(format!(
        "{value} is not a sector-aligned value for '{what}'"
    ));
    Err(Failed)
}

async fn finish(
    call: &Call<'_>,
    verb: &str,
    offset: u64,
    len: usize,
    check: Option<&Check>,
) -> Result<(), Failed> {
    let mut buf = vec![0xab; len];
    let start = Instant::now();
    let root = call.disk()?.root;
    let done = if call.has("b") {
        root.read_vm_state(offset, &mut buf).await
    } else {
        root.read(offset, &mut buf).await
    };
    if let Err(error) = done {
        out::line(format!(
            "{verb} failed: {}",
            strerror(error.raw_os_error().unwrap_or(5))
        ));
        return Err(Failed);
    }
    let took = start.elapsed();
    // A wrong pattern is a failure, and the report follows nevertheless.
    let verified = check.map_or(Ok(()), |check| check.verify(&buf, offset));
    if call.has("q") {
        return verified;
    }
    if call.has("v") {
        out::text(&dump(&buf, offset));
    }
    Report {
        what: "read",
        offset,
        asked: len as u64,
        done: len as u64,
        took,
        machine: call.has("C"),
    }
    .print();
    verified
}
