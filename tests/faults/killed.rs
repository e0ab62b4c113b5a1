//! A tool that is killed while it writes leaves an image that the reference opens, without a block that was flushed
//! being lost.

use std::process::Stdio;
use std::time::Duration;

use house_tests::tools::our_io;
use house_tests::{Rng, Scratch, reference, require, words};

const BLOCKS: u64 = 64;
const BLOCK: u64 = 256 << 10;
const SIZE: u64 = BLOCKS * BLOCK;
/// How often a tool is killed.
const ROUNDS: u64 = 8;

/// Lines that write and flush block after block, in an order that is not the disk's.
fn commands() -> Vec<String> {
    (0..BLOCKS)
        .flat_map(|n| {
            let at = place(n) * BLOCK;
            [
                format!("write -P {} {at} {BLOCK}", n + 1),
                "flush".to_owned(),
            ]
        })
        .collect()
}

/// Where the block that is written n-th is.
fn place(n: u64) -> u64 {
    n * 37 % BLOCKS
}

/// Blocks are there in the order of writing; the one after the last may be there in part.
fn in_order(disk: &[u8], story: &str) {
    let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
    let mut missing = None;
    for n in 0..BLOCKS {
        let at = usize::try_from(place(n)).unwrap_or(usize::MAX) * block;
        let bytes = &disk[at..at + block];
        let byte = u8::try_from(n + 1).unwrap_or(0);
        if bytes.iter().all(|b| *b == byte) {
            assert_eq!(
                missing, None,
                "{story}: block {n} is there, one before it not"
            );
        } else {
            let some = bytes.iter().any(|b| *b != 0);
            assert!(
                bytes.iter().all(|b| *b == 0 || *b == byte),
                "{story}: block {n}"
            );
            assert!(
                missing.is_none() || !some,
                "{story}: block {n} is there in part"
            );
            missing.get_or_insert(n);
        }
    }
}

fn killed(format: &str, options: &str, after: Duration) {
    let scratch = Scratch::new();
    let reference = require!(reference());
    let story = format!("{format} killed after {after:?}");
    let size = SIZE.to_string();
    let create = words::create(format, options, "t.img", &size);
    reference.run(scratch.dir(), &create).ok();
    let commands = commands();
    let mut child = our_io()
        .command(scratch.dir(), &words::io(format, &commands, "t.img"))
        .stdout(Stdio::null())
        .spawn()
        .expect("our tool can be started");
    std::thread::sleep(after);
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
    let words = ["check", "-r", "all", "-f", format, "t.img"];
    let check = reference.run(scratch.dir(), &words);
    let fine = matches!(check.code, Some(0 | 3 | 63)) || format == "vdi";
    assert!(fine, "{story}\n{}", check.report());
    let words = ["convert", "-f", format, "-O", "raw", "t.img", "o.raw"];
    reference.run(scratch.dir(), &words).ok();
    let disk = std::fs::read(scratch.path("o.raw")).expect("it was converted");
    in_order(&disk, &story);
}

#[test]
fn killed_writers_lose_no_block_that_was_flushed() {
    let formats = [
        ("vhdx", "block_size=1M"),
        ("qed", ""),
        ("vdi", ""),
        ("vpc", ""),
        ("parallels", "cluster_size=65536"),
        ("qcow", ""),
        ("vmdk", ""),
    ];
    let mut rng = Rng::new(Rng::seed_from_env(11));
    for (format, options) in formats {
        for round in 0..ROUNDS {
            let after = 4 + round * 12 + rng.below(12);
            killed(format, options, Duration::from_millis(after));
        }
    }
}
