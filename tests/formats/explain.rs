//! `info --explain` says in plain words what the image of another program uses; without it the text is the reference's.

use house_tests::foreign::{bochs, cloop};
use house_tests::{Scratch, ours, words};

/// A format, options, and what the first sentence has to say.
const MADE: &[(&str, &str, &str)] = &[
    (
        "vmdk",
        "subformat=streamOptimized",
        "of type streamOptimized",
    ),
    ("vmdk", "", "of type monolithicSparse"),
    ("vdi", "static=on", "static disk of VirtualBox"),
    ("vpc", "", "dynamic disk of Virtual PC, in blocks of 2 MiB"),
    ("vpc", "subformat=fixed", "fixed disk of Virtual PC"),
    (
        "vhdx",
        "block_size=1M",
        "dynamic disk of Hyper-V, in blocks of 1 MiB",
    ),
    ("parallels", "", "expanding disk of Parallels"),
    ("qed", "", "in clusters of 64 KiB"),
    ("qcow", "", "version 1 of QEMU's own format"),
];

fn explained(scratch: &Scratch, name: &str, format: &str, wanted: &str) {
    let output = ours().run(scratch.dir(), &["info", "--explain", "-f", format, name]);
    let text = output.ok().stdout;
    let (before, uses) = text
        .split_once("What it uses:\n")
        .unwrap_or_else(|| panic!("{format}: {text}"));
    assert!(
        uses.lines()
            .next()
            .is_some_and(|line| line.contains(wanted)),
        "{format}: {uses}"
    );
    let plain = ours().run(scratch.dir(), &["info", "-f", format, name]);
    assert_eq!(plain.ok().stdout, before, "{format}");
    let words = ["info", "--explain", "--output=json", "-f", format, name];
    let record = ours().run(scratch.dir(), &words).ok().json();
    let first = record["uses"][0].as_str().expect("a sentence");
    assert!(first.contains(wanted), "{format}: {first}");
}

#[test]
fn foreign_images_are_explained() {
    let scratch = Scratch::new();
    for (format, options, wanted) in MADE {
        let create = words::create(format, options, "t.img", "16M");
        ours().run(scratch.dir(), &create).ok();
        explained(&scratch, "t.img", format, wanted);
    }
    let disk = vec![7; 1 << 20];
    std::fs::write(scratch.path("c"), cloop(&disk, 65536)).expect("room");
    explained(&scratch, "c", "cloop", "packed by zlib");
    std::fs::write(scratch.path("b"), bochs(&disk, 4096, 2)).expect("room");
    explained(
        &scratch,
        "b",
        "bochs",
        "growing disk of Bochs, in extents of 4 KiB",
    );
}
