//! `amend`: changes options that an image was made with.

use qapi::out;
use std::sync::Arc;

use block::core::AmendRequest;
use block::{CacheMode, Flags, find_format};
use clap::{Arg, ArgAction, ArgMatches};
use qapi::{Error, OptionDesc};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, flag, value};
use crate::options;
use crate::progress::{self, Meter};

pub(super) const COMMAND: Command = Command {
    name: "amend",
    light: false,
    about: "Update format-specific options of the image",
    operands: "FILENAME",
    examples: &[
        (
            "amend -o compat=1.1 disk.qcow2",
            "bring an old image to the current version",
        ),
        ("amend -f qcow2 -o help", "list what can be changed"),
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
        .arg(cli::options("new values of options; 'help' lists them"))
        .arg(value("cache", 't', "cache mode for FILENAME (writeback)"))
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("allow what may make the content unreadable"),
        )
        .arg(flag("quiet", 'q', "quiet operation"))
        .arg(progress::arg())
        .arg(cli::object())
        .arg(cli::operands())
}

/// What may be amended in images of a format.
fn known(format: &str) -> qapi::Result<&'static [OptionDesc]> {
    find_format(format)
        .map(|driver| driver.amend_options)
        .filter(|options| !options.is_empty())
        .ok_or_else(|| {
            Error::new(format!(
                "Format driver '{format}' does not support option amendment"
            ))
        })
}

fn print_help(format: &str) -> qapi::Result<()> {
    let known = known(format)?;
    out::line(format!("Amend options for '{format}':"));
    options::print_list(known);
    Ok(())
}

/// An option that only create knows gets a word more.
fn for_create_only(error: Error, format: &str) -> Error {
    let options = find_format(format).map_or(&[][..], |driver| driver.create_options);
    let named = |o: &OptionDesc| error.message() == format!("Invalid parameter '{}'", o.name);
    if options.iter().any(named) {
        return error.hint("This option is only supported for image creation");
    }
    error
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let text = options::joined(&args)?;
    let Some(text) = text else {
        return Err(Failure::Usage("Must specify options (-o)".to_owned()));
    };
    let quiet = args.has("quiet");
    let meter = Meter::new(&args.0, quiet, 1.0)?;
    let wants_help = options::wants_help(Some(&text));
    let names = args.all("operands");
    if let (true, Some(format)) = (wants_help, args.text("format")) {
        print_help(format)?;
        return Ok(0);
    }
    let [name] = names.as_slice() else {
        return Err(Error::new("Expecting one image file name").into());
    };
    args.check_format("format")?;
    let flags = Flags {
        writable: true,
        cache: cli::cache(
            args.text("cache"),
            CacheMode::Writeback,
            "Invalid cache option",
        )?,
        ..Flags::default()
    };
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let session = args.session()?;
    let disk = cli::open(&session, name, format, image_opts, flags).await?;
    let node = disk.node();
    if wants_help {
        print_help(node.driver())?;
        return Ok(0);
    }
    let known = known(node.driver())?;
    let wanted =
        options::read(known, Some(&text)).map_err(|e| for_create_only(e, node.driver()))?;
    let Some(amend) = node.format().and_then(|f| f.amend()) else {
        return Err(Error::new(format!(
            "Format driver '{}' does not support option amendment",
            node.driver()
        ))
        .into());
    };
    meter.start();
    let drained = disk.drain().await;
    let progress = Arc::clone(&meter);
    let request = AmendRequest {
        options: &wanted,
        force: args.has("force"),
        progress: &*progress,
        object: &|id| session.objects().find(id),
    };
    let done = amend.amend(request).await;
    drop(drained);
    if done.is_ok() {
        meter.full();
    }
    meter.end();
    let closed = cli::close(&disk).await;
    done?;
    closed?;
    args.tell([
        ("filename", name.as_str().into()),
        ("format", node.driver().into()),
    ]);
    Ok(0)
}
