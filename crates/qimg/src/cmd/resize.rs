//! `resize`: gives a disk another size.

use block::{Flags, Preallocation};
use clap::{Arg, ArgAction, ArgMatches};
use qapi::out;
use qapi::{Dict, Error, opts, warn};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, flag, value};

pub(super) const COMMAND: Command = Command {
    name: "resize",
    light: true,
    about: "Resize the image",
    operands: "FILENAME [+-]SIZE",
    examples: &[
        ("resize disk.qcow2 +10G", "grow by 10 GiB"),
        (
            "resize --shrink disk.qcow2 5G",
            "cut everything past 5 GiB off",
        ),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

fn args(command: clap::Command) -> clap::Command {
    command
        .arg(value(
            "format",
            'f',
            "specify FILENAME image format explicitly",
        ))
        .arg(cli::image_opts())
        .arg(
            Arg::new("shrink")
                .long("shrink")
                .action(ArgAction::SetTrue)
                .help("allow the disk to lose its end"),
        )
        .arg(
            Arg::new("preallocation")
                .long("preallocation")
                .value_name("off|metadata|falloc|full")
                .help("how the new part is allocated"),
        )
        .arg(flag("quiet", 'q', "quiet operation"))
        .arg(cli::object())
        .arg(cli::operands())
}

/// What the new size is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    To(u64),
    By(u64),
    Less(u64),
}

fn change(text: &str) -> qapi::Result<Change> {
    let number = |text| opts::parse_size_option("size", text);
    match text.as_bytes().first() {
        Some(b'+') => number(&text[1..]).map(Change::By),
        Some(b'-') => number(&text[1..]).map(Change::Less),
        _ => number(text).map(Change::To),
    }
}

fn apply(change: Change, current: u64) -> qapi::Result<u64> {
    let size = match change {
        Change::To(size) => Some(size),
        Change::By(more) => current.checked_add(more),
        Change::Less(less) => current.checked_sub(less),
    };
    size.filter(|size| *size > 0 && i64::try_from(*size).is_ok())
        .ok_or_else(|| Error::new("New image size must be positive"))
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let preallocation = match args.text("preallocation") {
        None => Preallocation::Off,
        Some(mode) => Preallocation::parse(mode)
            .ok_or_else(|| Error::new(format!("Invalid preallocation mode '{mode}'")))?,
    };
    let names = args.all("operands");
    let [name, size] = names.as_slice() else {
        return Err(Failure::Usage(
            "Expecting image file name and size".to_owned(),
        ));
    };
    args.check_format("format")?;
    let change = change(size)?;
    let flags = Flags {
        writable: true,
        ..Flags::default()
    };
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let disk = cli::open(&args.session()?, name, format, image_opts, flags).await?;
    let current = disk
        .length()
        .map_err(|e| Error::from_io("Failed to get size of the image", &e))?;
    let size = apply(change, current)?;
    if size <= current && preallocation != Preallocation::Off {
        return Err(Error::new("Preallocation can only be used for growing images").into());
    }
    if size < current && !args.has("shrink") {
        qapi::report(&Error::new(
            "Use the --shrink option to perform a shrink operation.",
        ));
        warn(
            "Shrinking an image will delete all data beyond the shrunken image's end. \
             Before performing such an operation, make sure there is no important data there.",
        );
        return Err(Failure::Told(1));
    }
    disk.truncate(size, preallocation).await?;
    let now = disk.length().unwrap_or(size);
    cli::close(&disk).await?;
    if now != size {
        return Err(Error::new(
            "Image was not resized; resizing may not be supported for this image",
        )
        .into());
    }
    if args.json() {
        let mut record = Dict::new();
        record.insert("filename", name.as_str());
        record.insert("old-size", current);
        record.insert("virtual-size", now);
        cli::print_json(&record.into());
    } else if !args.has("quiet") {
        out::line("Image resized.");
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_absolute_or_relative() {
        assert_eq!(change("1M").unwrap(), Change::To(1 << 20));
        assert_eq!(apply(change("+1k").unwrap(), 1024).unwrap(), 2048);
        assert_eq!(apply(change("-1k").unwrap(), 4096).unwrap(), 3072);
        assert!(apply(change("-2k").unwrap(), 1024).is_err());
        assert!(change("+x").is_err());
    }
}
