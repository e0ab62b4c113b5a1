//! `check`: whether an image is consistent, and its repair.

use qapi::out;
use std::sync::Arc;

use block::core::{CheckReport, CheckRequest, Fix};
use block::{CacheMode, Flags, Node, Root};
use clap::ArgMatches;
use qapi::{Dict, Error, report};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, Output, flag, value};

pub(super) const COMMAND: Command = Command {
    name: "check",
    light: false,
    about: "Check basic image integrity",
    operands: "FILENAME",
    examples: &[
        ("check disk.qcow2", "look for leaks and errors"),
        ("check -r all disk.qcow2", "repair what is found"),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

const ENOTSUP: i32 = 95;

/// Exit code when the format has nothing to check.
const UNSUPPORTED: u8 = 63;

fn args(command: clap::Command) -> clap::Command {
    command
        .arg(value(
            "format",
            'f',
            "specify FILENAME image format explicitly",
        ))
        .arg(cli::image_opts())
        .arg(value("cache", 'T', "image cache mode (writeback)"))
        .arg(value("repair", 'r', "repair 'leaks' or 'all'"))
        .arg(flag(
            "force-share",
            'U',
            "open image in shared mode for concurrent access",
        ))
        .arg(flag("quiet", 'q', "quiet operation"))
        .arg(cli::output())
        .arg(cli::object())
        .arg(cli::operands())
}

fn fix(args: &Args) -> Result<Fix, Failure> {
    let fix = |leaks, errors| Ok(Fix { leaks, errors });
    match args.text("repair") {
        None => fix(false, false),
        Some("leaks") => fix(true, false),
        Some("all") => fix(true, true),
        Some(other) => Err(Failure::Usage(format!(
            "--repair (-r) expects 'leaks' or 'all' not '{other}'"
        ))),
    }
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let fix = fix(&args)?;
    let output = args.output()?;
    let names = args.all("operands");
    let [name] = names.as_slice() else {
        return Err(Failure::Usage("Expecting one image file name".to_owned()));
    };
    args.check_format("format")?;
    let writable = fix != Fix::default();
    let flags = Flags {
        writable,
        cache: cli::cache(
            args.text("cache"),
            CacheMode::Writeback,
            "Invalid source cache option",
        )?,
        force_share: args.has("force-share"),
        check_only: true,
        ..Flags::default()
    };
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let disk = cli::open(&args.session()?, name, format, image_opts, flags).await?;
    let quiet = args.has("quiet");
    let mut report = match check(&disk, fix, quiet).await {
        // The format cannot, or cannot repair.
        Err(error) if error.errno_value() == Some(ENOTSUP) => {
            report(&Error::new("This image format does not support checks"));
            return Err(Failure::Told(UNSUPPORTED));
        }
        checked => checked?,
    };
    let (fixed, fixed_leaks) = (report.corruptions_fixed, report.leaks_fixed);
    if fixed > 0 || fixed_leaks > 0 {
        if !quiet && output == Output::Human {
            out::line(format!(
                "The following inconsistencies were found and repaired:\n\n    \
                 {fixed_leaks} leaked clusters\n    {fixed} corruptions\n\n\
                 Double checking the fixed image now..."
            ));
        }
        report = check(&disk, Fix::default(), quiet).await?;
        (report.corruptions_fixed, report.leaks_fixed) = (fixed, fixed_leaks);
    }
    match output {
        Output::Human if quiet => {}
        Output::Human => out::text(&human(&report)),
        Output::Json => cli::print_json(&record(name, &disk.node(), &report).into()),
    }
    if writable {
        cli::close(&disk).await?;
    }
    if report.check_errors > 0 {
        return Err(Error::new("Check failed").into());
    }
    Ok(code(&report))
}

async fn check(disk: &Arc<Root>, fix: Fix, quiet: bool) -> qapi::Result<CheckReport> {
    let node = disk.node();
    let Some(format) = node.format().and_then(|f| f.check()) else {
        return Err(Error::new("This image format does not support checks").errno(ENOTSUP));
    };
    let mut detail = |line: &str| {
        if !quiet {
            eprintln!("{line}");
        }
    };
    let drained = disk.drain().await;
    let request = CheckRequest {
        fix,
        detail: &mut detail,
    };
    let found = format.check(request).await;
    drop(drained);
    found
}

fn code(report: &CheckReport) -> u8 {
    match report {
        CheckReport {
            corruptions: 1.., ..
        } => 2,
        CheckReport { leaks: 1.., .. } => 3,
        _ => 0,
    }
}

fn human(report: &CheckReport) -> String {
    let mut out = String::new();
    if report.corruptions == 0 && report.leaks == 0 && report.check_errors == 0 {
        out.push_str("No errors were found on the image.\n");
    } else {
        if report.corruptions > 0 {
            out.push_str(&format!(
                "\n{} errors were found on the image.\n\
                 Data may be corrupted, or further writes to the image may corrupt it.\n",
                report.corruptions
            ));
        }
        if report.leaks > 0 {
            out.push_str(&format!(
                "\n{} leaked clusters were found on the image.\n\
                 This means waste of disk space, but no harm to data.\n",
                report.leaks
            ));
        }
        if report.check_errors > 0 {
            out.push_str(&format!(
                "\n{} internal errors have occurred during the check.\n",
                report.check_errors
            ));
        }
    }
    if report.total_clusters != 0 && report.allocated_clusters != 0 {
        let share = |part, whole| percent(part, whole);
        out.push_str(&format!(
            "{}/{} = {:.2}% allocated, {:.2}% fragmented, {:.2}% compressed clusters\n",
            report.allocated_clusters,
            report.total_clusters,
            share(report.allocated_clusters, report.total_clusters),
            share(report.fragmented_clusters, report.allocated_clusters),
            share(report.compressed_clusters, report.allocated_clusters)
        ));
    }
    if report.image_end_offset > 0 {
        out.push_str(&format!("Image end offset: {}\n", report.image_end_offset));
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

fn record(name: &str, node: &Node, report: &CheckReport) -> Dict {
    let mut out = Dict::new();
    out.insert("filename", name);
    out.insert("format", node.driver());
    out.insert("check-errors", report.check_errors);
    let optional = [
        ("corruptions", report.corruptions),
        ("leaks", report.leaks),
        ("corruptions-fixed", report.corruptions_fixed),
        ("leaks-fixed", report.leaks_fixed),
        ("image-end-offset", report.image_end_offset),
        ("total-clusters", report.total_clusters),
        ("allocated-clusters", report.allocated_clusters),
        ("fragmented-clusters", report.fragmented_clusters),
        ("compressed-clusters", report.compressed_clusters),
    ];
    for (key, value) in optional {
        if value != 0 {
            out.insert(key, value);
        }
    }
    out
}
