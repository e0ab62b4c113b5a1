//! Amended images beside the reference tool.

use block_core::{Amend, AmendRequest, Progress, SnapshotInfo, Snapshots};
use qapi::{Dict, Value};

use crate::qcow2::Qcow2;
use crate::qcow2::snapshot::tests::kit::{Image, reference, run};

struct Quiet;

impl Progress for Quiet {
    fn set(&self, _done: u64, _total: u64) {}
}

fn amend(image: &Qcow2, options: &[(&str, Value)]) -> qapi::Result<()> {
    let mut dict = Dict::new();
    for (key, value) in options {
        dict.insert(*key, value.clone());
    }
    run(image.amend(AmendRequest {
        options: &dict,
        force: false,
        progress: &Quiet,
        object: &|_| None,
    }))
}

fn words(image: &Qcow2, options: &[(&str, Value)]) -> String {
    amend(image, options).unwrap_err().message().to_owned()
}

fn snapshot(image: &Image, name: &str) {
    let info = SnapshotInfo {
        name: name.into(),
        ..SnapshotInfo::default()
    };
    run(image.open().create(info)).unwrap();
}

#[test]
fn refusals_use_the_words_of_the_reference() {
    if !reference() {
        return;
    }
    let open = Image::create("", "4M").open();
    assert_eq!(
        words(&open, &[("compat", "foo".into())]),
        "Unknown compatibility level foo"
    );
    for bits in [0_u64, 3, 128] {
        let text = words(&open, &[("refcount_bits", bits.into())]);
        assert_eq!(
            text,
            "Refcount width must be a power of two and may not exceed 64 bits"
        );
    }
    assert_eq!(
        words(
            &open,
            &[("compat", "v2".into()), ("lazy_refcounts", true.into())]
        ),
        "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)"
    );
    assert_eq!(
        words(
            &open,
            &[("compat", "v2".into()), ("refcount_bits", 8_u64.into())]
        ),
        "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)"
    );
    assert_eq!(
        words(&open, &[("backing_fmt", "raw".into())]),
        "Cannot amend the backing file"
    );
    assert_eq!(
        words(&open, &[("data_file", "x".into())]),
        "data-file can only be set for images that use an external data file"
    );
    assert_eq!(
        words(&open, &[("data_file_raw", true.into())]),
        "data-file-raw cannot be set on existing images"
    );
    amend(
        &open,
        &[("data_file_raw", false.into()), ("size", 0_u64.into())],
    )
    .unwrap();
}

#[test]
fn every_width_follows_every_other() {
    if !reference() {
        return;
    }
    let mut image = Image::create("", "8M");
    image.qemu("qemu-io", &["-f", "qcow2", "-c", "write -P 3 0 5M", "{}"]);
    let before = image.content(None);
    for bits in [64_u64, 1, 32, 2, 8, 4, 16] {
        amend(&image.open(), &[("refcount_bits", bits.into())]).unwrap();
        image.assert_clean(&format!("{bits} bits"));
        assert!(image.content(None) == before);
        assert!(
            image
                .qemu("qemu-img", &["info", "{}"])
                .text
                .contains(&format!("refcount bits: {bits}\n"))
        );
    }
    snapshot(&image, "s");
    let text = words(&image.open(), &[("refcount_bits", 1_u64.into())]);
    assert!(
        text.starts_with("Cannot decrease refcount entry width to 1 bits: Cluster at offset 0x"),
        "{text}"
    );
    assert!(text.ends_with(" has a refcount of 2"), "{text}");
    image.assert_clean("refused");
}

#[test]
fn change_of_width_survives_a_failing_file() {
    if !reference() {
        return;
    }
    let mut base = Image::create("", "8M");
    base.qemu("qemu-io", &["-f", "qcow2", "-c", "write -P 3 0 5M", "{}"]);
    let before = base.content(None);
    for writes in 0.. {
        let image = base.copy();
        let open = image.open();
        image.file.fail_after(writes);
        let result = amend(&open, &[("refcount_bits", 64_u64.into())]);
        image.file.fail_after(-1);
        let ran = image.check();
        assert!(
            matches!(ran.code, 0 | 3),
            "after {writes} writes: {}",
            ran.text
        );
        assert!(image.content(None) == before);
        if result.is_ok() {
            return;
        }
    }
}

/// A copy that the reference can open.
fn without_backing(image: &Image) -> Image {
    let image = image.copy();
    run(image.open().change_header(|h| h.backing = None)).unwrap();
    image
}

#[test]
fn downgrade_keeps_disk_and_snapshots() {
    if !reference() {
        return;
    }
    for options in ["", "backing_file=none,backing_fmt=raw"] {
        let mut image = Image::create(options, "8M");
        let io = |image: &mut Image, commands: &[&str]| {
            let options = "driver=qcow2,file.filename={},backing=";
            let mut args = vec!["--image-opts"];
            for command in commands {
                args.extend(["-c", command]);
            }
            args.push(options);
            let ran = image.qemu("qemu-io", &args);
            assert_eq!(ran.code, 0, "{}", ran.text);
        };
        io(&mut image, &["write -P 3 0 1M", "write -z 2M 64k"]);
        snapshot(&image, "s");
        io(
            &mut image,
            &["write -z 0 64k", "write -zu 128k 64k", "write -P 5 3M 64k"],
        );
        let bare = |image: &Image, name| without_backing(image).content(name);
        let (disk, then) = (bare(&image, None), bare(&image, Some("s")));
        amend(&image.open(), &[("compat", "v2".into())]).unwrap();
        without_backing(&image).assert_clean(options);
        assert_eq!(image.open().version(), 2);
        assert!(
            bare(&image, None) == disk && bare(&image, Some("s")) == then,
            "{options}"
        );
        amend(&image.open(), &[("compat", "1.1".into())]).unwrap();
        without_backing(&image).assert_clean("back");
        assert_eq!(image.open().version(), 3);
    }
}

#[test]
fn downgrade_refuses_what_version_2_cannot_hold() {
    if !reference() {
        return;
    }
    let v2 = [("compat", Value::from("v2"))];
    let open = Image::create("refcount_bits=8", "1M").open();
    assert_eq!(words(&open, &v2), "compat=0.10 requires refcount_bits=16");
    let mut image = Image::create("", "1M");
    snapshot(&image, "s");
    image.qemu("qemu-img", &["resize", "{}", "2M"]);
    assert_eq!(
        words(&image.open(), &v2),
        "Internal snapshots prevent downgrade of image"
    );
    let mut image = Image::create("compression_type=zstd", "1M");
    image.qemu("qemu-io", &["-f", "qcow2", "-c", "write -c 0 4k", "{}"]);
    assert_eq!(
        words(&image.open(), &v2),
        "Cannot downgrade an image with zstd compression type and existing compressed clusters"
    );
}

#[test]
fn downgrade_drops_bitmaps_without_a_trace() {
    if !reference() {
        return;
    }
    let mut image = Image::create("", "1M");
    image.qemu("qemu-img", &["bitmap", "--add", "{}", "b"]);
    amend(&image.open(), &[("compat", "v2".into())]).unwrap();
    image.assert_clean("downgraded");
    let ran = image.qemu("qemu-img", &["info", "{}"]);
    assert!(!ran.text.contains("bitmaps"), "{}", ran.text);
}
