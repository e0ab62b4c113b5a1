//! An interrupted tool leaves nothing broken.

use std::process::{Child, Stdio};
use std::time::Duration;

use house_tests::run::until;
use house_tests::{Output, ours, require};
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::Stage;

/// Starts our tool, sends it a signal after a while, and waits for its end. `None` when it ended before.
fn interrupted(stage: &Stage, args: &[&str], after: Duration, signal: Signal) -> Option<Output> {
    let mut command = ours().command(stage.scratch.dir(), args);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("our tool can be started");
    std::thread::sleep(after);
    if child.try_wait().expect("a child can be asked").is_some() {
        return None;
    }
    kill_process(pid(&child), signal).expect("a child can be signalled");
    let ended = || child.try_wait().expect("a child can be asked");
    until(Duration::from_secs(10), ended).expect("it stops");
    // What it said does not matter; this tells what was done in failure reports.
    let mut output = ours().run(stage.scratch.dir(), &["--version"]);
    output.line = format!("ours {}, {signal:?} after {after:?}", args.join(" "));
    Some(output)
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[test]
fn interrupted_convert_leaves_no_file() {
    let stage = require!(Stage::new());
    let before = stage.names();
    for signal in [Signal::INT, Signal::TERM] {
        let args = [
            "convert",
            "-r",
            "1M",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "source.raw",
            "out.qcow2",
        ];
        let output = interrupted(&stage, &args, Duration::from_millis(700), signal)
            .expect("4 MiB at 1 MiB a second take longer");
        assert_eq!(stage.names(), before, "{}", output.line);
    }
}

#[test]
fn interrupted_commit_keeps_the_content() {
    let stage = require!(Stage::new());
    stage.theirs(&["convert", "-O", "raw", "top.qcow2", "flat.raw"]);
    for signal in [Signal::INT, Signal::KILL] {
        for ms in [50, 150, 300, 600, 900] {
            let args = ["commit", "-r", "1M", "-f", "qcow2", "top.qcow2"];
            let Some(output) = interrupted(&stage, &args, Duration::from_millis(ms), signal) else {
                continue;
            };
            stage.consistent("base.qcow2", &output);
            stage.consistent("top.qcow2", &output);
            stage.equal(("flat.raw", "raw"), ("top.qcow2", "qcow2"), &output);
        }
    }
}

#[test]
fn killed_at_any_point_leaves_at_worst_leaks() {
    let stage = require!(Stage::new());
    let seconds = stage
        .ours(&["snapshot", "-c", "first", "base.qcow2"])
        .ok()
        .wall;
    for step in 0..24_u32 {
        let name = format!("s{step}");
        let after = seconds * step / 20;
        for args in [
            &["snapshot", "-c", &name, "base.qcow2"][..],
            &["resize", "-f", "qcow2", "base.qcow2", "+1M"],
            &["snapshot", "-d", &name, "base.qcow2"],
        ] {
            if let Some(output) = interrupted(&stage, args, after, Signal::KILL) {
                stage.consistent("base.qcow2", &output);
            }
        }
    }
}
