//! What nodes of every kind are opened with, and refused for: option strings and names, beside the reference.

use house_tests::normal::without_rates;
use house_tests::tools::our_io;
use house_tests::{Scratch, Tool, qemu_io, reference, require};

/// Option strings, and file names after `@`; one a line.
const LINES: &str = include_str!("filter_words.txt");

/// Files of settings for blkdebug.
const CONFIGS: &[(&str, &str)] = &[
    (
        "good.conf",
        "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nonce = \"on\"\n",
    ),
    ("badev.conf", "[inject-error]\nevent = \"bogus\"\n"),
    ("badsec.conf", "[bogus]\nx = \"1\"\n"),
    ("garb.conf", "garbage\n"),
    (
        "badopt.conf",
        "[inject-error]\nevent = \"read_aio\"\nfoo = \"1\"\n",
    ),
    (
        "st.conf",
        "[set-state]\nevent = \"read_aio\"\nnew_state = \"2\"\n",
    ),
    ("noev.conf", "[inject-error]\nerrno = \"5\"\n"),
    (
        "baderr.conf",
        "[inject-error]\nevent = \"read_aio\"\nerrno = \"x\"\n",
    ),
    (
        "badst.conf",
        "[inject-error]\nevent = \"read_aio\"\nstate = \"x\"\n",
    ),
    (
        "badio.conf",
        "[inject-error]\nevent = \"read_aio\"\niotype = \"bogus\"\n",
    ),
];

const COMMANDS: &[&str] = &[
    "-c",
    "write -P 7 0 64k",
    "-c",
    "read -P 7 0 64k",
    "-c",
    "discard 0 4k",
    "-c",
    "write -z 64k 64k",
    "-c",
    "flush",
    "-c",
    "info",
    "-c",
    "map",
    "-c",
    "length",
];

fn world(img: &Tool) -> Scratch {
    let scratch = Scratch::new();
    for (name, text) in CONFIGS {
        std::fs::write(scratch.path(name), text).expect("a scratch folder can be written");
    }
    for (format, name, size) in [
        ("qcow2", "t.img", "4M"),
        ("raw", "r.img", "4M"),
        ("raw", "r2.img", "4M"),
        ("raw", "r3.img", "4M"),
        ("raw", "small.img", "1M"),
        ("raw", "log.img", "1M"),
    ] {
        let create = ["create", "-q", "-f", format, name, size];
        img.run(scratch.dir(), &create).ok();
    }
    scratch
}

#[test]
fn nodes_are_opened_and_refused_as_by_the_reference() {
    let (img, io) = (require!(reference()), require!(qemu_io()));
    let (theirs, mine) = (world(&img), world(&img));
    let group = "throttle-group,id=tg,x-iops-total=100000";
    for line in LINES.lines() {
        let mut args = vec!["--object", group];
        match line.strip_prefix('@') {
            Some(name) => args.push(name),
            None => args.extend(["--image-opts", line]),
        }
        args.extend(COMMANDS);
        let want = io.run(theirs.dir(), &args);
        let got = our_io().run(mine.dir(), &args);
        got.same_as(&want, line, without_rates);
    }
}
