//! Errors of the device under an image: EIO and ENOSPC at each write, and at the flush behind each, of an operation in turn,
//! put in by the `blkdebug` driver. Once as an error that passes, once as one that stays.

use house_tests::{Output, require};

use crate::stage::Stage;

/// Operations have fewer requests of a kind than this.
const MOST: usize = 400;

/// So many writes are tried with a flush that fails.
const FLUSHES: usize = 12;

/// An operation on images under which the device fails.
struct Work<'a> {
    name: &'a str,
    /// Its words; `DISK` is the image with the device under it.
    args: &'a [&'a str],
    /// The image, which must stay consistent and show what `content` does.
    image: &'a str,
    content: Content<'a>,
}

/// What a guest may see after an operation that failed.
enum Content<'a> {
    /// What this image shows.
    Equal(&'a str),
    /// Anything: it was to be overwritten.
    Any,
}

/// What goes wrong.
#[derive(Clone, Copy)]
struct Fault {
    /// Kind of request that fails, from some write on.
    iotype: &'static str,
    errno: u32,
    once: bool,
}

const FAULTS: &[Fault] = &[
    Fault {
        iotype: "write",
        errno: 5,
        once: true,
    },
    Fault {
        iotype: "write",
        errno: 28,
        once: false,
    },
    Fault {
        iotype: "flush",
        errno: 5,
        once: true,
    },
    Fault {
        iotype: "flush",
        errno: 5,
        once: false,
    },
];

impl Fault {
    fn words(self) -> &'static str {
        match self.errno {
            28 => "No space left on device",
            _ => "Input/output error",
        }
    }

    /// Rules that let some events pass before the error.
    fn rules(self, passed: usize) -> String {
        let mut text = String::new();
        for state in 1..=passed {
            let next = state + 1;
            text.push_str(&format!(
                "[set-state]\nevent = \"pwritev\"\nstate = \"{state}\"\nnew_state = \"{next}\"\n"
            ));
        }
        let (state, errno, iotype) = (passed + 1, self.errno, self.iotype);
        let once = if self.once { "on" } else { "off" };
        text.push_str(&format!(
            "[inject-error]\nevent = \"pwritev\"\nstate = \"{state}\"\nerrno = \"{errno}\"\nonce = \"{once}\"\niotype = \"{iotype}\"\n"
        ));
        text
    }
}

/// Lets each request fail in turn. How many runs failed.
fn sweep(stage: &Stage, work: &Work<'_>, fault: Fault) -> usize {
    let good: Vec<_> = stage
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".qcow2"))
        .map(|name| (std::fs::read(stage.path(&name)).expect("it is there"), name))
        .collect();
    let restore = || {
        for (bytes, name) in &good {
            std::fs::write(stage.path(name), bytes).expect("a scratch file");
        }
    };
    let mut failed = 0;
    // Packed clusters are many writes, all alike.
    for passed in (0..24).chain((24..MOST).step_by(7)) {
        restore();
        std::fs::write(stage.path("rules"), fault.rules(passed)).expect("a scratch file");
        let output = stage.ours(work.args);
        check(stage, work, fault, &output);
        let quiet = output.code == Some(0) && output.stderr.is_empty();
        failed += usize::from(!quiet);
        // Past the end of the operation nothing happens any more. Not every write has a flush behind it.
        if quiet && (fault.iotype == "write" || passed > FLUSHES) {
            break;
        }
        assert!(passed + 7 < MOST, "{} does not end", work.name);
    }
    restore();
    failed
}

/// The failure is told, the image holds together, and nothing else was touched.
fn check(stage: &Stage, work: &Work<'_>, fault: Fault, output: &Output) {
    // Some requests are only help; that one of them failed is told, or nobody's loss.
    if output.code != Some(0) {
        assert_eq!(output.code, Some(1), "{}", output.report());
        let told = output.stderr.contains(fault.words());
        assert!(told, "{}: {}", work.name, output.report());
    }
    stage.consistent(work.image, output);
    if let Content::Equal(other) = work.content {
        stage.equal((work.image, "qcow2"), (other, "qcow2"), output);
    }
    stage.equal(("source.raw", "raw"), ("kept.raw", "raw"), output);
}

fn run(works: &[Work<'_>], prepare: impl Fn(&Stage)) {
    let stage = require!(Stage::new());
    std::fs::copy(stage.path("source.raw"), stage.path("kept.raw")).expect("a scratch file");
    prepare(&stage);
    for work in works {
        let failed: Vec<usize> = FAULTS.iter().map(|f| sweep(&stage, work, *f)).collect();
        eprintln!("{}: {failed:?} runs failed", work.name);
        assert!(failed[0] > 0, "the sweep missed {}", work.name);
    }
}

#[test]
fn convert_tells_of_every_error_and_keeps_its_source() {
    let args = &[
        "convert",
        "-n",
        "-f",
        "raw",
        "-O",
        "qcow2",
        "source.raw",
        "blkdebug:rules:out.qcow2",
    ];
    let packed = &[
        "convert",
        "-n",
        "-c",
        "-f",
        "raw",
        "-O",
        "qcow2",
        "source.raw",
        "blkdebug:rules:out.qcow2",
    ];
    let work = |name, args| Work {
        name,
        args,
        image: "out.qcow2",
        content: Content::Any,
    };
    run(
        &[work("convert", args), work("convert -c", packed)],
        |stage| {
            stage.theirs(&["create", "-q", "-f", "qcow2", "out.qcow2", "4M"]);
        },
    );
}

#[test]
fn commit_to_a_bad_device_loses_nothing() {
    let top = "driver=qcow2,file.filename=top.qcow2,backing.driver=qcow2,backing.file.driver=blkdebug,\
               backing.file.config=rules,backing.file.image.filename=base.qcow2";
    let from = "driver=qcow2,file.driver=blkdebug,file.config=rules,file.image.filename=top.qcow2";
    let base_fails = &["commit", "--image-opts", top];
    let top_fails = &["commit", "--image-opts", from];
    run(
        &[
            // The top keeps all that it had, so the base may hold any of the two.
            Work {
                name: "commit, base fails",
                args: base_fails,
                image: "base.qcow2",
                content: Content::Any,
            },
            Work {
                name: "commit, top fails",
                args: top_fails,
                image: "top.qcow2",
                content: Content::Equal("before.qcow2"),
            },
        ],
        |stage| {
            stage.theirs(&["convert", "-O", "qcow2", "top.qcow2", "before.qcow2"]);
        },
    );
}

#[test]
fn resize_snapshot_and_amend_keep_what_the_guest_sees() {
    const DISK: &str = "blkdebug:rules:disk.qcow2";
    let works = [
        &["resize", "-f", "qcow2", DISK, "800G"][..],
        &[
            "resize",
            "-f",
            "qcow2",
            "--preallocation",
            "metadata",
            DISK,
            "8M",
        ],
        &["resize", "-f", "qcow2", "--shrink", DISK, "5632K"],
        &["snapshot", "-c", "two", DISK],
        &["snapshot", "-d", "one", DISK],
        &["amend", "-f", "qcow2", "-o", "refcount_bits=64", DISK],
    ];
    let works: Vec<Work<'_>> = works
        .into_iter()
        .map(|args| Work {
            name: args[0],
            args,
            image: "disk.qcow2",
            content: Content::Equal("before.qcow2"),
        })
        .collect();
    run(&works, |stage| {
        stage.theirs(&["convert", "-O", "qcow2", "top.qcow2", "disk.qcow2"]);
        stage.theirs(&["snapshot", "-c", "one", "disk.qcow2"]);
        stage.write("disk.qcow2", "qcow2", &["write -P 5 3M 300k"]);
        stage.theirs(&["convert", "-O", "qcow2", "disk.qcow2", "before.qcow2"]);
    });
}

#[test]
fn convert_to_small_clusters_tells_of_every_error() {
    let work = Work {
        name: "convert to small clusters",
        args: &[
            "convert",
            "-n",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "-C",
            "source.raw",
            "blkdebug:rules:out.qcow2",
        ],
        image: "out.qcow2",
        content: Content::Any,
    };
    run(&[work], |stage| {
        let options = "cluster_size=4k,extended_l2=off,refcount_bits=1";
        let args = [
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            options,
            "out.qcow2",
            "4M",
        ];
        stage.theirs(&args);
    });
}
