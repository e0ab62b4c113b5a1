//! `write`, `writev`, `discard` and `flush`

use std::io;
use std::time::Instant;

use block::{Root, WriteFlags, ZeroFlags};
use qapi::getopt::Opt;
use qapi::strerror;

use super::Command;
use super::read::aligned;
use crate::number::{self, Failed, MAX_REQUEST};
use crate::report::Report;
use crate::shell::Call;
use qapi::out;

/// What is written when nothing else is asked for.
pub(super) const PATTERN: u8 = 0xcd;

pub(super) const WRITE: Command = Command {
    args: "[-bcCfnqruz] [-P pattern | -s source_file] off len",
    more: " -P PATTERN  write this byte (0xcd)\n \
           -s FILE     write the file's bytes, again and again\n \
           -z          write zeroes by the format's own means; with -u the space may go, with -n it must cost no data\n \
           -c          write a packed cluster\n \
           -f          on stable storage when done\n \
           -b          to the VM state\n \
           -C, -q      as in 'read'",
    count: (2, None),
    options: &[
        Opt::short('b', false),
        Opt::short('c', false),
        Opt::short('C', false),
        Opt::short('f', false),
        Opt::short('n', false),
        Opt::short('p', false),
        Opt::short('P', true),
        Opt::short('q', false),
        Opt::short('r', false),
        Opt::short('s', true),
        Opt::short('u', false),
        Opt::short('z', false),
    ],
    writes: true,
    ..Command::plain(
        &["write", "w"],
        "writes a number of bytes at a specified offset",
        |_, call| Box::pin(async move { write(&call).await }),
    )
};

pub(super) const WRITEV: Command = Command {
    args: "[-Cfqr] [-P pattern] off len [len..]",
    more: " The options of 'write', from several buffers of these lengths, one behind the other.",
    count: (2, None),
    options: &[
        Opt::short('C', false),
        Opt::short('f', false),
        Opt::short('P', true),
        Opt::short('q', false),
        Opt::short('r', false),
    ],
    writes: true,
    ..Command::plain(
        &["writev"],
        "writes a number of bytes at a specified offset",
        |_, call| Box::pin(async move { writev(&call).await }),
    )
};

pub(super) const DISCARD: Command = Command {
    args: "[-Cq] off len",
    more: " Tells that the bytes are not needed any more. -C and -q as in 'read'.",
    count: (2, None),
    options: &[Opt::short('C', false), Opt::short('q', false)],
    writes: true,
    ..Command::plain(
        &["discard", "d"],
        "discards a number of bytes at a specified offset",
        |_, call| Box::pin(async move { discard(&call).await }),
    )
};

pub(super) const FLUSH: Command = Command::plain(
    &["flush", "f"],
    "flush all in-core file state to disk",
    |_, call| {
        Box::pin(async move {
            let disk = call.disk()?;
            disk.root.flush().await.map_err(|_| Failed)
        })
    },
);

fn refuse(text: &str) -> Failed {
    out::line(text);
    Failed
}

/// Options that exclude each other.
fn check(call: &Call<'_>) -> Result<(), Failed> {
    let has = |letter| call.has(letter);
    if has("b") && has("z") {
        return Err(refuse("-b and -z cannot be specified at the same time"));
    }
    if has("f") && (has("b") || has("c")) {
        return Err(refuse(
            "-f and -b or -c cannot be specified at the same time",
        ));
    }
    if has("n") && !has("z") {
        return Err(refuse("-n requires -z to be specified"));
    }
    if has("u") && !has("z") {
        return Err(refuse("-u requires -z to be specified"));
    }
    let sources = ["z", "P", "s"].iter().filter(|letter| has(letter)).count();
    if sources > 1 {
        return Err(refuse(
            "Only one of -z, -P, and -s can be specified at the same time",
        ));
    }
    Ok(())
}

async fn write(call: &Call<'_>) -> Result<(), Failed> {
    let pattern = call.options.value("P").map(number::pattern).transpose()?;
    let [offset, len_text] = call.operands() else {
        return Err(call.usage());
    };
    check(call)?;
    let (offset, len) = (number::number(offset)?, number::number(len_text)?);
    if len > MAX_REQUEST && !call.has("n") {
        out::line(format!(
            "length cannot exceed {MAX_REQUEST} without -n, given {len_text}"
        ));
        return Err(Failed);
    }
    if call.has("b") || call.has("c") {
        aligned(offset, "offset")?;
        aligned(len, "count")?;
    }
    if call.has("r") && call.has("z") {
        return Err(refuse(
            "cannot combine zero write with registered I/O buffer",
        ));
    }
    let buf = if call.has("z") {
        Vec::new()
    } else {
        let len = usize::try_from(len).map_err(|_| Failed)?;
        match call.options.value("s") {
            Some(path) => from_file(path, len)?,
            None => vec![pattern.unwrap_or(PATTERN); len],
        }
    };
    let root = call.disk()?.root;
    let start = Instant::now();
    let done = if call.has("z") {
        let flags = ZeroFlags {
            may_unmap: call.has("u"),
            no_fallback: call.has("n"),
            fua: call.has("f"),
        };
        root.write_zeroes(offset, len, flags).await
    } else if call.has("b") {
        root.write_vm_state(offset, &buf).await
    } else if call.has("c") {
        root.write_compressed(offset, &buf).await
    } else {
        plain(&root, offset, &buf, call.has("f")).await
    };
    finish(call, "write", (offset, len), start, done)
}

async fn plain(root: &Root, offset: u64, buf: &[u8], fua: bool) -> io::Result<()> {
    let flags = WriteFlags {
        fua,
        ..WriteFlags::default()
    };
    root.write(offset, buf, flags).await
}

async fn writev(call: &Call<'_>) -> Result<(), Failed> {
    let pattern = call.options.value("P").map(number::pattern).transpose()?;
    let [offset, lens @ ..] = call.operands() else {
        return Err(call.usage());
    };
    if lens.is_empty() {
        return Err(call.usage());
    }
    let offset = number::number(offset)?;
    let len: usize = number::lengths(lens)?.iter().sum();
    let buf = vec![pattern.unwrap_or(PATTERN); len];
    let root = call.disk()?.root;
    let start = Instant::now();
    let done = plain(&root, offset, &buf, call.has("f")).await;
    finish(call, "writev", (offset, len as u64), start, done)
}

async fn discard(call: &Call<'_>) -> Result<(), Failed> {
    let [offset, len_text] = call.operands() else {
        return Err(call.usage());
    };
    let (offset, len) = (number::number(offset)?, number::number(len_text)?);
    if len > MAX_REQUEST {
        out::line(format!(
            "length cannot exceed {MAX_REQUEST}, given {len_text}"
        ));
        return Err(Failed);
    }
    let disk = call.disk()?;
    let start = Instant::now();
    let done = if disk.mode.discard {
        disk.root.discard(offset, len).await
    } else {
        Ok(())
    };
    finish(call, "discard", (offset, len), start, done)
}

fn finish(
    call: &Call<'_>,
    verb: &str,
    (offset, len): (u64, u64),
    start: Instant,
    done: io::Result<()>,
) -> Result<(), Failed> {
    let took = start.elapsed();
    if let Err(error) = done {
        out::line(format!("{verb} failed: {}", strerror(errno(&error))));
        return Err(Failed);
    }
    if !call.has("q") {
        Report {
            what: if verb == "discard" {
                "discard"
            } else {
                "wrote"
            },
            offset,
            asked: len,
            done: len,
            took,
            machine: call.has("C"),
        }
        .print();
    }
    Ok(())
}

/// The errno of an error, for those made here too.
pub(super) fn errno(error: &io::Error) -> i32 {
    match error.kind() {
        _ if error.raw_os_error().is_some() => error.raw_os_error().unwrap_or(5),
        io::ErrorKind::Unsupported => 95,
        io::ErrorKind::InvalidInput => 22,
        _ => 5,
    }
}

/// A buffer filled with a file's bytes, repeated.
fn from_file(path: &str, len: usize) -> Result<Vec<u8>, Failed> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|f| f.take(len as u64).read_to_end(&mut bytes));
    if let Err(error) = read {
        eprintln!("{path}: {}", strerror(errno(&error)));
        return Err(Failed);
    }
    if bytes.is_empty() {
        eprintln!("{path}: file is empty");
        return Err(Failed);
    }
    Ok(bytes.iter().copied().cycle().take(len).collect())
}
