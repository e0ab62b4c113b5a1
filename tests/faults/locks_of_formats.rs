//! Image locks of every format that can be written: who holds an image open keeps the other tool out, and `-U` looks at it
//! all the same. (luks is not among them: the reference lets writers share it, ours does not.)

use house_tests::tools::our_io;
use house_tests::{Output, Scratch, Tool, ours, qemu_io, reference, require, words};

use crate::holder::{Holder, same_answer};

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
        let create = words::create(format, options, "t.img", "4M");
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
                    same_answer(&our, &theirs, &story);
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
