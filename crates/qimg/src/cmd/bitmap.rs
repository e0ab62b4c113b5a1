//! `bitmap`: changes an image's persistent dirty bitmaps.

use std::sync::Arc;

use block::core::Bitmaps;
use block::{Flags, Root, Session};
use clap::{Arg, ArgAction, ArgMatches};
use qapi::{Dict, Error, Value, opts};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, Told, value};

pub(super) const COMMAND: Command = Command {
    name: "bitmap",
    light: true,
    about: "Perform modifications of the persistent bitmap in the image",
    operands: "FILENAME BITMAP",
    examples: &[
        (
            "bitmap --add disk.qcow2 b0",
            "record from now on which parts change",
        ),
        (
            "bitmap --merge b0 -b old.qcow2 disk.qcow2 b1",
            "add what b0 of another image has recorded",
        ),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

/// Operations without a value, done in the order of the command line.
const PLAIN: [(&str, &str); 5] = [
    ("add", "create BITMAP and record writes in it"),
    ("remove", "remove BITMAP"),
    ("clear", "clear BITMAP"),
    ("enable", "record writes in BITMAP"),
    ("disable", "stop recording writes in BITMAP"),
];

fn args(command: clap::Command) -> clap::Command {
    let plain = PLAIN.map(|(name, help)| {
        Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::Append)
            .num_args(0)
            .default_missing_value("")
    });
    command
        .args(plain)
        .arg(
            Arg::new("merge")
                .long("merge")
                .action(ArgAction::Append)
                .value_name("SOURCE")
                .help("merge bitmap SOURCE into BITMAP"),
        )
        .arg(value(
            "granularity",
            'g',
            "bytes a bit of the new bitmap stands for",
        ))
        .arg(value("source-file", 'b', "the image that SOURCE is in"))
        .arg(value("source-format", 'F', "format of that image"))
        .arg(value(
            "format",
            'f',
            "specify FILENAME image format explicitly",
        ))
        .arg(cli::image_opts())
        .arg(cli::object())
        .arg(cli::operands())
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action<'a> {
    Plain(&'static str),
    Merge(&'a str),
}

impl Action<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Plain(name) => name,
            Self::Merge(_) => "merge",
        }
    }
}

/// The operations as they stand in the command line.
fn actions(matches: &ArgMatches) -> Vec<Action<'_>> {
    let mut found = Vec::new();
    for (name, _) in PLAIN {
        let times = matches.indices_of(name).into_iter().flatten();
        let given = matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
        found.extend(times.filter(|_| given).map(|at| (at, Action::Plain(name))));
    }
    let sources = matches.get_many::<String>("merge").into_iter().flatten();
    let times = matches.indices_of("merge").into_iter().flatten();
    found.extend(
        times
            .zip(sources)
            .map(|(at, source)| (at, Action::Merge(source))),
    );
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, action)| action).collect()
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let granularity = match args.text("granularity") {
        Some(text) => Some(opts::parse_size_option("granularity", text)?),
        None => None,
    };
    let actions = actions(&args.0);
    let (has_add, has_merge) = (
        actions.contains(&Action::Plain("add")),
        actions.iter().any(|a| matches!(a, Action::Merge(_))),
    );
    let refuse = |text: &str| Err(Failure::Error(Error::new(text)));
    if actions.is_empty() {
        return refuse(
            "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge",
        );
    }
    if granularity.is_some() && !has_add {
        return refuse("granularity only supported with --add");
    }
    if args.text("source-format").is_some() && args.text("source-file").is_none() {
        return refuse("-F only supported with -b");
    }
    if args.text("source-file").is_some() && !has_merge {
        return refuse("Merge bitmap source file only supported with --merge");
    }
    let names = args.all("operands");
    let [filename, bitmap] = names.as_slice() else {
        return Err(Failure::Usage(
            "Expecting filename and bitmap name".to_owned(),
        ));
    };
    args.check_format("format")?;
    let session = args.session()?;
    // Bitmaps are worked on without a look at what the image holds.
    let flags = Flags {
        writable: true,
        no_backing: true,
        ..Flags::default()
    };
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let disk = cli::open(&session, filename, format, image_opts, flags).await?;
    let source = source(&args, &session).await?;
    for action in &actions {
        act(&disk, source.as_ref(), bitmap, granularity, *action)
            .await
            .map_err(|e| {
                let name = action.name();
                e.prefix(format!("Operation {name} on bitmap {bitmap} failed: "))
            })?;
    }
    cli::close_checked(&disk, Told::Between).await?;
    if args.json() {
        show(&disk);
    }
    Ok(0)
}

async fn source(args: &Args, session: &Session) -> qapi::Result<Option<Arc<Root>>> {
    match args.text("source-file") {
        None => Ok(None),
        Some(file) => {
            let format = args.text("source-format");
            let flags = Flags {
                no_backing: true,
                ..Flags::default()
            };
            let root = cli::open(session, file, format, false, flags).await?;
            Ok(Some(root))
        }
    }
}

fn not_found(name: &str) -> Error {
    Error::new(format!("Dirty bitmap '{name}' not found"))
}

async fn act(
    disk: &Root,
    source: Option<&Arc<Root>>,
    bitmap: &str,
    granularity: Option<u64>,
    action: Action<'_>,
) -> qapi::Result<()> {
    let node = disk.node();
    let Some(bitmaps) = node.format().and_then(|f| f.bitmaps()) else {
        return Err(match action {
            Action::Plain("add") => refuse(&node, bitmap),
            _ => not_found(bitmap),
        });
    };
    let known = bitmaps.list().iter().any(|b| b.name == bitmap);
    if action != Action::Plain("add") && !known {
        return Err(not_found(bitmap));
    }
    match action {
        Action::Plain("add") => bitmaps.add(bitmap, granularity).await,
        Action::Plain("remove") => bitmaps.remove(bitmap).await,
        Action::Plain("clear") => bitmaps.clear(bitmap).await,
        Action::Plain(name) => bitmaps.set_enabled(bitmap, name == "enable").await,
        Action::Merge(from) => merge(bitmaps, source, bitmap, from).await,
    }
}

/// Why bitmaps cannot be added to this image.
fn refuse(node: &block::Node, bitmap: &str) -> Error {
    let name = node.name();
    if node.driver() == "qcow2" {
        return Error::new(format!(
            "Can't make bitmap '{bitmap}' persistent in '{name}': Cannot store dirty bitmaps in qcow2 v2 files"
        ));
    }
    Error::with_errno(format!("Can't store persistent bitmaps to {name}"), 95)
}

async fn merge(
    bitmaps: &dyn Bitmaps,
    source: Option<&Arc<Root>>,
    bitmap: &str,
    from: &str,
) -> qapi::Result<()> {
    let node = source.map(|root| root.node());
    let all = match &node {
        None => bitmaps,
        Some(node) => node
            .format()
            .and_then(|f| f.bitmaps())
            .ok_or_else(|| not_found(from))?,
    };
    if !all.list().iter().any(|b| b.name == from) {
        return Err(not_found(from));
    }
    let ranges = all.dirty_ranges(from).await?;
    bitmaps.mark(bitmap, &ranges).await
}

/// The bitmaps there are now.
fn show(disk: &Root) {
    let node = disk.node();
    let all = node.format().and_then(|f| f.bitmaps()).map(|b| b.list());
    let records = all.unwrap_or_default().into_iter().map(|bitmap| {
        let mut record = Dict::new();
        record.insert("name", bitmap.name);
        record.insert("granularity", bitmap.granularity);
        record.insert("recording", bitmap.enabled);
        record.insert("inconsistent", bitmap.inconsistent);
        Value::Dict(record)
    });
    cli::print_json(&Value::List(records.collect()));
}
