//! `-T`: logs of what happens inside. Their lines are our own; what is said of the words is the reference's.

use std::process::Stdio;
use std::time::Duration;

use house_tests::run::until;
use house_tests::tools::our_io;
use house_tests::{Scratch, qemu_io, reference, require};

/// A folder with a small image in it.
fn folder() -> Result<Scratch, String> {
    let dir = Scratch::new();
    let create = ["create", "-q", "-f", "qcow2", "t.qcow2", "1M"];
    reference()?.run(dir.dir(), &create).ok();
    Ok(dir)
}

#[test]
fn unknown_events_are_told_as_by_the_reference() {
    let dir = require!(folder());
    let io = require!(qemu_io());
    for args in [
        &["-T", "lunch", "-f", "qcow2", "-c", "length", "t.qcow2"][..],
        &["--trace", "enable=lunch", "-c", "length", "t.qcow2"],
        &["--trace=lunch*", "-c", "length", "t.qcow2"],
    ] {
        let theirs = io.run(dir.dir(), args);
        let ours = our_io().run(dir.dir(), args);
        ours.same_as(&theirs, "the same words", str::to_owned);
    }
}

/// Tables that nobody uses are dropped as often as `cache-clean-interval` says, and the log that `-T` names tells so.
#[test]
fn what_happens_inside_goes_to_the_file_that_is_named() {
    let dir = require!(folder());
    let image = "driver=qcow2,cache-clean-interval=1,file.filename=t.qcow2";
    let trace = "enable=block_formats=debug,file=log";
    let mut command = our_io().command(dir.dir(), &["-T", trace, "--image-opts", image]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("qio starts");
    let told = until(Duration::from_secs(60), || {
        let log = std::fs::read_to_string(dir.path("log")).ok()?;
        log.contains("unused tables are dropped").then_some(())
    });
    // Its input ends here.
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    assert!(told.is_some());
}
