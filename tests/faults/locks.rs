//! Image locks, both ways: ours and the reference exclude each other.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use house_tests::{Output, Tool, ours, require};

use crate::stage::Stage;

/// Keeps an image open for writing until it is dropped.
struct Holder(Child);

impl Holder {
    /// The reference's `qemu-io` with the image open.
    fn theirs(stage: &Stage, words: &[&str], image: &str) -> Self {
        let mut args = words.to_vec();
        args.extend(["-f", "qcow2", image]);
        let mut child = stage
            .io
            .command(stage.scratch.dir(), &args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-io can be started");
        let input = child.stdin.as_mut().expect("asked for");
        input.write_all(b"length\n").expect("it listens");
        let holder = Self(child);
        holder.wait_for_locks(&stage.path(image));
        holder
    }

    /// Our tool, writing for long.
    fn ours(stage: &Stage, image: &str) -> Self {
        let args = [
            "bench",
            "-w",
            "-c",
            "100000000",
            "-s",
            "512",
            "-f",
            "qcow2",
            image,
        ];
        let mut command = ours().command(stage.scratch.dir(), &args);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let holder = Self(child.expect("our tool can be started"));
        holder.wait_for_locks(&stage.path(image));
        holder
    }

    /// Waits until the kernel lists a lock of the file.
    fn wait_for_locks(&self, path: &Path) {
        use std::os::unix::fs::MetadataExt;
        let inode = format!(":{} ", path.metadata().expect("it is there").ino());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
            if locks
                .lines()
                .any(|l| l.contains(&inode) && l.contains("OFDLCK"))
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?} took no lock", self.0);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const COMMANDS: &[&[&str]] = &[
    &["info", "base.qcow2"],
    &["check", "-f", "qcow2", "base.qcow2"],
    &["check", "-r", "all", "-f", "qcow2", "base.qcow2"],
    &["snapshot", "-c", "s", "base.qcow2"],
    &["resize", "-f", "qcow2", "base.qcow2", "+1M"],
    &[
        "convert",
        "-f",
        "qcow2",
        "-O",
        "raw",
        "base.qcow2",
        "out.raw",
    ],
    &["map", "-f", "qcow2", "base.qcow2"],
    &[
        "amend",
        "-f",
        "qcow2",
        "-o",
        "lazy_refcounts=on",
        "base.qcow2",
    ],
    &["info", "-U", "base.qcow2"],
    &["map", "-U", "-f", "qcow2", "base.qcow2"],
];

fn run(tool: &Tool, stage: &Stage, args: &[&str]) -> Output {
    tool.run(stage.scratch.dir(), args)
}

#[test]
fn ours_respects_their_locks_in_the_same_words() {
    let stage = require!(Stage::new());
    for words in [&[][..], &["-r"]] {
        let _holder = Holder::theirs(&stage, words, "base.qcow2");
        for args in COMMANDS {
            let reference = run(&stage.reference, &stage, args);
            let our = run(&ours(), &stage, args);
            assert_eq!(
                our.code,
                reference.code,
                "{}\n{}",
                our.report(),
                reference.report()
            );
            // Ours adds who holds the lock.
            assert!(
                our.stderr.starts_with(reference.stderr.trim_end()),
                "{}\n{}",
                our.report(),
                reference.report()
            );
        }
    }
}

#[test]
fn ours_tells_who_holds_the_lock() {
    let stage = require!(Stage::new());
    let holder = Holder::theirs(&stage, &[], "base.qcow2");
    let output = stage.ours(&["resize", "-f", "qcow2", "base.qcow2", "+1M"]);
    assert_eq!(output.code, Some(1), "{}", output.report());
    let pid = holder.0.id().to_string();
    assert!(
        output.stderr.contains(&pid) && output.stderr.contains("qemu-io"),
        "{}",
        output.report()
    );
}

#[test]
fn theirs_respects_our_locks() {
    let stage = require!(Stage::new());
    let _holder = Holder::ours(&stage, "base.qcow2");
    for args in COMMANDS {
        let reference = run(&stage.reference, &stage, args);
        let expected = if args.contains(&"-U") {
            Some(0)
        } else {
            Some(1)
        };
        assert_eq!(reference.code, expected, "{}", reference.report());
        let our = run(&ours(), &stage, args);
        assert_eq!(our.code, expected, "{}", our.report());
    }
}

#[test]
fn a_backing_file_may_be_shared_by_readers() {
    let stage = require!(Stage::new());
    let _holder = Holder::theirs(&stage, &[], "top.qcow2");
    stage.ours(&["info", "base.qcow2"]).ok();
    stage
        .ours(&[
            "convert",
            "-f",
            "qcow2",
            "-O",
            "raw",
            "base.qcow2",
            "copy.raw",
        ])
        .ok();
    let refused = stage.ours(&["resize", "-f", "qcow2", "base.qcow2", "+1M"]);
    assert_eq!(refused.code, Some(1), "{}", refused.report());
}
