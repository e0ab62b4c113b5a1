//! `info`: what an image is.

use block::{ImageInfo, Layer};
use clap::{Arg, ArgAction, ArgMatches};
use qapi::out;
use qapi::{Dict, Value, format_size, json};

use super::{Command, snapshot};
use crate::cli::{self, Args, Failure, Outcome, Output, flag, value};
use crate::options::to_look;

pub(super) const COMMAND: Command = Command {
    name: "info",
    light: true,
    about: "Display information about the image",
    operands: "FILENAME",
    examples: &[
        ("info disk.qcow2", "what it is"),
        (
            "info --backing-chain --output=json disk.qcow2",
            "all files it stands on, for programs",
        ),
        (
            "info --explain disk.vmdk",
            "and in plain words what the other program's format does there",
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
        .arg(flag(
            "backing-chain",
            'b',
            "show all images of the backing chain",
        ))
        .arg(flag(
            "force-share",
            'U',
            "open image in shared mode for concurrent access",
        ))
        .arg(
            Arg::new("explain")
                .long("explain")
                .action(ArgAction::SetTrue)
                .help("also say in plain words what an image of another program uses"),
        )
        .arg(cli::output())
        .arg(cli::object())
        .arg(cli::operands())
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let output = args.output()?;
    let names = args.all("operands");
    let [name] = names.as_slice() else {
        return Err(Failure::Usage("Expecting one image file name".to_owned()));
    };
    args.check_format("format")?;
    let layer = if args.has("image-opts") {
        Layer::Options(name)
    } else {
        Layer::Name(name, args.text("format"))
    };
    let chain = args.has("backing-chain");
    let found = block::info(&args.session()?, layer, to_look(&args), chain).await?;
    let explain = args.has("explain");
    let record = |info: &ImageInfo| Value::Dict(record(info, explain));
    match output {
        Output::Json if chain => cli::print_json(&Value::List(found.iter().map(record).collect())),
        Output::Json => {
            for info in &found {
                cli::print_json(&record(info));
            }
        }
        Output::Human => {
            let all: Vec<String> = found.iter().map(|info| human(info, explain)).collect();
            out::text(&all.join("\n"));
        }
    }
    Ok(0)
}

/// `1.5 GiB (1610612736 bytes)`
fn size(bytes: u64) -> String {
    format!("{} ({bytes} bytes)", format_size(bytes))
}

fn disk_size(info: &ImageInfo) -> String {
    info.actual_size
        .map_or_else(|| "unavailable".to_owned(), format_size)
}

/// The record for programs.
fn record(info: &ImageInfo, explain: bool) -> Dict {
    let mut record = info.to_dict();
    if explain {
        let uses = info.uses.iter().map(|line| Value::from(line.as_str()));
        record.insert("uses", Value::List(uses.collect()));
    }
    record
}

fn human(info: &ImageInfo, explain: bool) -> String {
    let mut out = String::new();
    image(info, "/", &mut out);
    if explain && !info.uses.is_empty() {
        out.push_str("What it uses:\n");
        for line in &info.uses {
            out.push_str(&format!("    {line}\n"));
        }
    }
    out
}

fn image(info: &ImageInfo, path: &str, out: &mut String) {
    let is_file = path != "/" && block::find_protocol(&info.format).is_some();
    let (name, driver, length) = if is_file {
        ("filename", "protocol type", "file length")
    } else {
        ("image", "file format", "virtual size")
    };
    out.push_str(&format!(
        "{name}: {}\n{driver}: {}\n{length}: {}\ndisk size: {}\n",
        info.filename,
        info.format,
        size(info.virtual_size),
        disk_size(info)
    ));
    common(info, out);
    for (name, child) in &info.children {
        let path = format!("{path}{name}");
        out.push_str(&format!("Child node '{path}':\n"));
        let mut text = String::new();
        image(child, &format!("{path}/"), &mut text);
        for line in text.lines() {
            out.push_str(&format!("    {line}\n"));
        }
    }
}

/// What images and their children have in common.
fn common(info: &ImageInfo, out: &mut String) {
    if info.encrypted {
        out.push_str("encrypted: yes\n");
    }
    if let Some(cluster) = info.cluster_size {
        out.push_str(&format!("cluster_size: {cluster}\n"));
    }
    if info.dirty == Some(true) {
        out.push_str("cleanly shut down: no\n");
    }
    if let Some((link, full)) = &info.backing {
        out.push_str(&format!("backing file: {}", link.file));
        match full {
            None => out.push_str(" (cannot determine actual path)"),
            Some(full) if *full != link.file => {
                out.push_str(&format!(" (actual path: {full})"));
            }
            Some(_) => {}
        }
        out.push('\n');
        if let Some(format) = link.format.as_deref().filter(|f| !f.is_empty()) {
            out.push_str(&format!("backing file format: {format}\n"));
        }
    }
    if !info.snapshots.is_empty() {
        out.push_str("Snapshot list:\n");
        out.push_str(&snapshot::table(&info.snapshots));
    }
    if let Some(specific) = info.specific.as_ref().filter(|s| !s.is_empty()) {
        out.push_str("Format specific information:\n");
        json::human_tree(specific, 1, out);
    }
}
