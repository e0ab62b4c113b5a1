//! `create`: makes an image.

use block::{CreateSpec, Flags, Layer, Session};
use clap::ArgMatches;
use qapi::out;
use qapi::{Dict, Error, OptionDesc, OptionKind, Value};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, flag, value};
use crate::{number, options};

pub(super) const COMMAND: Command = Command {
    name: "create",
    light: true,
    about: "Create and format a new image file",
    operands: "FILENAME [SIZE]",
    examples: &[
        ("create -f qcow2 disk.qcow2 20G", "an empty disk of 20 GiB"),
        (
            "create -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2",
            "a disk that starts as base.qcow2",
        ),
        ("create -f qcow2 -o help", "list the format's options"),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

fn args(command: clap::Command) -> clap::Command {
    command
        .arg(value("format", 'f', "format of the new image (raw)"))
        .arg(cli::options("options of the format; 'help' lists them"))
        .arg(value(
            "backing",
            'b',
            "make the image an overlay of this file",
        ))
        .arg(value("backing-format", 'F', "format of the backing file"))
        .arg(flag("backing-unsafe", 'u', "do not open the backing file"))
        .arg(flag("quiet", 'q', "quiet operation"))
        .arg(cli::object())
        .arg(cli::operands())
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let format = args.text("format").unwrap_or("raw");
    let text = options::joined(&args)?;
    let names = args.all("operands");
    let mut names = names.iter();
    let filename = names.next();
    if options::wants_help(text.as_deref()) {
        options::print_create_help(format, filename.map(String::as_str))?;
        return Ok(0);
    }
    let Some(filename) = filename else {
        return Err(Failure::Usage("Expecting image file name".to_owned()));
    };
    let size = match names.next() {
        Some(size) => Some(number::parse("image size", size, number::ANY)?),
        None => None,
    };
    if let Some(extra) = names.next() {
        return Err(Failure::Usage(format!("Unexpected argument: {extra}")));
    }
    let session = args.session()?;
    make(&args, &session, format, filename, text.as_deref(), size)
        .await
        .map_err(|e| e.prefix(format!("{filename}: ")))?;
    Ok(0)
}

async fn make(
    args: &Args,
    session: &Session,
    format: &str,
    filename: &str,
    text: Option<&str>,
    size: Option<u64>,
) -> qapi::Result<()> {
    let known = block::create_options(format, Some(filename))?;
    let mut options = options::read(&known, text)?;
    if let Some(size) = size {
        if options.get("size").is_some() {
            return Err(Error::new("The image size must be specified only once"));
        }
        options.insert("size", size);
    }
    set_backing(args, &known, format, &mut options)?;
    check_backing(session, filename, args.has("backing-unsafe"), &mut options).await?;
    if options.get("size").is_none() {
        return Err(Error::new("Image creation needs a size parameter"));
    }
    if args.json() {
        let mut record = Dict::new();
        record.insert("filename", filename);
        record.insert("format", format);
        record.insert("options", options.clone());
        cli::print_json(&record.into());
    } else if !args.has("quiet") {
        out::line(format!(
            "Formatting '{filename}', fmt={format}{}",
            shown(&known, &options)
        ));
        // Before what may fail.
        out::flush();
    }
    let spec = CreateSpec {
        format,
        filename,
        options: &options,
    };
    block::create(session, spec).await
}

/// `-b` and `-F` are the format's options of those meanings.
fn set_backing(
    args: &Args,
    known: &[OptionDesc],
    format: &str,
    options: &mut Dict,
) -> qapi::Result<()> {
    let both = [
        ("backing", "backing_file", "Backing file"),
        ("backing-format", "backing_fmt", "Backing file format"),
    ];
    for (id, name, what) in both {
        if let Some(text) = args.text(id) {
            if !known.iter().any(|o| o.name == name) {
                return Err(Error::new(format!(
                    "{what} not supported for file format '{format}'"
                )));
            }
            options.insert(name, text);
        }
    }
    Ok(())
}

/// Looks at the backing file, and takes the size from it when none is given.
async fn check_backing(
    session: &Session,
    filename: &str,
    unopened: bool,
    options: &mut Dict,
) -> qapi::Result<()> {
    let Some(backing) = options.get_str("backing_file").map(str::to_owned) else {
        return Ok(());
    };
    if backing == filename {
        return Err(Error::new(
            "Error: Trying to create an image with the same filename as the backing file",
        ));
    }
    if backing.is_empty() {
        return Err(Error::new("Expected backing file name, got empty string"));
    }
    let format = options.get_str("backing_fmt").map(str::to_owned);
    let no_format = || Error::new("Backing file specified without backing format");
    if unopened {
        return if format.is_some() {
            Ok(())
        } else {
            Err(no_format())
        };
    }
    let path = block::beside(filename, &backing);
    let layer = Layer::Name(&path, format.as_deref());
    // Only its length is asked for: an encrypted image opens without its secret then.
    let flags = Flags {
        no_io: true,
        ..Flags::default()
    };
    let root = session
        .open(layer, flags)
        .await
        .map_err(|e| could_not_open(e, &path))?;
    if format.is_none() {
        return Err(no_format().hint(format!("Detected format of {}.", root.node().driver())));
    }
    if options.get("size").is_none() {
        let length = root
            .length()
            .map_err(|e| Error::from_io(format!("Could not get size of '{path}'"), &e))?;
        options.insert("size", length.next_multiple_of(512));
    }
    Ok(())
}

fn could_not_open(error: Error, path: &str) -> Error {
    let hint = match error.hint_text() {
        Some(hint) => format!("{hint}\nCould not open backing image."),
        None => "Could not open backing image.".to_owned(),
    };
    let error = if error.message().starts_with("Could not open")
        || error.message().starts_with("Unknown")
    {
        error
    } else {
        error.prefix(format!("Could not open '{path}': "))
    };
    error.hint(hint)
}

/// The options as `NAME=VALUE` words, in the order in which the format declares them.
fn shown(known: &[OptionDesc], options: &Dict) -> String {
    let mut out = String::new();
    for option in known {
        let text = match (options.get(option.name), option.default) {
            (Some(Value::Str(text)), _) => text.replace(',', ",,"),
            (Some(Value::Bool(on)), _) => if *on { "on" } else { "off" }.to_owned(),
            (Some(value), _) => qapi::json::compact(value),
            (None, Some(default)) if option.kind != OptionKind::Str => default.to_owned(),
            (None, Some(default)) => default.replace(',', ",,"),
            (None, None) => continue,
        };
        out.push_str(&format!(" {}={text}", option.name));
    }
    out
}
