//! `aio_read`, `aio_write` and `aio_flush`: requests beside each other. They report when they are done.

use std::time::Instant;

use block::{WriteFlags, ZeroFlags};
use qapi::getopt::Opt;
use qapi::strerror;

use super::Command;
use super::write::{PATTERN, errno};
use crate::number::{self, Failed};
use crate::report::{Report, dump};
use crate::shell::{Call, Shell};
use qapi::out;

pub(super) const READ: Command = Command {
    args: "[-Ciqrv] [-P pattern] off len [len..]",
    more: " As 'readv', in the background: 'aio_flush' waits for it. -i asks for what cannot be.",
    count: (2, None),
    options: &[
        Opt::short('C', false),
        Opt::short('i', false),
        Opt::short('P', true),
        Opt::short('q', false),
        Opt::short('r', false),
        Opt::short('v', false),
    ],
    waits: false,
    ..Command::plain(
        &["aio_read"],
        "asynchronously reads a number of bytes",
        |shell, call| Box::pin(async move { read(shell, &call) }),
    )
};

pub(super) const WRITE: Command = Command {
    args: "[-Cfiqruz] [-P pattern] off len [len..]",
    more: " As 'writev', in the background: 'aio_flush' waits for it. -z and -u as in 'write'.",
    count: (2, None),
    options: &[
        Opt::short('C', false),
        Opt::short('f', false),
        Opt::short('i', false),
        Opt::short('P', true),
        Opt::short('q', false),
        Opt::short('r', false),
        Opt::short('u', false),
        Opt::short('z', false),
    ],
    writes: true,
    waits: false,
    ..Command::plain(
        &["aio_write"],
        "asynchronously writes a number of bytes",
        |shell, call| Box::pin(async move { write(shell, &call) }),
    )
};

pub(super) const FLUSH: Command = Command::plain(
    &["aio_flush"],
    "completes all outstanding aio requests",
    |shell, call| {
        Box::pin(async move {
            let disk = call.disk()?;
            shell.background.wait().await;
            disk.root.flush().await.map_err(|_| Failed)
        })
    },
);

fn place(call: &Call<'_>) -> Result<(u64, usize), Failed> {
    let [offset, lens @ ..] = call.operands() else {
        return Err(call.usage());
    };
    if lens.is_empty() {
        return Err(call.usage());
    }
    let offset = number::number(offset)?;
    Ok((offset, number::lengths(lens)?.iter().sum()))
}

/// How a request in the background tells of its end.
struct Telling {
    quiet: bool,
    machine: bool,
    offset: u64,
    len: u64,
    start: Instant,
}

impl Telling {
    fn new(call: &Call<'_>, offset: u64, len: u64) -> Self {
        Self {
            quiet: call.has("q"),
            machine: call.has("C"),
            offset,
            len,
            start: Instant::now(),
        }
    }

    fn text(&self, what: &'static str) -> String {
        Report {
            what,
            offset: self.offset,
            asked: self.len,
            done: self.len,
            took: self.start.elapsed(),
            machine: self.machine,
        }
        .text()
    }

    /// What there is to tell of a write.
    fn written(&self, done: std::io::Result<()>) -> String {
        match done {
            Err(error) => format!("aio_write failed: {}\n", strerror(errno(&error))),
            Ok(()) if self.quiet => String::new(),
            Ok(()) => self.text("wrote"),
        }
    }
}

/// The options in their order, up to a wrong pattern or the wish for a request that cannot be.
fn pattern(call: &Call<'_>, what: &str) -> Result<Option<Option<u8>>, Failed> {
    let mut pattern = None;
    for (key, value) in &call.options.options {
        match (key.as_str(), value) {
            ("P", Some(text)) => pattern = Some(number::pattern(text)?),
            ("i", _) => {
                out::line(format!("injecting invalid {what} request"));
                return Ok(None);
            }
            _ => {}
        }
    }
    Ok(Some(pattern))
}

fn read(shell: &mut Shell, call: &Call<'_>) -> Result<(), Failed> {
    let Some(pattern) = pattern(call, "read")? else {
        return Ok(());
    };
    let (offset, len) = place(call)?;
    let telling = Telling::new(call, offset, len as u64);
    let (root, show) = (call.disk()?.root, call.has("v"));
    shell.background.start(async move {
        let mut buf = vec![0xab; len];
        if let Err(error) = root.read(offset, &mut buf).await {
            return format!("readv failed: {}\n", strerror(errno(&error)));
        }
        let mut told = String::new();
        if pattern.is_some_and(|p| buf.iter().any(|byte| *byte != p)) {
            told = format!("Pattern verification failed at offset {offset}, {len} bytes\n");
        }
        if telling.quiet {
            return told;
        }
        if show {
            told.push_str(&dump(&buf, offset));
        }
        told + &telling.text("read")
    });
    Ok(())
}

/// Options of `aio_write` that exclude each other.
fn check(call: &Call<'_>) -> Result<(), Failed> {
    if call.operands().len() < 2 {
        return Err(call.usage());
    }
    let zero = call.has("z");
    let words = if zero && call.operands().len() > 2 {
        "-z supports only a single length parameter"
    } else if call.has("u") && !zero {
        "-u requires -z to be specified"
    } else if zero && call.has("r") {
        "cannot combine zero write with registered I/O buffer"
    } else {
        return Ok(());
    };
    out::line(words);
    Err(Failed)
}

fn write(shell: &mut Shell, call: &Call<'_>) -> Result<(), Failed> {
    let Some(pattern) = pattern(call, "write")? else {
        return Ok(());
    };
    check(call)?;
    let root = call.disk()?.root;
    let (may_unmap, fua) = (call.has("u"), call.has("f"));
    if let ([offset, len], true) = (call.operands(), call.has("z")) {
        let (offset, len) = (number::number(offset)?, number::number(len)?);
        let telling = Telling::new(call, offset, len);
        let flags = ZeroFlags {
            may_unmap,
            no_fallback: false,
            fua,
        };
        shell
            .background
            .start(async move { telling.written(root.write_zeroes(offset, len, flags).await) });
        return Ok(());
    }
    let (offset, len) = place(call)?;
    let telling = Telling::new(call, offset, len as u64);
    let flags = WriteFlags {
        fua,
        ..WriteFlags::default()
    };
    shell.background.start(async move {
        let buf = vec![pattern.unwrap_or(PATTERN); len];
        telling.written(root.write(offset, &buf, flags).await)
    });
    Ok(())
}
