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
            shell.wait().await;
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
    fn new(call: &Call<'_>, offset: u64, len: usize) -> Self {
        Self {
            quiet: call.has("q"),
            machine: call.has("C"),
            offset,
            len: len as u64,
            start: Instant::now(),
        }
    }

    fn print(&self, what: &'static str) {
        Report {
            what,
            offset: self.offset,
            asked: self.len,
            done: self.len,
            took: self.start.elapsed(),
            machine: self.machine,
        }
        .print();
    }
}

fn read(shell: &mut Shell, call: &Call<'_>) -> Result<(), Failed> {
    let pattern = call.options.value("P").map(number::pattern).transpose()?;
    if call.has("i") {
        out::line("injecting invalid read request");
        return Ok(());
    }
    let (offset, len) = place(call)?;
    let telling = Telling::new(call, offset, len);
    let (root, show) = (call.disk()?.root, call.has("v"));
    let task = reactor::start(async move {
        let mut buf = vec![0xab; len];
        if let Err(error) = root.read(offset, &mut buf).await {
            out::line(format!("readv failed: {}", strerror(errno(&error))));
            return;
        }
        if pattern.is_some_and(|p| buf.iter().any(|byte| *byte != p)) {
            out::line(format!(
                "Pattern verification failed at offset {offset}, {len} bytes"
            ));
        }
        if telling.quiet {
            return;
        }
        if show {
            dump(&buf, offset);
        }
        telling.print("read");
    });
    shell.background.extend(task);
    Ok(())
}

fn write(shell: &mut Shell, call: &Call<'_>) -> Result<(), Failed> {
    let pattern = call.options.value("P").map(number::pattern).transpose()?;
    if call.has("i") {
        out::line("injecting invalid write request");
        return Ok(());
    }
    let refuse = |text: &str| {
        out::line(text);
        Err(Failed)
    };
    let zero = call.has("z");
    if zero && call.operands().len() > 2 {
        return refuse("-z supports only a single length parameter");
    }
    if call.has("u") && !zero {
        return refuse("-u requires -z to be specified");
    }
    if zero && pattern.is_some() {
        return refuse("-z and -P cannot be specified at the same time");
    }
    if zero && call.has("r") {
        return refuse("cannot combine zero write with registered I/O buffer");
    }
    let (offset, len) = place(call)?;
    let telling = Telling::new(call, offset, len);
    let root = call.disk()?.root;
    let (may_unmap, fua) = (call.has("u"), call.has("f"));
    let task = reactor::start(async move {
        let done = if zero {
            let flags = ZeroFlags {
                may_unmap,
                no_fallback: false,
                fua,
            };
            root.write_zeroes(offset, len as u64, flags).await
        } else {
            let flags = WriteFlags {
                fua,
                ..WriteFlags::default()
            };
            let buf = vec![pattern.unwrap_or(PATTERN); len];
            root.write(offset, &buf, flags).await
        };
        match done {
            Err(error) => out::line(format!("aio_write failed: {}", strerror(errno(&error)))),
            Ok(()) if telling.quiet => {}
            Ok(()) => telling.print("wrote"),
        }
    });
    shell.background.extend(task);
    Ok(())
}
