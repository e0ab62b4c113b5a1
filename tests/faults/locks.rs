//! Image locks, both ways: ours and the reference exclude each other.

use house_tests::tools::our_io;
use house_tests::{Output, Tool, ours, require};

use crate::holder::{Holder, same_answer};
use crate::stage::Stage;

/// An io tool with a qcow2 image open.
fn hold(io: &Tool, stage: &Stage, mode: &[&str], image: &str) -> Holder {
    Holder::new(io, &stage.scratch, mode, &["-f", "qcow2", image])
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
        let _holder = hold(&stage.io, &stage, words, "base.qcow2");
        for args in COMMANDS {
            let reference = run(&stage.reference, &stage, args);
            let our = run(&ours(), &stage, args);
            same_answer(&our, &reference, "");
        }
    }
}

#[test]
fn ours_tells_who_holds_the_lock() {
    let stage = require!(Stage::new());
    let holder = hold(&stage.io, &stage, &[], "base.qcow2");
    let output = stage.ours(&["resize", "-f", "qcow2", "base.qcow2", "+1M"]);
    assert_eq!(output.code, Some(1), "{}", output.report());
    let pid = holder.id().to_string();
    assert!(
        output.stderr.contains(&pid) && output.stderr.contains("qemu-io"),
        "{}",
        output.report()
    );
}

#[test]
fn theirs_respects_our_locks() {
    let stage = require!(Stage::new());
    let _holder = hold(&our_io(), &stage, &[], "base.qcow2");
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
    let _holder = hold(&stage.io, &stage, &[], "top.qcow2");
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
