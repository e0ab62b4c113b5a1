//! Rows 6 and 7: tables that contradict each other, overlap, or go round.

use std::fs;

use house_tests::bytes::{peek, peek_u64, poke, poke_u64};
use house_tests::qcow2::{COPIED, data_offset, l1_entry, l2_entry, refcount_entry};
use house_tests::{Limits, Rng, ours, require};

use crate::images::{Lab, TIME};

#[test]
fn cve_2014_0146_changed_metadata_words() {
    let lab = require!(Lab::new());
    let image = lab.small("x.qcow2");
    let good = fs::read(&image).expect("just made");
    // Everything but the data: header, tables, snapshot table.
    let data = data_offset(&image, 0);
    let words: Vec<u64> = (0..good.len() as u64 / 8)
        .map(|w| w * 8)
        .filter(|at| !(data..data + (256 << 10)).contains(at))
        .filter(|at| *at < 200 || peek_u64(&image, *at) != 0)
        .collect();
    let seed = Rng::seed_from_env(6);
    eprintln!("HOUSE_SEED={seed}");
    let mut rng = Rng::new(seed);
    for _ in 0..60 {
        fs::write(&image, &good).expect("a scratch file");
        for _ in 0..rng.between(1, 4) {
            let at = *rng.pick(&words);
            let bit = 1_u64 << rng.below(64);
            let old = peek_u64(&image, at);
            let new = *rng.pick(&[0, u64::MAX, old ^ bit, old.wrapping_add(512), old << 1]);
            eprintln!("{at:#x}: {old:#x} -> {new:#x}");
            poke_u64(&image, at, new);
        }
        lab.read_all("x.qcow2");
        lab.try_on(&[
            "bench", "-w", "-c", "3", "-s", "65536", "-f", "qcow2", "x.qcow2",
        ]);
        lab.try_on(&["snapshot", "-c", "two", "x.qcow2"]);
        lab.try_on(&["check", "-r", "all", "x.qcow2"]);
    }
}

#[test]
fn cve_2014_0146_a_write_over_metadata_marks_the_image_corrupt() {
    let lab = require!(Lab::new());
    let image = lab.image("x.qcow2", &["4M"], &["write -P 17 0 256k"]);
    let l1 = peek_u64(&image, 40);
    poke_u64(&image, l2_entry(&image, 0), COPIED | l1);
    let before = peek(&image, l1, 512);
    let output = lab.try_on(&[
        "bench", "-w", "-c", "1", "-s", "65536", "-f", "qcow2", "x.qcow2",
    ]);
    assert_eq!(output.code, Some(1), "{}", output.report());
    assert_eq!(
        peek(&image, l1, 512),
        before,
        "the L1 table was written over"
    );
    let info = lab
        .try_on(&["info", "--output=json", "x.qcow2"])
        .ok()
        .json();
    assert_eq!(info["format-specific"]["data"]["corrupt"], true, "{info}");
}

#[test]
fn row_7_tables_over_each_other() {
    let lab = require!(Lab::new());
    let image = lab.small("x.qcow2");
    let good = fs::read(&image).expect("just made");
    let header_word = |at: u64| peek_u64(&image, at);
    // Where each kind of structure lies.
    let places = [
        0,
        header_word(40),
        header_word(48),
        peek_u64(&image, header_word(48)),
        peek_u64(&image, l1_entry(&image, 0)) & !COPIED,
        header_word(64),
        data_offset(&image, 1),
    ];
    let pointers = [
        40,
        48,
        64,
        header_word(48),
        l1_entry(&image, 0),
        l2_entry(&image, 0),
    ];
    for pointer in pointers {
        for place in places {
            for flags in [0, COPIED] {
                fs::write(&image, &good).expect("a scratch file");
                poke_u64(&image, pointer, place | flags);
                lab.try_on(&["check", "-f", "qcow2", "x.qcow2"]);
                lab.try_on(&[
                    "bench", "-w", "-c", "2", "-s", "4096", "-f", "qcow2", "x.qcow2",
                ]);
                lab.try_on(&["snapshot", "-c", "two", "x.qcow2"]);
                lab.try_on(&["check", "-r", "all", "-f", "qcow2", "x.qcow2"]);
            }
        }
    }
}

#[test]
fn row_7_refcounts_of_zero_do_not_hand_out_live_clusters() {
    let lab = require!(Lab::new());
    let image = lab.image("x.qcow2", &["4M"], &["write -P 17 0 256k"]);
    for cluster in 0..12 {
        poke(&image, refcount_entry(&image, cluster), &[0, 0]);
    }
    let head = peek(&image, 0, 104);
    lab.try_on(&[
        "bench", "-w", "-c", "4", "-o", "1M", "-s", "65536", "-f", "qcow2", "x.qcow2",
    ]);
    assert_eq!(
        peek(&image, 0, 72),
        head[..72],
        "the header was written over"
    );
    lab.try_on(&["check", "-r", "all", "-f", "qcow2", "x.qcow2"]);
    let check = lab.reference.run(lab.scratch.dir(), &["check", "x.qcow2"]);
    assert_eq!(check.code, Some(0), "{}", check.report());
}

#[test]
fn row_7_backing_chain_that_goes_round() {
    let lab = require!(Lab::new());
    lab.image("a.qcow2", &["-b", "b.qcow2", "-F", "qcow2", "1M"], &[]);
    lab.image("b.qcow2", &["-b", "a.qcow2", "-F", "qcow2", "1M"], &[]);
    let own = lab.image("other", &["-b", "self.qcow2", "-F", "qcow2", "1M"], &[]);
    fs::rename(own, lab.scratch.path("self.qcow2")).expect("a scratch file");
    for name in ["a.qcow2", "self.qcow2"] {
        let convert = lab.try_on(&["convert", "-O", "raw", name, "out.raw"]);
        assert_eq!(convert.code, Some(1), "{}", convert.report());
        let info = lab.try_on(&["info", "--backing-chain", name]);
        assert_eq!(info.code, Some(1), "{}", info.report());
    }
}

#[test]
fn row_7_chain_of_ten_thousand() {
    let lab = require!(Lab::new());
    // All of one length of name, so that one image is the pattern for all.
    let name = |n: usize| format!("{n:05}");
    let pattern = lab.image("pattern", &["-b", "99999", "-F", "qcow2", "64k"], &[]);
    let good = fs::read(&pattern).expect("just made");
    let at = good
        .windows(5)
        .position(|w| w == b"99999")
        .expect("the name is in the header's cluster");
    // Header and tables fit into the first clusters; the rest is a hole.
    for n in 0..10_000_usize {
        let mut bytes = good.clone();
        bytes[at..at + 5].copy_from_slice(name(n + 1).as_bytes());
        house_tests::bytes::sparse(
            &lab.scratch.path(&name(n)),
            good.len() as u64,
            &pieces(&bytes),
        );
    }
    for args in [
        &["info", "--backing-chain", "00000"][..],
        &["map", "00000"],
        &["check", "00000"],
    ] {
        let limits = Limits {
            time: TIME * 6,
            ..Limits::default()
        };
        let output = ours().run_limited(lab.scratch.dir(), args, limits).civil();
        assert!(
            output.peak < 1 << 30,
            "{}",
            &output.report()[..2000.min(output.report().len())]
        );
    }
}

/// The sectors that are not zero.
fn pieces(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    bytes
        .chunks(512)
        .enumerate()
        .filter(|(_, sector)| sector.iter().any(|b| *b != 0))
        .map(|(n, sector)| (n as u64 * 512, sector))
        .collect()
}

#[test]
fn row_7_sparse_file_of_the_largest_size() {
    let lab = require!(Lab::new());
    let image = lab.small("x.qcow2");
    let head = fs::read(&image).expect("just made");
    // The largest that this file system allows.
    let largest = [(1 << 63) - 4096, 16_u64 << 40, 1 << 40]
        .into_iter()
        .find(|len| {
            fs::OpenOptions::new()
                .write(true)
                .open(&image)
                .is_ok_and(|f| f.set_len(*len).is_ok())
        });
    assert!(largest.is_some());
    assert_eq!(peek(&image, 0, 512), head[..512]);
    lab.try_on(&["info", "x.qcow2"]);
    lab.try_on(&["check", "x.qcow2"]);
    lab.try_on(&["info", "-f", "raw", "x.qcow2"]);
    lab.try_on(&["check", "-f", "raw", "x.qcow2"]);
}
