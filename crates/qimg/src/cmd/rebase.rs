//! `rebase`: gives an overlay another backing file, with its content unchanged unless `-u` is there.

use std::sync::Arc;

use block::core::BackingLink;
use block::jobs::{RebaseRequest, Watch, layers, rebase};
use block::{CacheMode, Flags, Layer, Root, Session};
use clap::ArgMatches;
use qapi::{Error, Value};

use super::Command;
use super::commit::is_same_file;
use crate::cli::{self, Args, Failure, Outcome, flag, value};
use crate::progress::{self, INTERRUPTED, Meter};

pub(super) const COMMAND: Command = Command {
    name: "rebase",
    light: false,
    about: "Change the backing file of the image",
    operands: "FILENAME",
    examples: &[
        (
            "rebase -b new.qcow2 -F qcow2 overlay.qcow2",
            "keep the content over another backing file",
        ),
        (
            "rebase -u -b moved/base.qcow2 -F qcow2 overlay.qcow2",
            "only the name has changed",
        ),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

fn args(command: clap::Command) -> clap::Command {
    command
        .arg(value("format", 'f', "specify FILENAME format explicitly"))
        .arg(cli::image_opts())
        .arg(value("cache", 't', "cache mode for FILENAME (writeback)"))
        .arg(value(
            "backing",
            'b',
            "rebase onto this file (or no backing file)",
        ))
        .arg(value(
            "backing-format",
            'F',
            "specify format for BACKING_FILENAME",
        ))
        .arg(value(
            "backing-cache",
            'T',
            "BACKING_FILENAME cache mode (writeback)",
        ))
        .arg(flag(
            "backing-unsafe",
            'u',
            "do not fail if BACKING_FILENAME can not be read",
        ))
        .arg(flag(
            "compress",
            'c',
            "compress image (when image supports this)",
        ))
        .arg(flag(
            "force-share",
            'U',
            "open image in shared mode for concurrent access",
        ))
        .arg(flag("quiet", 'q', "quiet operation"))
        .arg(progress::arg())
        .arg(cli::object())
        .arg(cli::operands())
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let names = args.all("operands");
    let [name] = names.as_slice() else {
        return Err(Failure::Usage("Expecting one image file name".to_owned()));
    };
    args.check_format("format")?;
    let unsafe_mode = args.has("backing-unsafe");
    if !unsafe_mode && args.text("backing").is_none() {
        let message = "Must specify backing file (-b) or use unsafe mode (-u)";
        return Err(Failure::Usage(message.to_owned()));
    }
    let quiet = args.has("quiet");
    let meter = Meter::new(&args.0, quiet, 1.0)?;
    let cache = cli::cache(
        args.text("cache"),
        CacheMode::Writeback,
        "Invalid cache option",
    )?;
    let flags = Flags {
        writable: true,
        cache,
        no_backing: unsafe_mode,
        ..Flags::default()
    };
    let source_cache = args.text("backing-cache");
    let source_cache = cli::cache(
        source_cache,
        CacheMode::Writeback,
        "Invalid source cache option",
    )?;
    let session = args.session()?;
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let overlay = cli::open(&session, name, format, image_opts, flags).await?;
    let link = wanted_link(&args)?;
    let below = Flags {
        cache: source_cache,
        force_share: args.has("force-share"),
        ..Flags::default()
    };
    meter.start();
    let copied = if unsafe_mode {
        Ok(())
    } else {
        let request = request(&args, &session, &overlay, link.as_ref(), below).await?;
        check_link(&overlay, link.as_ref())?;
        let watch: Arc<dyn Watch> = Arc::clone(&meter) as Arc<dyn Watch>;
        rebase(request, watch).await
    };
    let linked = match copied {
        Ok(()) => relink(&overlay, link.as_ref()).await,
        Err(error) => Err(error),
    };
    if linked.is_ok() {
        meter.full();
    }
    meter.end();
    let closed = cli::close(&overlay).await;
    if linked.is_err() && meter.cancelled() {
        return Err(Failure::Told(INTERRUPTED));
    }
    linked?;
    closed?;
    let backing = link.map_or(Value::Null, |link| link.file.into());
    args.tell([
        ("filename", name.as_str().into()),
        ("backing-filename", backing),
    ]);
    Ok(0)
}

/// The backing file that is asked for.
fn wanted_link(args: &Args) -> qapi::Result<Option<BackingLink>> {
    let format = args.text("backing-format");
    if let Some(format) = format.filter(|f| !block::is_format(f)) {
        return Err(Error::new(format!("Invalid format name: '{format}'")));
    }
    let backing = args.text("backing").filter(|b| !b.is_empty());
    Ok(backing.map(|file| BackingLink {
        file: file.to_owned(),
        format: format.map(str::to_owned),
    }))
}

/// Opens both chains.
async fn request(
    args: &Args,
    session: &Session,
    overlay: &Arc<Root>,
    link: Option<&BackingLink>,
    flags: Flags,
) -> qapi::Result<RebaseRequest> {
    let compress = args.has("compress");
    if compress && overlay.node().format().and_then(|f| f.compress()).is_none() {
        return Err(Error::new("Compression not supported for this file format"));
    }
    let chain = layers(&overlay.node());
    let old = match chain.get(1) {
        Some(node) => Some(session.hold(Arc::clone(node), flags)?),
        None => None,
    };
    let mut common = None;
    let new = match link {
        None => None,
        Some(link) => {
            let path = block::beside(overlay.node().filename(), &link.file);
            common = chain
                .iter()
                .skip(1)
                .find(|layer| is_same_file(layer.filename(), &path))
                .cloned();
            let failed =
                |e: Error| e.prefix(format!("Could not open new backing file '{}': ", link.file));
            let layer = Layer::Name(&path, link.format.as_deref());
            Some(session.open(layer, flags).await.map_err(failed)?)
        }
    };
    Ok(RebaseRequest {
        overlay: Arc::clone(overlay),
        old,
        new,
        common,
        compress,
        workers: reactor::threads() * 2,
    })
}

/// Refuses before anything is copied what could not be written into the header after.
fn check_link(overlay: &Root, link: Option<&BackingLink>) -> qapi::Result<()> {
    let node = overlay.node();
    let Some(link) = link else { return Ok(()) };
    if node.format().and_then(|f| f.change_backing()).is_none() {
        return Err(Error::with_errno(could_not(&link.file), 95));
    }
    if link.format.is_none() {
        return Err(Error::new(format!(
            "{}: backing format must be specified",
            could_not(&link.file)
        )));
    }
    Ok(())
}

/// Writes the link into the header, after all data is on disk.
async fn relink(overlay: &Root, link: Option<&BackingLink>) -> qapi::Result<()> {
    check_link(overlay, link)?;
    let name = link.map_or("", |l| l.file.as_str());
    overlay
        .flush()
        .await
        .map_err(|e| Error::from_io(could_not(name), &e))?;
    let node = overlay.node();
    let Some(format) = node.format().and_then(|f| f.change_backing()) else {
        return Err(Error::with_errno(could_not(name), 95));
    };
    format
        .set_backing(link)
        .await
        .map_err(|e| match e.errno_value() {
            Some(28) => Error::new(format!(
                "{}: No space left in the file header",
                could_not(name)
            )),
            Some(errno) => Error::with_errno(could_not(name), errno),
            None => e,
        })
}

fn could_not(name: &str) -> String {
    format!("Could not change the backing file to '{name}'")
}
