//! Formats that can only be read, built by the tests themselves: cloop, bochs and dmg.

use house_tests::foreign::{Dmg, Stored, bochs, cloop, disk};
use house_tests::tools::our_io;
use house_tests::{Pair, Rng, qemu_io, require};

/// A file name, its format, its bytes and the disk in it.
struct Image {
    name: &'static str,
    format: &'static str,
    bytes: Vec<u8>,
    disk: Vec<u8>,
}

fn image(name: &'static str, format: &'static str, bytes: Vec<u8>, disk: &[u8]) -> Image {
    Image {
        name,
        format,
        bytes,
        disk: disk.to_vec(),
    }
}

/// A dmg of two partitions with chunks that the reference reads too.
fn common_dmg(rng: &mut Rng) -> Dmg {
    let mut dmg = Dmg::default();
    let bytes = disk(rng, 2 << 20);
    let mut pieces = bytes.chunks(512 * 520);
    let mut next = || pieces.next().unwrap_or(&bytes[..512]);
    dmg.chunk(Stored::Zlib, next());
    dmg.chunk(Stored::Zero, &[0; 512 * 300]);
    dmg.chunk(Stored::Plain, next());
    dmg.table();
    dmg.chunk(Stored::Zlib, next());
    dmg.chunk(Stored::Ignored, &[1; 512 * 7]);
    dmg.chunk(Stored::Zlib, next());
    dmg.chunk(Stored::Zlib, &bytes[..512]);
    dmg
}

fn images() -> Vec<Image> {
    let mut rng = Rng::new(Rng::seed_from_env(77));
    let bytes = disk(&mut rng, 3 << 20);
    let dmg = common_dmg(&mut rng);
    let ragged = disk(&mut rng, 1_234_432);
    vec![
        image("t.cloop", "cloop", cloop(&bytes, 65536), &bytes),
        image("big.cloop", "cloop", cloop(&bytes, 3 << 20), &bytes),
        image(
            "odd.cloop",
            "cloop",
            cloop(&bytes[..1536 * 300], 1536),
            &bytes[..1536 * 300],
        ),
        image("none.cloop", "cloop", cloop(&[], 65536), &[]),
        image("v1.img", "bochs", bochs(&bytes, 65536, 1), &bytes),
        image("v2.img", "bochs", bochs(&ragged, 4096, 2), &ragged),
        image(
            "tiny.img",
            "bochs",
            bochs(&bytes[..65536], 512, 2),
            &bytes[..65536],
        ),
        image("huge.img", "bochs", bochs(&bytes, 8 << 20, 2), &bytes),
        image("t.dmg", "dmg", dmg.with_plist(), &dmg.disk),
        image("old.dmg", "dmg", dmg.with_fork(), &dmg.disk),
    ]
}

/// The world with one of them in it.
fn world(image: &Image) -> Result<Pair, String> {
    let pair = Pair::new(image.name)?;
    pair.put(image.name, &image.bytes);
    Ok(pair)
}

#[test]
fn they_are_seen_alike() {
    for image in images() {
        let mut pair = require!(world(&image));
        let (name, format) = (image.name, image.format);
        for words in [
            &["info", name][..],
            &["info", "--output=json", name],
            &["map", name],
            &["map", "--output=json", name],
            &["check", name],
            &["snapshot", "-l", name],
            &["measure", "-O", "qcow2", name],
            &["convert", "-O", "raw", name, "o.raw"],
            &["convert", "-O", "qcow2", "-c", name, "o.qcow2"],
            &["compare", name, "o.raw"],
            &["compare", "-f", format, "-F", "qcow2", name, "o.qcow2"],
            &[
                "dd",
                "-f",
                format,
                &format!("if={name}"),
                "of=o.dd",
                "bs=700",
                "skip=3",
                "count=9",
            ],
        ] {
            pair.run(words);
        }
        for dir in [pair.our_dir(), pair.reference_dir()] {
            let raw = std::fs::read(dir.join("o.raw")).unwrap_or_default();
            assert!(raw == image.disk, "{name}: another disk came out");
        }
    }
}

#[test]
fn writing_is_refused_alike() {
    for image in images() {
        let mut pair = require!(world(&image));
        let (name, format) = (image.name, image.format);
        for words in [
            &["create", "-f", format, "x.img", "1M"][..],
            &["create", "-f", format, "-o", "help"],
            &["resize", "-f", format, name, "+1M"],
            &["snapshot", "-c", "a", name],
            &["amend", "-f", format, "-o", "size=9M", name],
            &["bitmap", "--add", "-f", format, name, "b"],
            &["rebase", "-f", format, "-u", "-b", "", name],
            &["commit", "-f", format, name],
            &["measure", "-O", format, "--size", "1M"],
            &["convert", "-O", format, name, "x.img"],
        ] {
            pair.run(words);
        }
    }
}

#[test]
fn they_stand_below_overlays() {
    for image in images().into_iter().filter(|i| !i.disk.is_empty()) {
        let mut pair = require!(world(&image));
        let (name, format) = (image.name, image.format);
        pair.run(&["create", "-f", "qcow2", "-b", name, "-F", format, "o.qcow2"]);
        pair.write("o.qcow2", "qcow2", &["write -P 9 1000 3000".to_owned()]);
        pair.run(&["info", "--backing-chain", "o.qcow2"]);
        pair.read_both(&["map", "--output=json", "o.qcow2"]);
        pair.run(&["commit", "o.qcow2"]);
        pair.run(&["convert", "-O", "raw", "o.qcow2", "flat.raw"]);
        pair.same_content("flat.raw", "raw");
    }
}

#[test]
fn read_only_by_itself_when_that_is_allowed() {
    for image in images() {
        let mut pair = require!(world(&image));
        let theirs = require!(qemu_io());
        let node = format!(
            "json:{{\"driver\":\"{}\",\"auto-read-only\":true,\"file.filename\":\"{}\"}}",
            image.format, image.name
        );
        for words in [
            &["-c", "write 0 512", &node][..],
            &["-r", "-c", "length", &node],
            &["-f", image.format, "-c", "write 0 512", image.name],
            &["-r", "-f", image.format, "-c", "write 0 512", image.name],
        ] {
            let ours = our_io().run(&pair.our_dir(), words);
            let reference = theirs.run(&pair.reference_dir(), words);
            assert_eq!(ours.code, reference.code, "{words:?}");
            assert_eq!(ours.stdout, reference.stdout, "{words:?}");
            assert_eq!(ours.stderr, reference.stderr, "{words:?}");
        }
        pair.run(&["info", &node]);
    }
}

#[test]
fn a_trailer_is_found_at_any_odd_end() {
    let mut rng = Rng::new(5);
    for lead in [0, 1, 100, 511] {
        let mut pair = require!(Pair::new(&format!("{lead} bytes before the data")));
        let mut dmg = Dmg::default();
        dmg.chunk(Stored::Plain, &disk(&mut rng, 4096));
        dmg.chunk(Stored::Zlib, &disk(&mut rng, 8192));
        // What is behind the trailer moves it to any place within two sectors.
        let mut bytes = dmg.with_plist();
        bytes.resize(bytes.len() + lead, 0);
        pair.put("t.dmg", &bytes);
        pair.run(&["info", "-f", "dmg", "t.dmg"]);
        pair.run(&["convert", "-f", "dmg", "-O", "raw", "t.dmg", "o.raw"]);
    }
}

/// Debian's build of the reference knows neither bzip2 nor lzma: what comes out is compared with what went in.
#[test]
fn bzip2_and_lzma_chunks_are_unpacked() {
    let mut rng = Rng::new(6);
    let bytes = disk(&mut rng, 3 << 20);
    let mut dmg = Dmg::default();
    for (i, piece) in bytes.chunks(512 * 513).enumerate() {
        let stored = [Stored::Bzip2, Stored::Lzma, Stored::Zlib, Stored::Plain][i % 4];
        dmg.chunk(stored, piece);
    }
    let pair = require!(Pair::new("bzip2 and lzma"));
    pair.put("t.dmg", &dmg.with_plist());
    let args = ["convert", "-O", "raw", "t.dmg", "o.raw"];
    pair.ours().run(&pair.our_dir(), &args).ok();
    let raw = std::fs::read(pair.our_dir().join("o.raw")).unwrap_or_default();
    assert!(raw == bytes, "another disk came out");
    let args = ["compare", "t.dmg", "o.raw"];
    pair.ours().run(&pair.our_dir(), &args).ok();
}

#[test]
fn lzfse_and_what_is_not_known_fail_where_they_are() {
    for code in [0x8000_0007, 0x8000_0004, 77] {
        let mut pair = require!(Pair::new(&format!("chunk of type {code:x}")));
        let mut dmg = Dmg::default();
        dmg.chunk(Stored::Plain, &[7; 8192]);
        dmg.chunk(Stored::Unknown(code), &[8; 8192]);
        dmg.chunk(Stored::Unknown(code), &[8; 8192]);
        pair.put("t.dmg", &dmg.with_plist());
        pair.run(&["info", "t.dmg"]);
        pair.run(&["convert", "-O", "raw", "t.dmg", "o.raw"]);
        pair.run(&["dd", "if=t.dmg", "of=o.dd", "bs=4096", "count=2"]);
    }
}

/// What is left out says so, and what to do instead.
#[test]
fn what_is_left_out_is_refused_with_words() {
    let mut pair = require!(Pair::new("vvfat"));
    pair.put("disk.raw", &[0; 65536]);
    let refused = |words: &[&str], says: [&str; 2]| {
        let output = pair.ours().run(&pair.our_dir(), words);
        assert_eq!(output.code, Some(1), "{}", output.report());
        for words in says {
            assert!(output.stderr.contains(words), "{}", output.report());
        }
    };
    refused(
        &["info", "fat:/etc"],
        ["Unknown protocol 'fat'", "mkfs.fat"],
    );
    refused(
        &["convert", "-O", "raw", "fat:rw:/etc", "o.raw"],
        ["Unknown protocol 'fat'", "mkfs.fat"],
    );
    refused(
        &["info", "--image-opts", "driver=vvfat,dir=/etc"],
        ["Unknown driver 'vvfat'", "mkfs.fat"],
    );
    refused(
        &["create", "-f", "vvfat", "x.img", "1M"],
        ["Unknown file format 'vvfat'", "mkfs.fat"],
    );
    let head = "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n";
    let text = format!("{head}createType=\"seSparse\"\nRW 128 SESPARSE \"x.vmdk\"\n");
    pair.put("se.vmdk", text.as_bytes());
    refused(&["info", "se.vmdk"], ["seSparse", "vmkfstools"]);
    pair.run(&["info", "--image-opts", "driver=nothing"]);
}
