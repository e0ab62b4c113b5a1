//! qed images that somebody left in the middle of a write, and vmdk's content ids.

use std::process::Stdio;
use std::time::Duration;

use house_tests::tools::our_io;
use house_tests::{Pair, Rng, qemu_io, require, words};

/// Where a qed header has its features, and its first table.
const FEATURES: usize = 16;
const L1: usize = 40;

/// The feature that says "the tables may be torn".
const NEEDS_CHECK: u8 = 2;

fn word(image: &[u8], at: usize) -> usize {
    let bytes = image[at..at + 8].try_into().expect("eight bytes");
    usize::try_from(u64::from_le_bytes(bytes)).expect("a place in a small file")
}

fn put(image: &mut [u8], at: usize, number: u64) {
    image[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// An image with four clusters of data in two tables, as the reference writes it.
fn qed(pair: &mut Pair) -> Vec<u8> {
    // With tables of one cluster the reference opens none of its own images.
    let options = "cluster_size=4096,table_size=2";
    pair.run(&["create", "-q", "-f", "qed", "-o", options, "t.qed", "16M"]);
    let writes = ["write -P 1 0 8k", "write -P 2 5M 4k", "write -P 3 9M 4k"];
    let writes: Vec<_> = writes.iter().map(|w| (*w).to_owned()).collect();
    pair.write("t.qed", "qed", &writes);
    std::fs::read(pair.reference_dir().join("t.qed")).expect("it was made")
}

/// Damages: a name, and what is done to a sound image.
type Damage = (&'static str, fn(&mut Vec<u8>));

const HALF: &str = "half a cluster at the end";

const DAMAGES: &[Damage] = &[
    ("none", |_| {}),
    ("clusters that no table names", |image| {
        image.resize(image.len() + 3 * 4096, 0x55);
    }),
    (HALF, |image| {
        image.resize(image.len() + 2048, 0x55);
    }),
    ("an entry beyond the file", |image| {
        let l2 = word(image, word(image, L1));
        let end = image.len() as u64 + (1 << 20);
        put(image, l2, end);
    }),
    ("an entry between clusters", |image| {
        let l2 = word(image, word(image, L1));
        let entry = word(image, l2) as u64;
        put(image, l2, entry + 512);
    }),
    ("a cluster used twice", |image| {
        let l2 = word(image, word(image, L1));
        let entry = word(image, l2) as u64;
        put(image, l2 + 8, entry);
    }),
    ("a table beyond the file", |image| {
        let (l1, end) = (word(image, L1), image.len() as u64);
        put(image, l1, end + 4096);
    }),
    ("a table used twice", |image| {
        let l1 = word(image, L1);
        let first = word(image, l1) as u64;
        put(image, l1 + 8, first);
    }),
];

#[test]
fn torn_qed_tables_are_checked_and_repaired_alike() {
    for (story, damage) in DAMAGES {
        let mut pair = require!(Pair::new(story));
        let mut image = qed(&mut pair);
        damage(&mut image);
        for words in [
            &["check", "-f", "qed", "t.qed"][..],
            &["check", "--output=json", "-f", "qed", "t.qed"],
            &["check", "-r", "leaks", "-f", "qed", "t.qed"],
            &["check", "-r", "all", "-f", "qed", "t.qed"],
        ] {
            pair.put("t.qed", &image);
            pair.run(words);
            pair.run(&["check", "-f", "qed", "t.qed"]);
        }
        pair.run_quietly(&["convert", "-f", "qed", "-O", "raw", "t.qed", "o.raw"]);
    }
}

#[test]
fn a_qed_image_that_was_left_open_is_repaired_by_the_next_writer() {
    for (story, damage) in DAMAGES {
        let mut pair = require!(Pair::new(story));
        let mut image = qed(&mut pair);
        damage(&mut image);
        image[FEATURES] |= NEEDS_CHECK;
        pair.put("t.qed", &image);
        // Readers leave it as it is.
        pair.run(&["info", "--output=json", "t.qed"]);
        let commands = ["-f", "qed", "-c", "write -P 9 13M 4k", "t.qed"];
        let theirs = require!(qemu_io()).run(&pair.reference_dir(), &commands);
        let ours = our_io().run(&pair.our_dir(), &commands);
        assert_eq!(ours.code, theirs.code, "{}\n{}", pair.log(), ours.report());
        pair.same_content("t.qed", "qed");
        if *story == HALF {
            // The reference writes over it; ours leaves it alone, as a leak.
            continue;
        }
        pair.run(&["info", "--output=json", "t.qed"]);
        pair.run(&["check", "-f", "qed", "t.qed"]);
    }
}

/// Kills the reference in the middle of writing; both tools then find, repair and read the same.
#[test]
fn what_a_killed_writer_leaves_is_read_alike() {
    let mut rng = Rng::new(Rng::seed_from_env(3));
    let places: Vec<_> = (0..200).map(|_| rng.below(1000) * 65536).collect();
    let lines: Vec<_> = (1_u8..=200)
        .zip(&places)
        .map(|(n, at)| format!("write -P {n} {at} 20k"))
        .collect();
    for (format, options) in [("qed", "cluster_size=65536"), ("vhdx", "block_size=1M")] {
        for after in [20, 60, 140] {
            let mut pair = require!(Pair::new(&format!("{format} killed after {after} ms")));
            pair.run(&["create", "-q", "-f", format, "-o", options, "t.img", "64M"]);
            let mut child = require!(qemu_io())
                .command(&pair.reference_dir(), &words::io(format, &lines, "t.img"))
                .stdout(Stdio::null())
                .spawn()
                .expect("the reference can be started");
            std::thread::sleep(Duration::from_millis(after));
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
            let left = std::fs::read(pair.reference_dir().join("t.img")).expect("it is there");
            pair.put("t.img", &left);
            pair.run(&["info", "--output=json", "-f", format, "t.img"]);
            pair.run(&["check", "-f", format, "t.img"]);
            pair.run(&["check", "-r", "all", "-f", format, "t.img"]);
            pair.run(&["convert", "-f", format, "-O", "raw", "t.img", "o.raw"]);
            pair.same_content("o.raw", "raw");
        }
    }
}

/// The number after a key of a descriptor.
fn id(pair: &Pair, image: &str, key: &str) -> String {
    let bytes = std::fs::read(pair.our_dir().join(image)).expect("it is there");
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(0x3000)]).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key}=")));
    line.expect("the descriptor has it").trim().to_lowercase()
}

fn io(pair: &Pair, commands: &[&str], image: &str) -> house_tests::Output {
    our_io().run(&pair.our_dir(), &words::io("vmdk", commands, image))
}

#[test]
fn content_ids_of_vmdk_follow_what_is_written() {
    for subformat in ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse"] {
        let pair = require!(Pair::new(subformat));
        let dir = pair.our_dir();
        let ours = |words: &[&str]| pair.ours().run(&dir, words);
        let options = format!("subformat={subformat}");
        ours(&[
            "create",
            "-q",
            "-f",
            "vmdk",
            "-o",
            &options,
            "base.vmdk",
            "4M",
        ])
        .ok();
        let new = id(&pair, "base.vmdk", "CID");
        assert_eq!(id(&pair, "base.vmdk", "parentCID"), "ffffffff");
        // Who only reads leaves it; a session that writes makes another one, once.
        io(&pair, &["read 0 64k"], "base.vmdk").ok();
        assert_eq!(id(&pair, "base.vmdk", "CID"), new);
        io(&pair, &["write -P 7 0 1M", "write -P 8 1M 1M"], "base.vmdk").ok();
        let written = id(&pair, "base.vmdk", "CID");
        assert_ne!(written, new);
        ours(&[
            "create",
            "-q",
            "-f",
            "vmdk",
            "-b",
            "base.vmdk",
            "-F",
            "vmdk",
            "top.vmdk",
        ])
        .ok();
        assert_eq!(id(&pair, "top.vmdk", "parentCID"), written);
        io(
            &pair,
            &["write -P 9 64k 64k", "read -P 7 0 64k"],
            "top.vmdk",
        )
        .ok();
        assert_eq!(id(&pair, "base.vmdk", "CID"), written);
        assert_eq!(id(&pair, "top.vmdk", "parentCID"), written);
        // Another content below: what is the overlay's own can be read, the rest is an error, here as there.
        io(&pair, &["write -P 1 3M 64k"], "base.vmdk").ok();
        assert_ne!(id(&pair, "base.vmdk", "CID"), written);
        for (command, code) in [("read -P 9 64k 64k", 0), ("read 1M 64k", 1)] {
            let ours = io(&pair, &[command], "top.vmdk");
            assert_eq!(ours.code, Some(code), "{subformat} {}", ours.report());
            let theirs = require!(qemu_io());
            let words = ["-f", "vmdk", "-c", command, "top.vmdk"];
            assert_eq!(theirs.run(&dir, &words).code, Some(code), "{command}");
        }
    }
}
