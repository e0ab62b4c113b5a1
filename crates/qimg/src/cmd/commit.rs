//! `commit`: brings an overlay's content into a backing file.

use qapi::out;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use block::jobs::{CommitOptions, Watch, commit, layers};
use block::{CacheMode, Flags, Node, Root, beside, find_format};
use clap::ArgMatches;
use qapi::Error;

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, Told, flag, value};
use crate::number;
use crate::progress::{self, INTERRUPTED, Meter};

pub(super) const COMMAND: Command = Command {
    name: "commit",
    light: false,
    about: "Commit image to its backing file",
    operands: "FILENAME",
    examples: &[
        (
            "commit overlay.qcow2",
            "write the overlay's changes into its backing file",
        ),
        (
            "commit -p -b base.qcow2 overlay.qcow2",
            "the same into a file further down",
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
        .arg(value("cache", 't', "image cache mode (writeback)"))
        .arg(flag("drop", 'd', "skip emptying FILENAME on completion"))
        .arg(value(
            "base",
            'b',
            "image in the backing chain to which to commit changes",
        ))
        .arg(value("rate", 'r', "I/O rate limit"))
        .arg(flag("quiet", 'q', "quiet operations"))
        .arg(progress::arg())
        .arg(cli::object())
        .arg(cli::operands())
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let rate = match args.text("rate") {
        None => None,
        Some(text) => NonZeroU64::new(number::parse("rate limit", text, number::ANY)?),
    };
    let names = args.all("operands");
    let [name] = names.as_slice() else {
        return Err(Failure::Usage("Expecting one image file name".to_owned()));
    };
    args.check_format("format")?;
    let quiet = args.has("quiet");
    let flags = Flags {
        writable: true,
        cache: cli::cache(
            args.text("cache"),
            CacheMode::Writeback,
            "Invalid cache option",
        )?,
        share_backing: true,
        ..Flags::default()
    };
    let session = args.session()?;
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let top = cli::open(&session, name, format, image_opts, flags).await?;
    let layer = base_layer(&top.node(), name, args.text("base"))?;
    check_writable(&layer)?;
    // Held a second time, for writing: the chain itself only reads what is above it.
    let base = cli::open(
        &session,
        layer.filename(),
        declared_format(&top.node(), &layer).await?.as_deref(),
        false,
        Flags {
            share_backing: false,
            seen: true,
            ..flags
        },
    )
    .await?;
    let meter = Meter::new(&args.0, quiet, 1.0)?;
    meter.start();
    let options = CommitOptions {
        empty_top: !args.has("drop") && args.text("base").is_none(),
        rate,
        workers: reactor::threads() * 2,
        count_first: meter.shows(),
    };
    let watch: Arc<dyn Watch> = Arc::clone(&meter) as Arc<dyn Watch>;
    let done = commit(Arc::clone(&top), Arc::clone(&base), layer, options, watch).await;
    if done.is_ok() {
        meter.full();
    }
    meter.end();
    let closed = close(&base, &top).await;
    if let Err(error) = done {
        if meter.cancelled() {
            return Err(Failure::Told(INTERRUPTED));
        }
        return Err(error.into());
    }
    closed?;
    if !quiet && !args.json() {
        out::line("Image committed.");
    }
    args.tell([
        ("filename", name.as_str().into()),
        ("base", base.node().filename().into()),
    ]);
    Ok(0)
}

/// What is said of the base, which has the data now, comes first.
async fn close(base: &Root, top: &Root) -> Result<(), Failure> {
    let closed = cli::close_checked(base, Told::Last).await;
    closed.and(cli::close(top).await.map_err(Failure::from))
}

/// A format that can only be read cannot take what is committed.
fn check_writable(layer: &Node) -> qapi::Result<()> {
    let format = layer.driver();
    if find_format(format).is_some_and(|driver| driver.create.is_none()) {
        return Err(Error::new(format!(
            "Block format '{format}' used by node '{}' does not support reopening files",
            layer.name()
        )));
    }
    Ok(())
}

/// The format that the layer above a layer names. A raw disk that was only guessed stays one: it must not become an image
/// of another format by what is committed into its first sector.
async fn declared_format(top: &Arc<Node>, layer: &Arc<Node>) -> qapi::Result<Option<String>> {
    let chain = layers(top);
    let above = chain.windows(2).find(|pair| Arc::ptr_eq(&pair[1], layer));
    let above = above.and_then(|pair| pair[0].format());
    let link = match above {
        Some(format) => format.info().await?.backing,
        None => None,
    };
    let named = link.and_then(|link| link.format).filter(|f| !f.is_empty());
    Ok(named.or_else(|| (layer.driver() != "raw").then(|| layer.driver().to_owned())))
}

/// The layer to commit into: the next one, or the one called `base`.
fn base_layer(top: &Arc<Node>, name: &str, base: Option<&str>) -> qapi::Result<Arc<Node>> {
    let all = layers(top);
    let Some(base) = base else {
        let next = all.into_iter().nth(1);
        return next.ok_or_else(|| Error::new("Image does not have a backing file"));
    };
    // The name is one that an image could have in it: relative to the image's own folder.
    let found = all.windows(2).find_map(|pair| match pair {
        [above, layer] => {
            let folder = above.folder_of().unwrap_or_default();
            let meant = beside(&folder, base);
            is_same_file(layer.filename(), &meant).then(|| Arc::clone(layer))
        }
        _ => None,
    });
    found.ok_or_else(|| {
        Error::new(format!(
            "Did not find '{base}' in the backing chain of '{name}'"
        ))
    })
}

/// Whether two names mean one file.
pub(super) fn is_same_file(a: &str, b: &str) -> bool {
    let real = |name: &str| std::fs::canonicalize(Path::new(name)).ok();
    a == b || real(a).is_some_and(|a| real(b) == Some(a))
}
