//! `dd`: copies blocks of a disk to a new image.
//!
//! `count` blocks are counted from the disk's start, so `skip` takes from them, as with the reference tool.

use std::sync::Arc;

use block::jobs::{ConvertError, ConvertOptions, Source, Zeroes, convert};
use block::{CacheMode, CreateSpec, Flags};
use clap::ArgMatches;
use qapi::{Dict, Error, report};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, flag, value};
use crate::number;
use crate::progress::{INTERRUPTED, Meter};

pub(super) const COMMAND: Command = Command {
    name: "dd",
    light: false,
    about: "Copy input to output with optional format conversion",
    operands: "if=FILENAME of=FILENAME [bs=SIZE] [count=N] [skip=N]",
    examples: &[(
        "dd -O raw bs=1M count=10 if=disk.qcow2 of=head.raw",
        "the first 10 MiB",
    )],
    args,
    run: |matches| Box::pin(run(matches)),
};

fn args(command: clap::Command) -> clap::Command {
    command
        .arg(value("format", 'f', "specify format for INPUT explicitly"))
        .arg(value(
            "output-format",
            'O',
            "format of the OUTPUT (default raw)",
        ))
        .arg(cli::image_opts())
        .arg(flag(
            "force-share",
            'U',
            "open images in shared mode for concurrent access",
        ))
        .arg(cli::object())
        .arg(cli::operands())
}

/// What the operands say.
struct Operands {
    input: String,
    output: String,
    block: u64,
    count: Option<u64>,
    skip: u64,
}

fn operands(words: &[String]) -> qapi::Result<Operands> {
    let (mut input, mut output) = (None, None);
    let (mut block, mut count, mut skip) = (512, None, 0);
    for word in words {
        let unknown = || {
            let name = word.split('=').next().unwrap_or_default();
            Error::new(format!("unrecognized operand {name}"))
        };
        let (name, text) = word.split_once('=').ok_or_else(unknown)?;
        match name {
            "if" => input = Some(text.to_owned()),
            "of" => output = Some(text.to_owned()),
            "bs" => block = number::parse("bs", text, 1..=0x7fff_ffff)?,
            "count" => count = Some(number::parse("count", text, number::ANY)?),
            "skip" => skip = number::parse("skip", text, number::ANY)?,
            _ => return Err(unknown()),
        }
    }
    let (Some(input), Some(output)) = (input, output) else {
        return Err(Error::new("Must specify both input and output files"));
    };
    Ok(Operands {
        input,
        output,
        block,
        count,
        skip,
    })
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let operands = operands(&args.all("operands"))?;
    args.check_format("format")?;
    let session = args.session()?;
    let flags = Flags {
        force_share: args.has("force-share"),
        ..Flags::default()
    };
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let input = cli::open(&session, &operands.input, format, image_opts, flags).await?;
    let out_format = args.text("output-format").unwrap_or("raw");
    if !block::is_format(out_format) {
        return Err(Error::new("Unknown file format").into());
    }
    let known = block::create_options(out_format, Some(&operands.output))?;
    let size = input
        .length()
        .map_err(|e| Error::from_io(format!("Failed to get size for '{}'", operands.input), &e))?;
    let (from, len) = range(&operands, size);
    if from > end(&operands, size) {
        report(&Error::new(format!(
            "{}: cannot skip to specified offset",
            operands.input
        )));
    }
    let mut options = Dict::new();
    if known.iter().any(|o| o.name == "size") {
        options.insert("size", len);
    }
    let spec = CreateSpec {
        format: out_format,
        filename: &operands.output,
        options: &options,
    };
    block::create(&session, spec).await.map_err(|e| {
        e.prefix(format!(
            "{}: error while creating output image: ",
            operands.output
        ))
    })?;
    let flags = Flags {
        writable: true,
        cache: CacheMode::Writeback,
        no_backing: true,
        ..Flags::default()
    };
    let output = cli::open(&session, &operands.output, Some(out_format), false, flags).await?;
    let source = Source {
        root: input,
        from: from.min(size),
        len,
        base: None,
    };
    let options = ConvertOptions {
        zeroes: Zeroes::Store,
        workers: reactor::threads() * 2,
        ..ConvertOptions::default()
    };
    let watch = Meter::new(&args.0, true, 1.0)?;
    let done = convert(vec![source], Arc::clone(&output), options, watch);
    done.await.map_err(told)?;
    cli::close(&output).await?;
    args.tell([
        ("filename", operands.output.into()),
        ("format", out_format.into()),
        ("virtual-size", len.into()),
    ]);
    Ok(0)
}

/// First byte and length of what is copied.
fn range(operands: &Operands, size: u64) -> (u64, u64) {
    let from = operands.skip.saturating_mul(operands.block);
    (from, end(operands, size).saturating_sub(from))
}

/// Where copying ends: `count` counts from the start of the disk, what is skipped included.
fn end(operands: &Operands, size: u64) -> u64 {
    operands
        .count
        .map_or(size, |count| count.saturating_mul(operands.block).min(size))
}

fn told(error: ConvertError) -> Failure {
    match error {
        ConvertError::Cancelled => Failure::Told(INTERRUPTED),
        ConvertError::Status(_, e) | ConvertError::Read(_, e) => {
            Error::from_io("error while reading from input image file", &e).into()
        }
        ConvertError::Write(_, e) => {
            Error::from_io("error while writing to output image file", &e).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_includes_what_is_skipped() {
        let words = ["if=a", "of=b", "bs=1M", "count=2", "skip=1"].map(str::to_owned);
        let operands = operands(&words).unwrap();
        assert_eq!(range(&operands, 4 << 20), (1 << 20, 1 << 20));
        assert_eq!(range(&operands, 1 << 20), (1 << 20, 0));
    }
}
