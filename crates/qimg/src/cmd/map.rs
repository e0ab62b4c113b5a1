//! `map`: which parts of a disk lie where.

use block::jobs::{MapEntry, MapWalk};
use clap::{Arg, ArgMatches};
use qapi::{Error, out};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, Output, flag, value};
use crate::number;
use crate::options::to_look;

pub(super) const COMMAND: Command = Command {
    name: "map",
    light: true,
    about: "Dump the metadata of the image: what lies where",
    operands: "FILENAME",
    examples: &[
        ("map disk.qcow2", "where its data lies"),
        (
            "map --output=json disk.qcow2",
            "the same for programs, zeroes and holes too",
        ),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

fn args(command: clap::Command) -> clap::Command {
    let long = |id: &'static str| Arg::new(id).long(id);
    command
        .arg(value(
            "format",
            'f',
            "specify FILENAME image format explicitly",
        ))
        .arg(cli::image_opts())
        .arg(
            long("start-offset")
                .short('s')
                .value_name("OFFSET")
                .help("first byte shown"),
        )
        .arg(
            long("max-length")
                .short('l')
                .value_name("LENGTH")
                .help("bytes shown at most"),
        )
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
    let bound = |id: &str, noun: &str| match args.text(id) {
        Some(text) => number::parse(noun, text, number::ANY).map(Some),
        None => Ok(None),
    };
    let start = bound("start-offset", "start offset")?.unwrap_or(0);
    let max = bound("max-length", "max length")?;
    let names = args.all("operands");
    let [name] = names.as_slice() else {
        return Err(Failure::Usage("Expecting one image file name".to_owned()));
    };
    args.check_format("format")?;
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let disk = cli::open(&args.session()?, name, format, image_opts, to_look(&args)).await?;
    let failed = |e: std::io::Error| Error::from_io("Failed to read image metadata", &e);
    let end = max.map_or(u64::MAX, |max| start.saturating_add(max));
    let mut walk = MapWalk::new(&disk, start, end).map_err(failed)?;
    let mut printer = Printer::new(output);
    printer.begin();
    while let Some(entry) = walk.next().await.map_err(failed)? {
        printer.entry(&entry)?;
    }
    printer.end(start);
    Ok(0)
}

struct Printer {
    output: Output,
    first: bool,
}

/// `%#-16x`: zero has no prefix.
fn hex(value: u64) -> String {
    if value == 0 {
        "0".to_owned()
    } else {
        format!("{value:#x}")
    }
}

impl Printer {
    fn new(output: Output) -> Self {
        Self {
            output,
            first: true,
        }
    }

    fn begin(&self) {
        match self.output {
            Output::Human => out::line(format!(
                "{:<16}{:<16}{:<16}File",
                "Offset", "Length", "Mapped to"
            )),
            Output::Json => out::text("["),
        }
    }

    /// Ends what began at `start`: where there is nothing, that is said too.
    fn end(&self, start: u64) {
        if self.output == Output::Json {
            if self.first {
                out::text(&format!(
                    "{{ \"start\": {start}, \"length\": 0, \"depth\": 0, \"present\": false, \"zero\": false, \
                     \"data\": false, \"compressed\": false}}"
                ));
            }
            out::line("]");
        }
    }

    fn entry(&mut self, entry: &MapEntry) -> qapi::Result<()> {
        match self.output {
            Output::Human => human(entry),
            Output::Json => {
                self.json(entry);
                Ok(())
            }
        }
    }

    fn json(&mut self, entry: &MapEntry) {
        let status = &entry.status;
        let comma = if std::mem::take(&mut self.first) {
            ""
        } else {
            ",\n"
        };
        let offset = match &status.at {
            Some((at, _)) => format!(", \"offset\": {at}"),
            None => String::new(),
        };
        out::text(&format!(
            "{comma}{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"present\": {}, \"zero\": {}, \"data\": {}, \
             \"compressed\": {}{offset}}}",
            entry.start,
            status.len,
            status.depth,
            status.allocated,
            status.zero,
            status.data,
            status.compressed
        ));
    }
}

fn human(entry: &MapEntry) -> qapi::Result<()> {
    let status = &entry.status;
    if !status.data {
        return Ok(());
    }
    let Some((at, leaf)) = &status.at else {
        return Err(Error::new(
            "File contains external, encrypted or compressed clusters.",
        ));
    };
    if !status.zero {
        out::line(format!(
            "{:<16}{:<16}{:<16}{}",
            hex(entry.start),
            hex(status.len),
            hex(*at),
            leaf.filename()
        ));
    }
    Ok(())
}
