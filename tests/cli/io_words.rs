//! Every command of `qio` with right and wrong words beside the real `qemu-io`: both streams, exit codes, the disk.
//!
//! Each line is a process of its own over one disk that both tools keep, followed by `length`, which tells when
//! requests in the background are heard of.

use std::io::Write;
use std::process::Stdio;

use house_tests::normal::without_rates;
use house_tests::tools::our_io;
use house_tests::{Scratch, Tool, qemu_io, reference, require};

/// What is run, one command a line.
const LINES: &str = include_str!("io_words.txt");

/// Times and rates are nobody's business, and neither are the numbers of nodes.
fn normal(text: &str) -> String {
    let mut out = String::new();
    for line in without_rates(text).lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let shown = match fields.as_slice() {
            // The line for machines.
            [bytes, "1", _, _, _] => format!("{bytes},1"),
            _ => line.to_owned(),
        };
        let shown = match shown.split_once("node '#block") {
            Some((before, after)) => format!(
                "{before}node N{}",
                after.trim_start_matches(|c: char| c.is_ascii_digit())
            ),
            None => shown,
        };
        out.push_str(&shown);
        out.push('\n');
    }
    out
}

/// A folder with a disk and the files that the lines name.
fn world(img: &Tool) -> Scratch {
    let scratch = Scratch::new();
    let create = ["create", "-q", "-f", "qcow2", "t.img", "4M"];
    img.run(scratch.dir(), &create).ok();
    std::fs::write(scratch.path("pat"), "abc").expect("a scratch folder can be written");
    std::fs::write(scratch.path("empty"), "").expect("a scratch folder can be written");
    scratch
}

#[test]
fn commands_take_and_refuse_the_words_of_the_reference() {
    let (img, io) = (require!(reference()), require!(qemu_io()));
    let (theirs, mine) = (world(&img), world(&img));
    for line in LINES.lines() {
        let args = ["-f", "qcow2", "-c", line, "-c", "length", "t.img"];
        let want = io.run(theirs.dir(), &args);
        let got = our_io().run(mine.dir(), &args);
        got.same_as(&want, line, normal);
    }
    let (a, b) = (theirs.path("t.img"), mine.path("t.img"));
    let both = [a.to_str(), b.to_str()].map(|path| path.expect("scratch folders have plain names"));
    img.run(theirs.dir(), &["compare", both[0], both[1]]).ok();
}

#[test]
fn temporary_overlays_take_option_strings() {
    let (img, io) = (require!(reference()), require!(qemu_io()));
    let (theirs, mine) = (world(&img), world(&img));
    let before = std::fs::read(mine.path("t.img")).expect("it was made");
    let commands = [
        "-c",
        "write -P 3 0 64k",
        "-c",
        "read -P 3 0 64k",
        "-c",
        "map",
    ];
    for args in [
        &["-s", "t.img"][..],
        &["-s", "-f", "qcow2", "-U", "t.img"],
        &["-s", "-r", "t.img"],
        &["-s", "-C", "t.img"],
        &["-s", "--image-opts", "driver=qcow2,file.filename=t.img"],
        &["-s", "--image-opts", "driver=raw,file.filename=t.img"],
        &["-s", "--image-opts", "file.filename=t.img"],
        &["-s", "--image-opts", "driver=null-co,size=1M"],
        &[
            "-s",
            "--image-opts",
            "driver=qcow2,file.driver=blkdebug,file.image.filename=t.img",
        ],
        &[
            "-s",
            "json:{\"driver\":\"qcow2\",\"file.filename\":\"t.img\"}",
        ],
        &["-s", "--image-opts", "driver=qcow2,file.filename=nofile"],
        &["-U", "t.img"],
        &[
            "-r",
            "-U",
            "--image-opts",
            "driver=qcow2,force-share=off,file.filename=t.img",
        ],
    ] {
        let args = [&commands[..], args].concat();
        let want = io.run(theirs.dir(), &args);
        let got = our_io().run(mine.dir(), &args);
        got.same_as(&want, &args.join(" "), normal);
    }
    let after = std::fs::read(mine.path("t.img")).expect("it is there");
    assert!(before == after, "what was written was to go away");
}

/// Runs the tool with lines on its standard input.
fn typed(tool: &Tool, scratch: &Scratch, input: &str) -> (String, String, Option<i32>) {
    let mut child = tool
        .command(scratch.dir(), &["t.img"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let mut pipe = child.stdin.take().expect("it was asked for");
    pipe.write_all(input.as_bytes()).expect("it reads");
    drop(pipe);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| normal(&String::from_utf8_lossy(bytes));
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code(),
    )
}

#[test]
fn a_pipe_is_answered_as_by_the_reference() {
    let (img, io) = (require!(reference()), require!(qemu_io()));
    let (theirs, mine) = (world(&img), world(&img));
    for input in [
        "",
        "\n\n",
        "length\nwrite -P 3 0 64k\nread -P 3 0 64k\nquit\nlength\n",
        "read -P 9 0 512\nnonsense\nlength",
        "close\nread 0 512\nopen t.img\nread -P 3 0 512\nclose\nclose\n",
        "  length  \n\tlength\nread\t0 512\n",
        "sleep 20\nflush\nreopen -r\nwrite 0 512\nreopen -w\nwrite 0 512\n",
    ] {
        let want = typed(&io, &theirs, input);
        assert_eq!(typed(&our_io(), &mine, input), want, "{input:?}");
    }
}

#[test]
fn requests_of_seconds_show_hours() {
    let scratch = world(&require!(reference()));
    let slow = "driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=t.img";
    let group = "throttle-group,id=g,limits.bps-write=1000000";
    let args = [
        "--object",
        group,
        "-c",
        "write 0 500k",
        "-c",
        "write 0 2M",
        "-c",
        "write 0 512",
        "--image-opts",
        slow,
    ];
    let output = our_io().run(scratch.dir(), &args);
    let last = output.stdout.lines().last().unwrap_or_default().to_owned();
    assert!(
        last.starts_with("512 bytes, 1 ops; 0:00:0"),
        "{}",
        output.report()
    );
}
