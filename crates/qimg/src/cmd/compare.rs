//! `compare`: whether two disks have the same content. Exit code 0 equal, 1 different, 2 and more: not known.

use qapi::out;
use std::sync::Arc;

use block::jobs::{CompareError, CompareOptions, Comparison, Difference, Watch, compare};
use block::{CacheMode, Flags};
use clap::ArgMatches;
use qapi::{Error, Value, report};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, flag, value};
use crate::progress::{self, INTERRUPTED, Meter};

pub(super) const COMMAND: Command = Command {
    name: "compare",
    light: false,
    about: "Check if two images have the same contents",
    operands: "FILENAME1 FILENAME2",
    examples: &[
        ("compare a.qcow2 b.raw", "equal content?"),
        (
            "compare -s a.qcow2 b.qcow2",
            "equal sizes and allocation too?",
        ),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

fn args(command: clap::Command) -> clap::Command {
    command
        .arg(
            value("a-format", 'f', "specify FILENAME1 image format explicitly")
                .alias("left-format"),
        )
        .arg(
            value("b-format", 'F', "specify FILENAME2 image format explicitly")
                .alias("right-format"),
        )
        .arg(cli::image_opts())
        .arg(flag(
            "strict",
            's',
            "strict mode, also check if sizes are equal",
        ))
        .arg(value("cache", 'T', "images caching mode (writeback)"))
        .arg(flag(
            "force-share",
            'U',
            "open images in shared mode for concurrent access",
        ))
        .arg(flag("quiet", 'q', "quiet operation"))
        .arg(progress::arg())
        .arg(cli::object())
        .arg(cli::operands())
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let names = args.all("operands");
    let [first, second] = names.as_slice() else {
        return Err(Failure::Usage("Expecting two image file names".to_owned()));
    };
    if args.has("image-opts") && (args.text("a-format").or(args.text("b-format"))).is_some() {
        return Err(Error::new("--image-opts and --format are mutually exclusive").into());
    }
    let quiet = args.has("quiet");
    let flags = Flags {
        cache: cli::cache(
            args.text("cache"),
            CacheMode::Writeback,
            "Invalid source cache option",
        )
        .map_err(|e| fail(&e, 2))?,
        force_share: args.has("force-share"),
        ..Flags::default()
    };
    let session = args.session()?;
    let image_opts = args.has("image-opts");
    let a = cli::open(&session, first, args.text("a-format"), image_opts, flags)
        .await
        .map_err(|e| fail(&e, 2))?;
    let b = cli::open(&session, second, args.text("b-format"), image_opts, flags)
        .await
        .map_err(|e| fail(&e, 2))?;
    let meter = Meter::new(&args.0, quiet, 2.0)?;
    meter.start();
    let options = CompareOptions {
        strict: args.has("strict"),
        workers: reactor::threads(),
    };
    let watch: Arc<dyn Watch> = Arc::clone(&meter) as Arc<dyn Watch>;
    let found = compare([a, b], options, watch).await;
    let say = |text: &str| {
        if !quiet && !args.json() {
            out::line(text);
        }
    };
    let code = match found {
        Err(error) => {
            meter.end();
            return Err(told(error, [first, second]));
        }
        Ok(found) => {
            tell(&args, found);
            if found.size_differs && found.difference != Some(Difference::Size) {
                say("Warning: Image size mismatch!");
            }
            match found.difference {
                None => {
                    meter.full();
                    say("Images are identical.");
                    0
                }
                Some(difference) => {
                    say(&words(difference));
                    1
                }
            }
        }
    };
    meter.end();
    Ok(code)
}

/// The verdict for machines: where the first difference is, if it has a place.
fn tell(args: &Args, found: Comparison) {
    let (kind, offset) = match found.difference {
        None => (Value::Null, Value::Null),
        Some(Difference::Size) => ("size".into(), Value::Null),
        Some(Difference::Status(at)) => ("status".into(), at.into()),
        Some(Difference::Content(at)) => ("content".into(), at.into()),
    };
    args.tell([
        ("identical", found.difference.is_none().into()),
        ("size-differs", found.size_differs.into()),
        ("difference", kind),
        ("offset", offset),
    ]);
}

fn words(difference: Difference) -> String {
    match difference {
        Difference::Size => "Strict mode: Image size mismatch!".to_owned(),
        Difference::Status(at) => format!("Strict mode: Offset {at} block status mismatch!"),
        Difference::Content(at) => format!("Content mismatch at offset {at}!"),
    }
}

fn fail(error: &Error, code: u8) -> Failure {
    report(error);
    Failure::Told(code)
}

fn told(error: CompareError, names: [&String; 2]) -> Failure {
    match error {
        CompareError::Cancelled => Failure::Told(INTERRUPTED),
        CompareError::Length { image, error } => {
            let what = format!("Can't get size of {}", names[image]);
            fail(&Error::from_io(what, &error), 4)
        }
        CompareError::Status { image, .. } => {
            let what = format!("Sector allocation test failed for {}", names[image]);
            fail(&Error::new(what), 3)
        }
        CompareError::Read {
            image,
            offset,
            error,
        } => {
            let what = format!("Error while reading offset {offset} of {}", names[image]);
            fail(&Error::from_io(what, &error), 4)
        }
    }
}
