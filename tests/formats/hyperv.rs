//! VHDX logs and differencing disks of VHD and VHDX, which the reference does not write.

use house_tests::hyperv::{
    BAT, Change, Entry, guid_text, header, make_vhd_child, make_vhdx_child, name_log, put,
    put_entry, put_vhd_sectors, put_vhdx_sectors,
};
use house_tests::{Output, Pair, require};

const MIB: u64 = 1 << 20;
/// The same, where the log is.
const LOG: usize = 1 << 20;
const GUID: [u8; 16] = [7; 16];

/// An image of 8 MiB with blocks of 1 MiB, and a megabyte of sevens at its end that no block is yet.
fn with_lost_block(pair: &mut Pair) -> Vec<u8> {
    let args = [
        "create",
        "-q",
        "-f",
        "vhdx",
        "-o",
        "block_size=1M",
        "t.img",
        "8M",
    ];
    pair.reference().run(&pair.reference_dir(), &args).ok();
    let mut image = std::fs::read(pair.reference_dir().join("t.img")).expect("it was made");
    let end = image.len();
    put(&mut image, end, &[7; LOG]);
    image
}

/// The table's first sector with one block more, at the last megabyte of the image.
fn table(image: &[u8], block: usize) -> Vec<u8> {
    let mut sector = image[BAT..BAT + 4096].to_vec();
    let at = image.len() as u64 - MIB;
    sector[block * 8..block * 8 + 8].copy_from_slice(&(at | 6).to_le_bytes());
    sector
}

fn entry(image: &[u8], sequence: u64, tail: u32) -> Entry {
    Entry {
        guid: GUID,
        sequence,
        tail,
        length: image.len() as u64,
    }
}

/// Both tools say the same of the image, repair it in the same words, and end with the same disk.
fn alike(pair: &mut Pair, image: &[u8]) {
    pair.put("t.img", image);
    for words in [
        &["info", "t.img"][..],
        &["check", "t.img"],
        &["convert", "-O", "raw", "t.img", "o.raw"],
        &["check", "-r", "all", "t.img"],
        &["check", "-r", "all", "t.img"],
        &["check", "--output=json", "t.img"],
        &["info", "t.img"],
        &["convert", "-O", "raw", "t.img", "o.raw"],
    ] {
        pair.run(words);
    }
    pair.same_content("t.img", "vhdx");
    pair.same_content("o.raw", "raw");
}

fn disk(pair: &Pair) -> Vec<u8> {
    std::fs::read(pair.our_dir().join("o.raw")).expect("it was converted")
}

#[test]
fn a_log_is_replayed_by_check() {
    let mut pair = require!(Pair::new("one entry"));
    let mut image = with_lost_block(&mut pair);
    let sector = table(&image, 3);
    let bytes = entry(&image, 1, 0).with(&[Change::Sector(BAT as u64, &sector)]);
    put_entry(&mut image, 0, &bytes);
    name_log(&mut image, GUID);
    alike(&mut pair, &image);
    assert_eq!(disk(&pair)[3 << 20], 7, "the block came with the log");
    // Every byte of the entry counts.
    for torn in [4, 70, 64 + 20, 4096, 4096 + 100, 8191] {
        let mut pair = require!(Pair::new(&format!("torn at {torn}")));
        let mut image = image.clone();
        image[LOG + torn] ^= 0x40;
        alike(&mut pair, &image);
        assert_eq!(disk(&pair)[3 << 20], 0, "a torn entry is none");
    }
}

#[test]
fn a_row_of_entries_ends_with_the_first_torn_one() {
    for torn in [false, true] {
        let mut pair = require!(Pair::new(&format!("two entries, torn: {torn}")));
        let mut image = with_lost_block(&mut pair);
        let (one, two) = (table(&image, 1), table(&image, 2));
        let first = entry(&image, 5, 0).with(&[Change::Sector(BAT as u64, &one)]);
        let zero = Change::Zero(BAT as u64 + 8192, 8192);
        let second = entry(&image, 6, 0).with(&[zero, Change::Sector(BAT as u64, &two)]);
        put_entry(&mut image, 0, &first);
        put_entry(&mut image, first.len(), &second);
        if torn {
            image[LOG + first.len() + 5000] ^= 1;
        }
        name_log(&mut image, GUID);
        alike(&mut pair, &image);
        let disk = disk(&pair);
        assert_eq!(
            [disk[1 << 20], disk[2 << 20]],
            if torn { [7, 0] } else { [0, 7] }
        );
    }
}

/// The reference starts such a row in its middle: ours is looked at alone.
#[test]
fn a_row_goes_round_the_end_of_the_log() {
    let mut pair = require!(Pair::new("round the end"));
    let mut image = with_lost_block(&mut pair);
    let (one, two) = (table(&image, 1), table(&image, 2));
    let at = (1 << 20) - 4096;
    let tail = u32::try_from(at).unwrap_or(0);
    let first = entry(&image, 5, tail).with(&[Change::Sector(BAT as u64, &one)]);
    let zero = Change::Zero(BAT as u64 + 8192, 8192);
    let second = entry(&image, 6, tail).with(&[zero]);
    put_entry(&mut image, at, &first);
    put_entry(&mut image, at + first.len(), &second);
    name_log(&mut image, GUID);
    drop(two);
    pair.put("t.img", &image);
    let ours = |pair: &Pair, args: &[&str]| pair.ours().run(&pair.our_dir(), args);
    ours(&pair, &["check", "-r", "all", "t.img"]).ok();
    ours(&pair, &["convert", "-O", "raw", "t.img", "o.raw"]).ok();
    assert_eq!(disk(&pair)[1 << 20], 7);
    let check = pair.reference().run(&pair.our_dir(), &["check", "t.img"]);
    check.ok();
}

#[test]
fn logs_that_lie_are_refused() {
    type Wrong = (&'static str, fn(&[u8]) -> Vec<u8>);
    let wrong: [Wrong; 6] = [
        ("headers are not changed", |image| {
            entry(image, 1, 0).with(&[Change::Zero(65536, 4096)])
        }),
        ("nor the log itself", |image| {
            entry(image, 1, 0).with(&[Change::Zero(MIB + 65536, 4096)])
        }),
        ("nor what is not there", |image| {
            entry(image, 1, 0).with(&[Change::Zero(1 << 40, 1 << 50)])
        }),
        ("nor round the end of numbers", |image| {
            entry(image, 1, 0).with(&[Change::Zero(u64::MAX - 4095, 1 << 40)])
        }),
        ("a file that was cut", |image| {
            let entry = Entry {
                length: image.len() as u64 * 2,
                ..entry(image, 1, 0)
            };
            entry.with(&[])
        }),
        ("a row whose beginning is gone", |image| {
            entry(image, 9, 65536).with(&[])
        }),
    ];
    for (story, make) in wrong {
        let mut pair = require!(Pair::new(story));
        let mut image = with_lost_block(&mut pair);
        let bytes = make(&image);
        put_entry(&mut image, 0, &bytes);
        name_log(&mut image, GUID);
        pair.put("t.img", &image);
        let args = ["check", "-r", "all", "t.img"];
        let output = pair.ours().run(&pair.our_dir(), &args).civil();
        assert_eq!(output.code, Some(1), "{story}: {}", output.report());
        let now = std::fs::read(pair.our_dir().join("t.img")).expect("it is there");
        assert_eq!(
            now[1 << 20..],
            image[1 << 20..],
            "{story}: something changed"
        );
    }
}

/// A parent with a pattern, and a child over it that has some sectors of its own.
fn family(pair: &mut Pair, format: &str) -> Vec<u8> {
    let options = if format == "vhdx" {
        "block_size=1M"
    } else {
        "force_size=on"
    };
    for name in ["base.img", "child.img"] {
        pair.run(&["create", "-q", "-f", format, "-o", options, name, "8M"]);
    }
    let pattern = ["write -P 1 0 3M".to_owned(), "write -P 2 5M 1M".to_owned()];
    pair.write("base.img", format, &pattern);
    let base = std::fs::read(pair.our_dir().join("base.img")).expect("it was made");
    let mut child = std::fs::read(pair.our_dir().join("child.img")).expect("it was made");
    if format == "vhdx" {
        let at = header(&base) + 32;
        let id = guid_text(&base[at..at + 16]);
        let pairs = [
            ("relative_path", r".\base.img"),
            ("parent_linkage", id.as_str()),
        ];
        make_vhdx_child(&mut child, &pairs);
        put_vhdx_sectors(&mut child, 2, &[0, 1, 7, 2047], 9);
    } else {
        make_vhd_child(&mut child, r".\base.img", &base[68..84]);
        put_vhd_sectors(&mut child, 1, &[0, 1, 7, 2047], 9);
    }
    pair.put("child.img", &child);
    child
}

fn ours(pair: &Pair, args: &[&str]) -> Output {
    pair.ours().run(&pair.our_dir(), args).civil()
}

fn expected() -> Vec<u8> {
    let mut disk = vec![0; 8 << 20];
    disk[..3 << 20].fill(1);
    disk[5 << 20..6 << 20].fill(2);
    for sector in [0, 1, 7, 2047] {
        let at = (2 << 20) + sector * 512;
        disk[at..at + 512].fill(9);
    }
    disk
}

#[test]
fn differencing_disks_are_read_through_their_parents() {
    for format in ["vhdx", "vpc"] {
        let mut pair = require!(Pair::new(format));
        family(&mut pair, format);
        let args = ["convert", "-f", format, "-O", "raw", "child.img", "o.raw"];
        ours(&pair, &args).ok();
        assert!(disk(&pair) == expected(), "{format}: another disk came out");
        let info = ours(&pair, &["info", "child.img"]).ok().stdout;
        for line in [
            "backing file: base.img",
            "type: differencing",
            "parent id: ",
        ] {
            assert!(info.contains(line), "{info}");
        }
        let map = ours(&pair, &["map", "--output=json", "child.img"]).ok();
        assert!(map.stdout.contains("\"depth\": 1"), "{}", map.report());
        let args = ["-f", format, "-c", "write 0 512", "child.img"];
        let write = house_tests::tools::our_io().run(&pair.our_dir(), &args);
        assert!(
            write.stderr.contains("can only be read"),
            "{}",
            write.report()
        );
    }
}

#[test]
fn another_parent_is_noticed() {
    for format in ["vhdx", "vpc"] {
        let mut pair = require!(Pair::new(format));
        let mut child = family(&mut pair, format);
        let base = std::fs::read(pair.our_dir().join("base.img")).expect("it was made");
        if format == "vhdx" {
            let change = ["write -P 3 0 4k".to_owned()];
            pair.write("base.img", format, &change);
        } else {
            let mut id = base[68..84].to_vec();
            id[3] ^= 1;
            let at = 512 + 40;
            child[at..at + 16].copy_from_slice(&id);
            pair.put("child.img", &child);
        }
        let args = ["convert", "-f", format, "-O", "raw", "child.img", "o.raw"];
        let output = ours(&pair, &args);
        assert_eq!(output.code, Some(1), "{}", output.report());
        assert!(
            output
                .stderr
                .contains("is not what this disk was made over")
        );
    }
}

#[test]
fn parents_elsewhere_are_not_followed() {
    let mut pair = require!(Pair::new("parents elsewhere"));
    let dir = pair.our_dir();
    std::fs::create_dir(dir.join("sub")).expect("a folder can be made");
    std::fs::write(dir.join("secret"), vec![5; 1 << 20]).expect("a file can be made");
    for format in ["vhdx", "vpc"] {
        family(&mut pair, format);
        for parent in [
            r"..\secret",
            r"..\..\..\..\etc\passwd",
            "nbd://host/x",
            "json:{}",
        ] {
            let args = ["create", "-q", "-f", format, "t.img", "8M"];
            pair.ours().run(&dir, &args).ok();
            let mut child = std::fs::read(dir.join("t.img")).expect("it was made");
            if format == "vhdx" {
                make_vhdx_child(&mut child, &[("relative_path", parent)]);
            } else {
                make_vhd_child(&mut child, parent, &[0; 16]);
            }
            std::fs::write(dir.join("sub/t.img"), child).expect("a file can be written");
            let args = ["convert", "-f", format, "-O", "raw", "sub/t.img", "o.raw"];
            let output = ours(&pair, &args);
            assert_eq!(output.code, Some(1), "{parent}: {}", output.report());
        }
    }
}

#[test]
fn a_vhd_is_opened_by_either_of_its_footers() {
    for kind in ["dynamic", "fixed"] {
        let mut pair = require!(Pair::new(kind));
        let options = format!("subformat={kind}");
        pair.run(&["create", "-q", "-f", "vpc", "-o", &options, "t.img", "8M"]);
        pair.write("t.img", "vpc", &["write -P 5 1M 1M".to_owned()]);
        let good = std::fs::read(pair.our_dir().join("t.img")).expect("it was made");
        let end = good.len() - 512;
        for (place, byte) in [(end, 0), (end + 50, 1), (0, 0), (50, 1)] {
            if kind == "fixed" && place >= end {
                continue;
            }
            let mut image = good.clone();
            image[place] ^= byte;
            if byte == 0 {
                image[place..place + 512].fill(0);
            }
            std::fs::write(pair.our_dir().join("d.img"), &image).expect("it can be written");
            let args = ["convert", "-f", "vpc", "-O", "raw", "d.img", "o.raw"];
            ours(&pair, &args).ok();
            let args = ["convert", "-f", "vpc", "-O", "raw", "t.img", "good.raw"];
            ours(&pair, &args).ok();
            if kind == "fixed" {
                continue;
            }
            let args = ["compare", "good.raw", "o.raw"];
            ours(&pair, &args).ok();
            // The first write mends it: the reference reads it again.
            let args = ["-f", "vpc", "-c", "write -P 5 1M 4k", "d.img"];
            house_tests::tools::our_io()
                .run(&pair.our_dir(), &args)
                .ok();
            let args = ["compare", "-f", "vpc", "-F", "vpc", "t.img", "d.img"];
            pair.reference().run(&pair.our_dir(), &args).ok();
        }
    }
}

#[test]
fn vhd_is_another_name_of_vpc() {
    let pair = require!(Pair::new("vhd"));
    ours(&pair, &["create", "-f", "vhd", "t.img", "8M"]).ok();
    let info = ours(&pair, &["info", "-f", "vhd", "t.img"]).ok();
    assert!(
        info.stdout.contains("file format: vpc"),
        "{}",
        info.report()
    );
    ours(
        &pair,
        &["convert", "-f", "vhd", "-O", "vhd", "t.img", "u.img"],
    )
    .ok();
    let args = ["info", "-f", "vpc", "u.img"];
    pair.reference().run(&pair.our_dir(), &args).ok();
}
