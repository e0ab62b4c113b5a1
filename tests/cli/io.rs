//! Transcripts of `qio` beside the real `qemu-io`: both streams, exit codes and the disk after.

use house_tests::normal::without_rates;
use house_tests::tools::our_io;
use house_tests::{Output, Scratch, Tool, qemu_io, reference, require};

/// One image, one list of commands.
struct Case {
    create: &'static [&'static str],
    args: &'static [&'static str],
    commands: &'static [&'static str],
}

const QCOW2: &[&str] = &["create", "-q", "-f", "qcow2", "t.img", "4M"];
const RAW: &[&str] = &["create", "-q", "-f", "raw", "t.img", "1M"];

const CASES: &[Case] = &[
    Case {
        create: QCOW2,
        args: &[],
        commands: &[
            "length",
            "info",
            "map",
            "write 0 64k",
            "write -P 7 100k 10k",
            "read -P 7 100k 10k",
            "read -P 8 100k 10k",
            "read -v 64k 40",
            "writev -P 1 1M 4k 8k 512",
            "readv -P 1 1M 4k 8k",
            "alloc 0",
            "alloc 0 2M",
            "map",
            "discard 0 64k",
            "flush",
            "truncate 8M",
            "length",
        ],
    },
    Case {
        create: QCOW2,
        args: &[],
        commands: &[
            "write -z 0 1M",
            "write -z -u 1M 1M",
            "write -z -n 2M 64k",
            "write -c 0 64k",
            "write -c 128k 192k",
            "write -c 0 512",
            "write -z -P 1 0 1",
            "write -u 0 1",
            "write -n 0 1",
            "write -f 0 4k",
            "read 0 3M",
            "map",
        ],
    },
    Case {
        create: QCOW2,
        args: &[],
        commands: &[
            "nonsense",
            "read",
            "read 0",
            "read x 1",
            "read 0 1 2",
            "read -X 0 1",
            "read 5M 1",
            "write 0 3G",
            "write -P 300 0 1",
            "write -s nofile 0 1",
            "read -P 1 -l 600 0 512",
            "sleep x",
            "alloc x",
            "break a b",
            "zone_report 0 1",
            "truncate -m bogus 1",
            "help nonsense",
            "abort 1",
        ],
    },
    Case {
        create: QCOW2,
        args: &[],
        commands: &[
            "aio_write -P 9 0 64k",
            "aio_flush",
            "aio_read -P 9 0 64k",
            "aio_flush",
            "aio_write -z 64k 64k",
            "aio_flush",
            "aio_write -i 0 1",
            "aio_read 9M 1",
            "aio_flush",
        ],
    },
    Case {
        create: QCOW2,
        args: &[],
        commands: &[
            "close",
            "read 0 1",
            "close",
            "open t.img",
            "open t.img",
            "read 0 512",
            "quit",
            "read 0 512",
        ],
    },
    Case {
        create: QCOW2,
        args: &["-r"],
        commands: &[
            "write 0 512",
            "discard 0 512",
            "read 0 512",
            "reopen -w",
            "write 0 512",
            "reopen -r -w",
        ],
    },
    Case {
        create: RAW,
        args: &["-f", "raw"],
        commands: &[
            "info",
            "length",
            "map",
            "write -P 3 512 1k",
            "read -P 3 512 1k",
            "write 1M 1",
            "write -c 0 64k",
        ],
    },
];

fn run(tool: &Tool, scratch: &Scratch, case: &Case) -> Output {
    let mut args = case.args.to_vec();
    for command in case.commands {
        args.extend(["-c", command]);
    }
    args.push("t.img");
    tool.run(scratch.dir(), &args)
}

#[test]
fn transcripts_are_those_of_the_reference() {
    let (img, io) = (require!(reference()), require!(qemu_io()));
    for case in CASES {
        let (theirs, mine) = (Scratch::new(), Scratch::new());
        for scratch in [&theirs, &mine] {
            img.run(scratch.dir(), case.create).ok();
        }
        let (want, got) = (run(&io, &theirs, case), run(&our_io(), &mine, case));
        got.same_as(&want, "", without_rates);
        let (a, b) = (theirs.path("t.img"), mine.path("t.img"));
        let both =
            [a.to_str(), b.to_str()].map(|path| path.expect("scratch folders have plain names"));
        img.run(theirs.dir(), &["compare", both[0], both[1]]).ok();
    }
}

#[test]
fn a_pipe_sees_a_prompt_before_each_line() {
    use std::io::Write;
    use std::process::Stdio;
    let img = require!(reference());
    let scratch = Scratch::new();
    img.run(scratch.dir(), QCOW2).ok();
    let mut child = our_io()
        .command(scratch.dir(), &["t.img"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qio starts");
    let mut input = child.stdin.take().expect("it was asked for");
    input.write_all(b"length\n\nq\n").expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "qemu-io> 4 MiB\nqemu-io> qemu-io> "
    );
}
