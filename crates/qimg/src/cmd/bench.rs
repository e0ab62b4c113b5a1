//! `bench`: how fast a disk takes requests.

use qapi::out;
use std::sync::Arc;
use std::time::Instant;

use block::jobs::{BenchOptions, Flushes, bench};
use block::{Aio, CacheMode, Flags};
use clap::{Arg, ArgAction, ArgMatches};
use qapi::Error;

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, flag, value};
use crate::number;

pub(super) const COMMAND: Command = Command {
    name: "bench",
    light: false,
    about: "Run a simple image benchmark",
    operands: "FILENAME",
    examples: &[
        (
            "bench -c 10000 -d 32 disk.qcow2",
            "read 10000 times 4 KiB, 32 at a time",
        ),
        (
            "bench -w -t none -s 64k disk.qcow2",
            "write around the page cache; destroys the content",
        ),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

/// Largest number that the option takes.
const MAX: u64 = 0x7fff_ffff;

fn args(command: clap::Command) -> clap::Command {
    let long = |id: &'static str| Arg::new(id).long(id);
    command
        .arg(value("format", 'f', "specify FILENAME format explicitly"))
        .arg(cli::image_opts())
        .arg(value("cache", 't', "cache mode for FILENAME (writeback)"))
        .arg(value("count", 'c', "number of I/O requests to perform"))
        .arg(value(
            "depth",
            'd',
            "number of requests to perform in parallel",
        ))
        .arg(value("offset", 'o', "start first request at this OFFSET"))
        .arg(value("buffer-size", 's', "size of each I/O request"))
        .arg(value(
            "step-size",
            'S',
            "each next request offset increment",
        ))
        .arg(value(
            "aio",
            'i',
            "async-io backend (threads, native, io_uring)",
        ))
        .arg(flag("native", 'n', "use native AIO backend if possible"))
        .arg(flag("write", 'w', "perform write test (default is read)"))
        .arg(long("pattern").help("write this pattern byte instead of zero"))
        .arg(long("flush-interval").help("issue flush after this number of requests"))
        .arg(
            long("no-drain")
                .action(ArgAction::SetTrue)
                .help("do not wait when flushing pending requests"),
        )
        .arg(flag(
            "force-share",
            'U',
            "open images in shared mode for concurrent access",
        ))
        .arg(flag("quiet", 'q', "quiet operations"))
        .arg(cli::object())
        .arg(cli::operands())
}

/// What the numbers say, checked.
fn options(args: &Args) -> qapi::Result<BenchOptions> {
    let number = |id: &str, noun: &str, min: u64, max: u64, default: u64| match args.text(id) {
        None => Ok(default),
        Some(text) => number::parse(noun, text, min..=max),
    };
    let any = *number::ANY.end();
    let count = number("count", "request count", 1, MAX, 75000)?;
    let depth = number("depth", "queue depth", 1, MAX, 64)?;
    let len = number("buffer-size", "buffer size", 1, MAX, 4096)?;
    let step = number("step-size", "step size", 0, MAX, 0)?;
    let offset = number("offset", "offset", 0, any, 0)?;
    let pattern = number("pattern", "pattern byte", 0, 255, 0)?;
    let interval = number("flush-interval", "flush interval", 0, MAX, 0)?;
    let write = args.has("write");
    if interval > 0 && !write {
        return Err(Error::new(
            "--flush-interval is only available in write tests",
        ));
    }
    if interval > 0 && interval < depth {
        return Err(Error::new("Flush interval can't be smaller than depth"));
    }
    let small = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(BenchOptions {
        count,
        depth: small(depth),
        len: small(len),
        offset,
        step: if step == 0 { len } else { step },
        write: write.then(|| u8::try_from(pattern).unwrap_or(0)),
        flushes: (interval > 0).then(|| Flushes {
            interval,
            drain: !args.has("no-drain"),
        }),
    })
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let options = options(&args)?;
    let mut aio = args.has("native").then_some(Aio::Native);
    if let Some(text) = args.text("aio") {
        let parsed = Aio::parse(text);
        aio = Some(parsed.ok_or_else(|| Error::new(format!("Invalid aio option: {text}")))?);
    }
    let Some(cache) = args
        .text("cache")
        .map_or(Some(CacheMode::Writeback), CacheMode::parse)
    else {
        return Err(Error::new("Invalid cache mode").into());
    };
    let names = args.all("operands");
    let [name] = names.as_slice() else {
        return Err(Failure::Usage("Expecting one image file name".to_owned()));
    };
    args.check_format("format")?;
    let flags = Flags {
        writable: options.write.is_some(),
        cache,
        aio,
        force_share: args.has("force-share"),
        ..Flags::default()
    };
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let disk = cli::open(&args.session()?, name, format, image_opts, flags).await?;
    if !args.json() {
        announce(&options);
    }
    let start = Instant::now();
    bench(Arc::clone(&disk), options)
        .await
        .map_err(|e| Error::from_io("Failed request", &e))?;
    let seconds = start.elapsed().as_secs_f64();
    if !args.json() {
        out::line(format!("Run completed in {seconds:3.3} seconds."));
    }
    args.tell([
        ("requests", options.count.into()),
        ("request-size", (options.len as u64).into()),
        ("depth", (options.depth as u64).into()),
        ("write", options.write.is_some().into()),
        ("seconds", seconds.into()),
    ]);
    cli::close(&disk).await?;
    Ok(0)
}

/// Says what is about to be done.
fn announce(options: &BenchOptions) {
    let kind = match options.write {
        Some(_) => "write",
        None => "read",
    };
    out::line(format!(
        "Sending {} {kind} requests, {} bytes each, {} in parallel (starting at offset {}, step size {})",
        options.count, options.len, options.depth, options.offset, options.step
    ));
    if let Some(flushes) = options.flushes {
        let drain = if flushes.drain { "" } else { "async " };
        out::line(format!(
            "Sending {drain}flush every {} requests",
            flushes.interval
        ));
    }
}
