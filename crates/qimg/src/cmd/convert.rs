//! `convert`: copies disks into a new image, or into one that is there.

mod bitmaps;
mod settings;
mod target;

use std::sync::Arc;

use block::jobs::{ConvertError, Source, Watch, convert, convert_length};
use block::{Flags, Root, Session};
use clap::{Arg, ArgAction, ArgMatches};
use qapi::{Dict, Error};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, flag, value};
use crate::options;
use crate::progress::{self, INTERRUPTED, Meter};
use settings::Settings;
use target::Target;

pub(super) const COMMAND: Command = Command {
    name: "convert",
    light: false,
    about: "Copy one or more images to another, changing the format",
    operands: "SRC_FILENAME... TGT_FILENAME",
    examples: &[
        (
            "convert -p -O qcow2 disk.vmdk disk.qcow2",
            "convert with a progress bar",
        ),
        ("convert -c -O qcow2 disk.raw small.qcow2", "pack it"),
        (
            "convert -O qcow2 -B base.qcow2 -F qcow2 top.qcow2 new.qcow2",
            "keep only what differs from base.qcow2",
        ),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

fn long(id: &'static str, help: &'static str) -> Arg {
    Arg::new(id).long(id).action(ArgAction::SetTrue).help(help)
}

fn args(command: clap::Command) -> clap::Command {
    how_args(target_args(source_args(command)))
        .arg(flag("quiet", 'q', "quiet operation"))
        .arg(progress::arg())
        .arg(cli::object())
        .arg(cli::operands())
}

fn source_args(command: clap::Command) -> clap::Command {
    command
        .arg(value("source-format", 'f', "format of SRC_FILENAME").alias("format"))
        .arg(
            long(
                "source-image-opts",
                "SRC_FILENAME is a complete image specification",
            )
            .alias("image-opts"),
        )
        .arg(value("source-snapshot", 'l', "copy this snapshot of the source").alias("snapshot"))
        .arg(value(
            "source-cache",
            'T',
            "source image(s) cache mode (writeback)",
        ))
        .arg(flag(
            "force-share",
            'U',
            "open images in shared mode for concurrent access",
        ))
}

fn target_args(command: clap::Command) -> clap::Command {
    command
        .arg(value("target-format", 'O', "format of TGT_FILENAME (raw)").alias("output-format"))
        .arg(long(
            "target-image-opts",
            "TGT_FILENAME is a complete image specification",
        ))
        .arg(cli::options("options of the target; 'help' lists them").alias("target-options"))
        .arg(flag("compress", 'c', "write compressed clusters"))
        .arg(value("target-cache", 't', "cache mode of the target (unsafe)").alias("output-cache"))
        .arg(value(
            "backing",
            'B',
            "make the target an overlay of this file",
        ))
        .arg(value("backing-format", 'F', "format of the backing file"))
        .arg(flag("no-create", 'n', "the target is there already"))
        .arg(long(
            "target-is-zero",
            "the existing target reads as zeroes",
        ))
        .arg(long(
            "force-in-place",
            "write the target under its own name from the start",
        ))
}

fn how_args(command: clap::Command) -> clap::Command {
    command
        .arg(value(
            "sparse-size",
            'S',
            "shortest run of zeroes that is left out (4k, 0: none)",
        ))
        .arg(long("bitmaps", "copy persistent bitmaps too"))
        .arg(long("skip-broken-bitmaps", "leave broken bitmaps out"))
        .arg(value(
            "rate",
            'r',
            "write at most so many bytes in a second",
        ))
        .arg(value(
            "parallel",
            'm',
            "number of pieces copied side by side (1 to 16)",
        ))
        .arg(flag(
            "oob-writes",
            'W',
            "write pieces as they get ready, not in their order",
        ))
        .arg(flag("copy-range-offloading", 'C', "let the kernel copy"))
        .arg(long("salvage", "unreadable sectors become zeroes"))
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let settings = Settings::read(&args)?;
    let mut names = args.all("operands");
    let target_name = if names.len() > 1 { names.pop() } else { None };
    if options::wants_help(settings.options.as_deref()) {
        options::print_create_help(&settings.format, target_name.as_deref())?;
        return Ok(0);
    }
    let Some(target_name) = target_name else {
        return Err(Error::new("Must specify image file name").into());
    };
    let session = args.session()?;
    let meter = Meter::new(&args.0, args.has("quiet"), 1.0)?;
    meter.start();
    let result = copy(&args, &settings, &session, &names, &target_name, &meter).await;
    if result.is_ok() {
        meter.full();
    }
    meter.end();
    if meter.cancelled() && result.is_err() {
        return Err(Failure::Told(INTERRUPTED));
    }
    result
}

async fn copy(
    args: &Args,
    settings: &Settings,
    session: &Session,
    names: &[String],
    target_name: &str,
    meter: &Arc<Meter>,
) -> Outcome {
    let roots = open_sources(args, settings, session, names).await?;
    let mut sources = Vec::new();
    for (root, name) in roots.iter().zip(names) {
        let source = Source::whole(Arc::clone(root))
            .map_err(|e| Error::from_io(format!("Could not get size of {name}"), &e))?;
        sources.push(source);
    }
    let length = convert_length(&sources)
        .map_err(|e| Error::from_io("Could not add up the sizes of the sources", &e))?;
    let mut target = Target::prepare(args, settings, target_name, length, sources.len())?;
    if settings.bitmaps {
        bitmaps::check(&roots, settings.skip_broken)?;
    }
    let done = fill(settings, session, &mut target, sources, length, meter).await;
    match done {
        Ok(_) => {
            target.publish()?;
            if args.json() {
                let mut record = Dict::new();
                record.insert("filename", target_name);
                record.insert("format", settings.format.as_str());
                record.insert("virtual-size", length);
                cli::print_json(&record.into());
            }
        }
        Err(_) => target.take_back(),
    }
    done
}

async fn open_sources(
    args: &Args,
    settings: &Settings,
    session: &Session,
    names: &[String],
) -> qapi::Result<Vec<Arc<Root>>> {
    let flags = Flags {
        cache: settings.source_cache,
        force_share: args.has("force-share"),
        no_share: true,
        ..Flags::default()
    };
    let (format, image_opts) = (args.text("source-format"), args.has("source-image-opts"));
    let mut roots = Vec::new();
    for name in names {
        roots.push(cli::open(session, name, format, image_opts, flags).await?);
    }
    if let Some(key) = &settings.snapshot {
        if roots.len() > 1 {
            return Err(Error::new("No support for concatenating multiple snapshot"));
        }
        for root in &roots {
            key.load(&root.node()).await?;
        }
    }
    Ok(roots)
}

/// Makes the target, fills and closes it.
async fn fill(
    settings: &Settings,
    session: &Session,
    target: &mut Target,
    mut sources: Vec<Source>,
    length: u64,
    meter: &Arc<Meter>,
) -> Outcome {
    let root = target.open(settings, session).await?;
    let node = root.node();
    if settings.bitmaps && node.format().and_then(|f| f.bitmaps()).is_none() {
        let driver = node.driver();
        return Err(
            Error::new(format!("Format driver '{driver}' does not support bitmaps")).into(),
        );
    }
    if settings.compress && node.format().and_then(|f| f.compress()).is_none() {
        return Err(Error::new("Compression not supported for this file format").into());
    }
    let packs_all = node.format().is_some_and(|f| f.packs_all());
    let there = root
        .length()
        .map_err(|e| Error::from_io("unable to get output image length", &e))?;
    if there < length {
        return Err(Error::new("output file is smaller than input file").into());
    }
    let initial = target.initial(settings, &root).await?;
    if let Some(backing) = target.backing() {
        for source in &mut sources {
            source.base = target::shared_layer(&source.root.node(), backing);
        }
    }
    let source = sources.first().map(|s| Arc::clone(&s.root));
    let watch: Arc<dyn Watch> = Arc::clone(meter) as Arc<dyn Watch>;
    let options = settings.convert_options(initial, packs_all, meter.shows());
    convert(sources, Arc::clone(&root), options, watch)
        .await
        .map_err(told)?;
    if let (true, Some(source)) = (settings.bitmaps, source) {
        bitmaps::copy(&source, &root, settings.skip_broken).await?;
    }
    cli::close(&root).await?;
    Ok(0)
}

fn told(error: ConvertError) -> Failure {
    match error {
        ConvertError::Cancelled => Failure::Told(INTERRUPTED),
        error => Failure::Error(error.into()),
    }
}
