//! Rows 4, 5 and 8 for formats that can only be read: cloop, bochs and dmg.

use house_tests::bytes::poke;
use house_tests::foreign::{Dmg, Stored, bochs, cloop, disk};
use house_tests::{Output, Rng, require};

use crate::images::Lab;

/// Values that arithmetic goes wrong on.
fn values(len: usize) -> Vec<u64> {
    let bits = len * 8;
    let max = u64::MAX >> (64 - bits);
    let mut values = vec![0, 1, 511, 512, 513, max, max - 1, max >> 1, (max >> 1) + 1];
    for power in [9, 16, 23, 24, 26, 31, 32, 54, 55, 62] {
        if power < bits {
            let at = 1_u64 << power;
            values.extend([at - 1, at, at + 1]);
        }
    }
    values
}

/// Puts each value into a field; what opens or is refused must do so in the reference too, in the same words,
/// unless that is killed by it.
fn sweep(format: &str, good: &[u8], fields: &[(usize, usize)], little: bool) {
    let lab = require!(Lab::new());
    let image = lab.scratch.path("x.img");
    for (offset, len) in fields {
        for value in values(*len) {
            std::fs::write(&image, good).expect("a scratch file");
            let big = value.to_be_bytes();
            let mut bytes = big[8 - len..].to_vec();
            if little {
                bytes.reverse();
            }
            poke(&image, *offset as u64, &bytes);
            let story = format!("{format}: {len} bytes at {offset} = {value:#x}");
            let args = ["info", "-f", format, "x.img"];
            let ours = lab.try_on(&args);
            let reference = lab.reference.run(lab.scratch.dir(), &args);
            if reference.code.is_none() {
                eprintln!("{story}: the reference is killed by it");
                continue;
            }
            assert_eq!(ours.code, reference.code, "{story}");
            assert_eq!(words(&ours), words(&reference), "{story}");
            let args = ["convert", "-f", format, "-O", "raw", "x.img", "o.raw"];
            if reference.code == Some(0) && length(&reference) < 64 << 20 {
                let ours = lab.try_on(&args);
                let reference = lab.reference.run(lab.scratch.dir(), &args);
                if reference.code.is_some() {
                    assert_eq!(ours.code, reference.code, "{story}");
                }
            }
        }
    }
}

/// What is said, without the place that sparse files take.
fn words(output: &Output) -> String {
    let all = format!("{}{}", output.stdout, output.stderr);
    let kept = all.lines().filter(|line| !line.contains("disk size"));
    kept.collect::<Vec<_>>().join("\n")
}

/// The virtual size that `info` told.
fn length(output: &Output) -> u64 {
    let line = output
        .stdout
        .lines()
        .find(|l| l.starts_with("virtual size"));
    let number = line.and_then(|l| l.split('(').nth(1)?.split(' ').next()?.parse().ok());
    number.unwrap_or(u64::MAX)
}

#[test]
fn cve_2014_0144_cloop_fields() {
    let bytes = disk(&mut Rng::new(1), 5 * 4096);
    let good = cloop(&bytes, 4096);
    let fields = [(128, 4), (132, 4), (136, 8), (144, 8), (176, 8)];
    sweep("cloop", &good, &fields, false);
}

#[test]
fn cve_2014_0147_bochs_fields() {
    let bytes = disk(&mut Rng::new(2), 5 * 4096);
    let good = bochs(&bytes, 4096, 2);
    let fields = [
        (64, 4),
        (68, 4),
        (72, 4),
        (76, 4),
        (80, 4),
        (88, 8),
        (512, 4),
    ];
    sweep("bochs", &good, &fields, true);
}

/// A small dmg, and where its trailer starts.
fn small_dmg() -> (Vec<u8>, Vec<u8>, usize) {
    let mut dmg = Dmg::default();
    dmg.chunk(Stored::Zlib, &disk(&mut Rng::new(3), 8192));
    dmg.chunk(Stored::Zero, &[0; 4096]);
    dmg.chunk(Stored::Plain, &[7; 4096]);
    let (plist, fork) = (dmg.with_plist(), dmg.with_fork());
    let at = fork.len() - 512;
    (plist, fork, at)
}

#[test]
fn cve_2014_0145_dmg_trailer() {
    let (plist, fork, _) = small_dmg();
    for (good, fields) in [(&plist, [0x18, 0xd8, 0xe0]), (&fork, [0x18, 0x28, 0x30])] {
        let at = good.len() - 512;
        let fields: Vec<_> = fields.iter().map(|f| (at + f, 8)).collect();
        sweep("dmg", good, &fields, false);
    }
}

/// The reference reads and writes behind its buffers for some of these: only ours is run.
#[test]
fn cve_2014_0145_dmg_chunks() {
    let lab = require!(Lab::new());
    let (_, good, trailer) = small_dmg();
    let image = lab.scratch.path("x.dmg");
    // The fork's head, its first resource's length, the table's head and each number of its chunks.
    let fork = trailer - 16 - 4 - 204 - 4 * 40;
    let mut fields = vec![
        (fork, 4),
        (fork + 8, 4),
        (fork + 16, 4),
        (fork + 28, 8),
        (fork + 44, 8),
    ];
    let entries = fork + 20 + 204;
    for entry in 0..3 {
        fields.push((entries + entry * 40, 4));
        fields.extend((1..5).map(|n| (entries + entry * 40 + 8 * n, 8)));
    }
    fields.push((trailer + 0x1ec, 8));
    for (offset, len) in fields {
        for value in values(len) {
            std::fs::write(&image, &good).expect("a scratch file");
            poke(&image, offset as u64, &value.to_be_bytes()[8 - len..]);
            eprintln!("{len} bytes at {offset} = {value:#x}");
            let info = lab.try_on(&["info", "x.dmg"]);
            if info.code == Some(0) && length(&info) < 64 << 20 {
                lab.try_on(&["convert", "-O", "raw", "x.dmg", "o.raw"]);
            }
            lab.try_on(&["map", "x.dmg"]);
        }
    }
}

#[test]
fn cve_2014_0144_truncated_anywhere() {
    let lab = require!(Lab::new());
    let bytes = disk(&mut Rng::new(4), 3 * 4096);
    let (plist, fork, _) = small_dmg();
    for (format, good) in [
        ("cloop", cloop(&bytes, 4096)),
        ("bochs", bochs(&bytes, 4096, 2)),
        ("dmg", plist),
        ("dmg", fork),
    ] {
        let image = lab.scratch.path("x.img");
        for len in (0..good.len()).step_by(good.len() / 40 + 1) {
            std::fs::write(&image, &good[..len]).expect("a scratch file");
            let args = ["convert", "-f", format, "-O", "raw", "x.img", "o.raw"];
            let ours = lab.try_on(&args);
            let reference = lab.reference.run(lab.scratch.dir(), &args);
            assert_eq!(ours.code, reference.code, "{format} cut to {len}");
        }
    }
}

/// A table of half a gigabyte in a sparse file, and blocks of 64 MiB that many readers want parts of.
#[test]
fn sizes_at_the_limits_stay_within_memory() {
    let lab = require!(Lab::new());
    let image = lab.scratch.path("x.cloop");
    let mut good = cloop(&[0; 512], 512);
    good.truncate(136);
    std::fs::write(&image, &good).expect("a scratch file");
    poke(&image, 132, &(((512_u32 << 20) / 8) - 1).to_be_bytes());
    let file = std::fs::OpenOptions::new().write(true).open(&image);
    file.and_then(|f| f.set_len(1 << 30))
        .expect("a sparse file");
    lab.try_on(&["info", "-f", "cloop", "x.cloop"]).ok();
    let zeroes = vec![0; 128 << 20];
    std::fs::write(&image, cloop(&zeroes, 64 << 20)).expect("a scratch file");
    lab.try_on(&["convert", "-f", "cloop", "-O", "raw", "x.cloop", "o.raw"])
        .ok();
}
