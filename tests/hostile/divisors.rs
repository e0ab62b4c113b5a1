//! Row 5: zero where headers hold what is divided by, or counted in: sectors, heads, tracks, blocks, tables.

use house_tests::bytes::{peek, poke};
use house_tests::foreign::{bochs, disk};
use house_tests::{Rng, require};

use crate::images::Lab;

/// Where a format's numbers are.
struct Header {
    format: &'static str,
    /// How the reference makes one; `None`: it cannot.
    options: Option<&'static [&'static str]>,
    /// Words of 32 bits: from and to which offset in bytes.
    words: &'static [(u64, u64)],
    /// Puts checksums right.
    mend: fn(&std::path::Path),
}

const fn plain(format: &'static str, words: &'static [(u64, u64)]) -> Header {
    Header {
        format,
        options: Some(&[]),
        words,
        mend: |_| {},
    }
}

const HEADERS: &[Header] = &[
    Header {
        mend: vpc_sums,
        ..plain("vpc", &[(8, 64), (512 + 8, 512 + 36)])
    },
    Header {
        options: Some(&["-o", "subformat=fixed"]),
        mend: vpc_sums,
        ..plain("vpc", &[((4 << 20) + 8, (4 << 20) + 64)])
    },
    plain("vdi", &[(0x48, 0x60), (0x154, 0x188)]),
    plain("vmdk", &[(4, 72)]),
    Header {
        options: Some(&["-o", "subformat=streamOptimized"]),
        ..plain("vmdk", &[(4, 80)])
    },
    plain("parallels", &[(16, 64)]),
    Header {
        options: None,
        ..plain("bochs", &[(64, 96)])
    },
    plain("qcow", &[(4, 48)]),
    plain("qed", &[(4, 64)]),
    // The table of metadata has no checksum; its items are where the reference puts them.
    plain("vhdx", &[(0x20_0008, 0x20_00c0), (0x21_0000, 0x21_0030)]),
];

/// Footer, its copy at the front and the dynamic header: the sum's complement of all other bytes.
fn vpc_sums(path: &std::path::Path) {
    let len = std::fs::metadata(path).expect("the image is there").len();
    let tables = [(0, 512, 64), (512, 1024, 36), (len - 512, 512, 64)];
    for (at, size, field) in tables {
        let mut bytes = peek(path, at, size);
        if !bytes.starts_with(b"conectix") && !bytes.starts_with(b"cxsparse") {
            continue;
        }
        bytes[field..field + 4].fill(0);
        let sum: u32 = bytes.iter().map(|b| u32::from(*b)).sum();
        poke(path, at + field as u64, &(!sum).to_be_bytes());
    }
}

/// Makes an image with some data; whether ours knows the format.
fn make(lab: &Lab, header: &Header) -> bool {
    let (format, path) = (header.format, lab.scratch.path("x.img"));
    match header.options {
        None => {
            let content = disk(&mut Rng::new(5), 1 << 20);
            std::fs::write(path, bochs(&content, 64 << 10, 2)).expect("a scratch file");
        }
        Some(options) => {
            std::fs::write(
                lab.scratch.path("disk.raw"),
                disk(&mut Rng::new(5), 4 << 20),
            )
            .expect("a scratch file");
            let mut args = vec!["convert", "-f", "raw", "-O", format];
            args.extend(options);
            args.extend(["disk.raw", "x.img"]);
            lab.reference.run(lab.scratch.dir(), &args).ok();
        }
    }
    let output = lab.try_on(&["info", "-f", format, "x.img"]);
    if output.stderr.contains("Unknown driver") {
        eprintln!("{format}: not built");
        return false;
    }
    assert_eq!(output.code, Some(0), "{}", output.report());
    true
}

fn sweep(lab: &Lab, header: &Header) {
    let path = lab.scratch.path("x.img");
    let good = std::fs::read(&path).expect("just made");
    let format = header.format;
    for at in header
        .words
        .iter()
        .flat_map(|(from, to)| (*from..*to).step_by(4))
    {
        for value in [[0; 4], [0xff; 4]] {
            std::fs::write(&path, &good).expect("a scratch file");
            poke(&path, at, &value);
            (header.mend)(&path);
            eprintln!("{format}: {value:x?} at {at:#x}");
            lab.try_on(&["check", "-f", format, "x.img"]);
            let args = ["convert", "-f", format, "-O", "null-co", "-n"];
            lab.try_on(&[&args[..], &["x.img", "null-co://"]].concat());
        }
    }
}

#[test]
fn cve_2014_0142_zero_in_divisor_fields() {
    let lab = require!(Lab::new());
    for header in HEADERS {
        if make(&lab, header) {
            sweep(&lab, header);
        }
    }
}
