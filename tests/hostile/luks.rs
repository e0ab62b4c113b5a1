//! Rows 4, 5 and 8 for encrypted images: every count, offset and number of a LUKS header, alone and inside qcow2.

use std::time::Duration;

use house_tests::bytes::{peek, poke};
use house_tests::tools::ours;
use house_tests::{Limits, require};

use crate::images::Lab;

const SECRET: [&str; 2] = ["--object", "secret,id=s,data=letmein"];

/// Offsets and lengths of the numbers in a header: version, payload, key length, iterations; then of two slots:
/// state, iterations, offset, stripes.
const FIELDS: &[(u64, usize)] = &[
    (6, 2),
    (104, 4),
    (108, 4),
    (164, 4),
    (208, 4),
    (212, 4),
    (248, 4),
    (252, 4),
    (544, 4),
    (548, 4),
    (584, 4),
    (588, 4),
];

fn make(lab: &Lab, args: &[&str]) {
    let args = [&["create", "-q"], args, &SECRET].concat();
    ours().run(lab.scratch.dir(), &args).ok();
}

#[test]
fn cve_2014_0144_luks_fields() {
    let lab = require!(Lab::new());
    make(
        &lab,
        &[
            "-f",
            "luks",
            "-o",
            "key-secret=s,iter-time=1",
            "x.img",
            "64k",
        ],
    );
    let path = lab.scratch.path("x.img");
    let good = std::fs::read(&path).expect("it was made");
    let how = "driver=luks,key-secret=s,file.filename=x.img";
    for &(at, len) in FIELDS {
        for value in [0, 1, 7, 8, 4000, 4001, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            std::fs::write(&path, &good).expect("a scratch file");
            poke(&path, at, &value.to_be_bytes()[4 - len..]);
            let info = ["info", "-f", "luks", "x.img"];
            let mine = lab.try_on(&info);
            let theirs = lab.reference.run(lab.scratch.dir(), &info);
            let story = format!("{len} bytes at {at} = {value:#x}");
            assert_eq!(mine.code, theirs.code, "{story}: {mine:?} {theirs:?}");
            if mine.code != Some(0) {
                assert_eq!(mine.stderr, theirs.stderr, "{story}");
            }
            // The reference would compute for hours where this refuses.
            let convert = ["convert", "-O", "raw", "--image-opts", how, "o.raw"];
            let convert = [&convert[..], &SECRET].concat();
            let limits = Limits {
                time: Duration::from_secs(20),
                ..Limits::default()
            };
            let fits = value < 0x7fff_ffff;
            let done = ours().run_limited(lab.scratch.dir(), &convert, limits);
            let done = done.civil();
            assert!(fits || done.peak < 256 << 20, "{story}: {}", done.report());
        }
    }
}

#[test]
fn cve_2014_0144_luks_in_qcow2() {
    let lab = require!(Lab::new());
    let options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1";
    make(&lab, &["-f", "qcow2", "-o", options, "x.img", "1M"]);
    let path = lab.scratch.path("x.img");
    let good = std::fs::read(&path).expect("it was made");
    let mark = 0x0537_be77_u32.to_be_bytes();
    let header = peek(&path, 0, 512);
    let at = header.windows(4).position(|w| w == mark);
    let at = at.expect("there is the extension") as u64;
    let how = "driver=qcow2,encrypt.key-secret=s,file.filename=x.img";
    for (field, value) in [
        (at + 8, 0_u64),
        (at + 8, 1),
        (at + 8, 65536),
        (at + 8, u64::MAX << 16),
        (at + 8, 1 << 62),
        (at + 16, 0),
        (at + 16, 592),
        (at + 16, 1 << 40),
        (at + 16, u64::MAX),
    ] {
        std::fs::write(&path, &good).expect("a scratch file");
        poke(&path, field, &value.to_be_bytes());
        for words in [
            &["info", "x.img"][..],
            &["check", "--image-opts", how],
            &["convert", "-O", "raw", "--image-opts", how, "o.raw"],
            &["resize", "--image-opts", how, "2M"],
        ] {
            lab.try_on(&[words, &SECRET].concat());
        }
    }
    for method in [0_u32, 1, 3, u32::MAX] {
        std::fs::write(&path, &good).expect("a scratch file");
        poke(&path, 32, &method.to_be_bytes());
        let info = lab.try_on(&["info", "x.img"]);
        assert_eq!(info.code, Some(1), "method {method}");
    }
}
