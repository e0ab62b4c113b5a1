//! `measure`: how large a file an image will need.

use block::find_format;
use clap::ArgMatches;
use qapi::out;
use qapi::{Dict, Error};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, Output, flag, value};
use crate::number;
use crate::options::{self, SnapshotKey};

pub(super) const COMMAND: Command = Command {
    name: "measure",
    light: true,
    about: "Calculate the file size required for a new image",
    operands: "[FILENAME]",
    examples: &[
        (
            "measure -O qcow2 disk.raw",
            "how large disk.raw would be as qcow2",
        ),
        (
            "measure --size 1T -O qcow2",
            "how large a full disk of 1 TiB would get",
        ),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

fn args(command: clap::Command) -> clap::Command {
    command
        .arg(value("target-format", 'O', "format of the new image (raw)"))
        .arg(value("size", 's', "measure for a disk of this size"))
        .arg(cli::options("options of the new image"))
        .arg(value(
            "format",
            'f',
            "specify FILENAME image format explicitly",
        ))
        .arg(cli::image_opts())
        .arg(value("snapshot", 'l', "use this snapshot of FILENAME"))
        .arg(flag(
            "force-share",
            'U',
            "open image in shared mode for concurrent access",
        ))
        .arg(cli::output())
        .arg(cli::object())
        .arg(cli::operands())
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let output = args.output()?;
    let text = options::joined(&args)?;
    let snapshot = args.text("snapshot").map(SnapshotKey::parse).transpose()?;
    let size = match args.text("size") {
        Some(text) => Some(number::parse("image size", text, number::ANY)?),
        None => None,
    };
    let names = args.all("operands");
    if names.len() > 1 {
        return Err(Error::new("At most one filename argument is allowed.").into());
    }
    let name = names.first();
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    if name.is_none() && (image_opts || format.is_some() || snapshot.is_some()) {
        return Err(Error::new("--image-opts, -f, and -l require a filename argument.").into());
    }
    match (name, size) {
        (None, None) => {
            return Err(Error::new("Either --size N or one filename must be specified.").into());
        }
        (Some(_), Some(_)) => {
            return Err(Error::new("--size N cannot be used together with a filename.").into());
        }
        _ => {}
    }
    args.check_format("format")?;
    let session = args.session()?;
    let source = match name {
        None => None,
        Some(name) => {
            let root =
                cli::open(&session, name, format, image_opts, options::to_look(&args)).await?;
            if let Some(key) = &snapshot {
                key.load(&root.node()).await?;
            }
            Some(root)
        }
    };
    let target = args.text("target-format").unwrap_or("raw");
    let wanted = read_options(target, text.as_deref(), size)?;
    let found = block::measure(target, &wanted, source.as_deref(), &session).await?;
    match output {
        Output::Human => {
            out::line(format!("required size: {}", found.required));
            out::line(format!("fully allocated size: {}", found.fully_allocated));
            if let Some(bitmaps) = found.bitmaps {
                out::line(format!("bitmaps size: {bitmaps}"));
            }
        }
        Output::Json => {
            let mut record = Dict::new();
            record.insert("required", found.required);
            record.insert("fully-allocated", found.fully_allocated);
            if let Some(bitmaps) = found.bitmaps {
                record.insert("bitmaps", bitmaps);
            }
            cli::print_json(&record.into());
        }
    }
    Ok(0)
}

/// The create options of the new image.
fn read_options(target: &str, text: Option<&str>, size: Option<u64>) -> Result<Dict, Failure> {
    if !block::is_format(target) {
        return Err(Error::new(format!("Unknown file format '{target}'")).into());
    }
    block::create_options(target, None)?;
    if target != "raw" && find_format(target).is_none_or(|d| d.measure.is_none()) {
        return Err(Error::new(format!(
            "Block driver '{target}' does not support size measurement"
        ))
        .into());
    }
    let known = block::create_options(target, Some(""))?;
    let mut wanted = options::read(&known, text).map_err(|e| {
        qapi::report(&e);
        Error::new(format!("Invalid options for file format '{target}'"))
    })?;
    if let Some(size) = size {
        wanted.insert("size", size);
    }
    Ok(wanted)
}
