//! ENOSPC from a small file system and EFBIG from a limit on file size, swept so that they hit at each
//! write of an operation in turn.

use std::process::Command;
use std::time::Duration;

use house_tests::{Limits, Output, ours, require, run};

use crate::stage::Stage;

/// Runs our tool in a new file system of `kib`, into which `files` are copied first; what is in it after
/// comes back into the folder `after`.
fn on_small_disk(stage: &Stage, kib: u64, files: &str, args: &[&str]) -> Output {
    let script = format!(
        "set -e; rm -rf after; mkdir -p small after; \
         mount -t tmpfs -o size={kib}k none small || exit 99; \
         for f in {files}; do cp $f small/; done; cd small; \
         code=0; \"$@\" || code=$?; cp -a . ../after/; exit $code"
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script, "sh"]);
    command.arg(&ours().path).args(args);
    command
        .current_dir(stage.scratch.dir())
        .env("LC_ALL", "C.UTF-8");
    let line = format!("ours {} on a disk of {kib} KiB", args.join(" "));
    run::finish(command, line, Duration::from_secs(60))
}

/// Why a small file system cannot be had, if so.
fn small_disks() -> Result<(), String> {
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]);
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "no private file system can be mounted: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("unshare: {error}")),
    }
}

/// The operation failed in a user's words.
#[track_caller]
fn refused_clearly(output: &Output) {
    assert_eq!(output.code, Some(1), "{}", output.report());
    assert!(
        output.stderr.contains("No space left on device"),
        "{}",
        output.report()
    );
}

#[test]
fn convert_to_a_full_disk_leaves_no_half_image() {
    let stage = require!(Stage::new());
    require!(small_disks());
    for format in ["qcow2", "raw"] {
        for kib in (4360..8700).step_by(433) {
            let args = [
                "convert",
                "-f",
                "raw",
                "-O",
                format,
                "source.raw",
                "out.img",
            ];
            let output = on_small_disk(&stage, kib, "source.raw", &args);
            if output.code == Some(0) {
                stage.equal(("source.raw", "raw"), ("after/out.img", format), &output);
                continue;
            }
            refused_clearly(&output);
            stage.equal(("source.raw", "raw"), ("after/source.raw", "raw"), &output);
            let left: Vec<_> = std::fs::read_dir(stage.path("after"))
                .expect("it was made")
                .map(|e| e.expect("it can be listed").file_name())
                .collect();
            assert_eq!(left, ["source.raw"], "{}", output.report());
        }
    }
}

#[test]
fn commit_to_a_full_disk_keeps_both_images() {
    let stage = require!(Stage::new());
    require!(small_disks());
    stage.theirs(&["convert", "-O", "raw", "top.qcow2", "flat.raw"]);
    let mut failed = 0;
    for kib in (6700..8000).step_by(67) {
        let args = ["commit", "-f", "qcow2", "top.qcow2"];
        let output = on_small_disk(&stage, kib, "base.qcow2 top.qcow2", &args);
        if output.stderr.contains("cp:") {
            continue;
        }
        stage.consistent("after/base.qcow2", &output);
        stage.consistent("after/top.qcow2", &output);
        stage.equal(("flat.raw", "raw"), ("after/top.qcow2", "qcow2"), &output);
        if output.code != Some(0) {
            refused_clearly(&output);
            failed += 1;
        }
    }
    assert!(failed > 2, "the sweep missed the operation: {failed}");
}

#[test]
fn resize_and_snapshot_on_a_full_disk_keep_the_image() {
    let stage = require!(Stage::new());
    require!(small_disks());
    let image = "base.qcow2";
    for args in [
        &[
            "resize",
            "-f",
            "qcow2",
            "--preallocation",
            "falloc",
            image,
            "8M",
        ][..],
        &[
            "resize",
            "-f",
            "qcow2",
            "--preallocation",
            "full",
            image,
            "8M",
        ],
        &[
            "resize",
            "-f",
            "qcow2",
            "--preallocation",
            "metadata",
            image,
            "8M",
        ],
        &["resize", "-f", "qcow2", image, "800G"],
        &["snapshot", "-c", "one", image],
        &["amend", "-f", "qcow2", "-o", "refcount_bits=64", image],
    ] {
        for kib in (4608..5000).step_by(16).chain((5000..9000).step_by(512)) {
            let output = on_small_disk(&stage, kib, image, args);
            if output.stderr.contains("cp:") {
                continue;
            }
            stage.consistent("after/base.qcow2", &output);
            stage.equal((image, "qcow2"), ("after/base.qcow2", "qcow2"), &output);
            if output.code != Some(0) {
                assert_eq!(output.code, Some(1), "{}", output.report());
                assert!(
                    output.stderr.contains("No space left"),
                    "{}",
                    output.report()
                );
            }
        }
    }
}

#[test]
fn a_limit_on_file_size_is_an_error_like_others() {
    let stage = require!(Stage::new());
    let good = std::fs::read(stage.path("base.qcow2")).expect("just made");
    let length = good.len() as u64;
    for args in [
        &["commit", "-f", "qcow2", "top.qcow2"][..],
        &[
            "resize",
            "-f",
            "qcow2",
            "--preallocation",
            "full",
            "base.qcow2",
            "8M",
        ],
        &["snapshot", "-c", "one", "base.qcow2"],
    ] {
        for more in (0..20).map(|n| n * 37_000) {
            std::fs::write(stage.path("base.qcow2"), &good).expect("a scratch file");
            let limits = Limits {
                file_size: Some(length + more),
                ..Limits::default()
            };
            let output = ours().run_limited(stage.scratch.dir(), args, limits);
            stage.consistent("base.qcow2", &output);
            if output.code != Some(0) {
                assert_eq!(output.code, Some(1), "{}", output.report());
                assert!(
                    output.stderr.contains("File too large"),
                    "{}",
                    output.report()
                );
            }
        }
    }
}
