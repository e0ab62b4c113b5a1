//! Image locks of every format that can be written: who holds an image open keeps the other tool out, and `-U` looks at it
//! all the same. (luks is not among them: the reference lets writers share it, ours does not.)

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use house_tests::tools::our_io;
use house_tests::{Output, Scratch, Tool, ours, qemu_io, reference, require};

const FORMATS: &[(&str, &str)] = &[
    ("raw", ""),
    ("qcow2", ""),
    ("qcow", ""),
    ("qed", ""),
    ("vdi", ""),
    ("vpc", ""),
    ("vpc", "subformat=fixed"),
    ("vhdx", ""),
    ("vmdk", ""),
    ("vmdk", "subformat=monolithicFlat"),
    ("vmdk", "subformat=twoGbMaxExtentSparse"),
    ("parallels", ""),
];

/// An io tool that has the image open until it is dropped.
struct Holder(Child);

impl Holder {
    fn new(io: &Tool, scratch: &Scratch, words: &[&str], image: &[&str]) -> Self {
        let args = [words, image].concat();
        let mut child = io
            .command(scratch.dir(), &args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let input = child.stdin.as_mut().expect("asked for");
        input.write_all(b"length\n").expect("it listens");
        // Its answer comes when the image is open.
        let mut answer = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().expect("asked for"));
        while !answer.contains("iB") && !answer.contains("bytes") {
            let read = output.read_line(&mut answer).expect("text");
            assert!(read > 0, "the holder of {image:?} ended: {answer}");
        }
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Words that open an image.
fn image(format: &str) -> Vec<&str> {
    vec!["-f", format, "t.img"]
}

/// What is tried on an image that somebody holds.
fn tries(format: &str) -> Vec<Vec<&str>> {
    let image = image(format);
    let with = |words: &[&'static str]| [words, &image[..]].concat();
    vec![
        with(&["info"]),
        with(&["map"]),
        [&with(&["convert", "-O", "raw"])[..], &["o.raw"]].concat(),
        with(&["info", "-U"]),
        with(&["map", "-U"]),
        [&with(&["convert", "-U", "-O", "raw"])[..], &["o.raw"]].concat(),
    ]
}

fn run(tool: &Tool, scratch: &Scratch, words: &[&str]) -> Output {
    tool.run(scratch.dir(), words)
}

#[test]
fn every_format_keeps_the_other_tool_out() {
    let (reference, their_io) = (require!(reference()), require!(qemu_io()));
    for (format, options) in FORMATS {
        let scratch = Scratch::new();
        let mut create = vec!["create", "-q", "-f", format];
        if !options.is_empty() {
            create.extend(["-o", options]);
        }
        create.extend(["t.img", "4M"]);
        run(&reference, &scratch, &create).ok();
        let image = image(format);
        // The holder is a reader or a writer, ours or theirs; whoever comes gets the same answer.
        for mode in [&[][..], &["-r"]] {
            let mut answers = Vec::new();
            for io in [&their_io, &our_io()] {
                let story = format!("{format} {options} held by {} {mode:?}", io.label);
                let _holder = Holder::new(io, &scratch, mode, &image);
                let mut said = Vec::new();
                for words in tries(format) {
                    let (theirs, our) = (
                        run(&reference, &scratch, &words),
                        run(&ours(), &scratch, &words),
                    );
                    assert_eq!(
                        our.code,
                        theirs.code,
                        "{story}\n{}\n{}",
                        our.report(),
                        theirs.report()
                    );
                    // Ours adds who holds the lock.
                    let same = our.stderr.starts_with(theirs.stderr.trim_end());
                    assert!(same, "{story}\n{}\n{}", our.report(), theirs.report());
                    said.push(theirs.code);
                }
                let write = [&["-c", "write 0 64k"][..], &image].concat();
                let (theirs, our) = (
                    run(&their_io, &scratch, &write),
                    run(&our_io(), &scratch, &write),
                );
                assert_eq!(our.code, theirs.code, "{story}\n{}", our.report());
                // Writers of plain disks share them, with all who do not ask for more.
                if *format != "raw" {
                    let refused = our.stderr.contains("Failed to get");
                    assert!(refused, "{story}\n{}", our.report());
                }
                answers.push(said);
            }
            assert_eq!(answers[0], answers[1], "{format} {options} {mode:?}");
        }
    }
}
