//! Our bitmaps seen by the reference tool, its bitmaps by ours, and what a failing file leaves.

use block_core::{BitmapInfo, Bitmaps};

use crate::qcow2::snapshot::tests::kit::{Image, reference, run};

const CLUSTER: u64 = 4096;

fn image() -> Image {
    Image::create("", "4M")
}

fn list(image: &Image) -> Vec<(String, bool, bool)> {
    let show = |b: BitmapInfo| (b.name, b.enabled, b.inconsistent);
    image.open().list().into_iter().map(show).collect()
}

fn ranges(image: &Image, name: &str) -> Vec<(u64, u64)> {
    run(image.open().dirty_ranges(name)).unwrap()
}

/// Adds a bitmap and stores it.
fn add(image: &Image, name: &str) {
    let open = image.open();
    run(open.add(name, None)).unwrap();
    run(open.store_bitmaps()).unwrap();
}

#[test]
fn our_bitmaps_are_taken_by_the_reference() {
    if !reference() {
        return;
    }
    let mut image = image();
    add(&image, "b");
    image.assert_clean("added");
    let open = image.open();
    run(open.put(5 * CLUSTER, 1)).unwrap();
    run(open.put(6 * CLUSTER, 1)).unwrap();
    run(open.put(100 * CLUSTER, 1)).unwrap();
    run(open.store_bitmaps()).unwrap();
    drop(open);
    image.assert_clean("written");
    let merged = image.qemu(
        "qemu-img",
        &["bitmap", "--add", "--disable", "--merge", "b", "{}", "n"],
    );
    assert_eq!(merged.code, 0, "{}", merged.text);
    let expected = [(5 * CLUSTER, 2 * CLUSTER), (100 * CLUSTER, CLUSTER)];
    assert_eq!(ranges(&image, "n"), expected);
    assert_eq!(
        list(&image),
        [("b".into(), true, false), ("n".into(), false, false)]
    );
}

#[test]
fn bitmaps_of_the_reference_record_on() {
    if !reference() {
        return;
    }
    let mut image = image();
    image.qemu("qemu-img", &["bitmap", "--add", "-g", "16k", "{}", "b"]);
    image.qemu("qemu-io", &["-f", "qcow2", "-c", "write 1M 100k", "{}"]);
    let open = image.open();
    run(open.put(0, 1)).unwrap();
    run(open.store_bitmaps()).unwrap();
    assert_eq!(ranges(&image, "b"), [(0, 16 << 10), (1 << 20, 112 << 10)]);
    image.assert_clean("recorded on");
    run(image.open().store_bitmaps()).unwrap();
    image.assert_clean("nothing to store");
}

#[test]
fn killed_writer_leaves_the_bitmap_inconsistent() {
    if !reference() {
        return;
    }
    let mut image = image();
    add(&image, "b");
    let open = image.open();
    run(open.set_enabled("b", true)).unwrap();
    drop(open);
    assert_eq!(
        list(&image),
        [("b".into(), true, false)],
        "no write: nothing to distrust"
    );
    run(image.open().put(0, 1)).unwrap();
    assert_eq!(list(&image), [("b".into(), true, true)]);
    let info = image.qemu("qemu-img", &["info", "{}"]);
    assert!(info.text.contains("[0]: in-use"), "{}", info.text);
    let open = image.open();
    for error in [
        run(open.clear("b")),
        run(open.set_enabled("b", false)),
        run(open.mark("b", &[])),
    ] {
        assert_eq!(
            error.unwrap_err().message(),
            "Bitmap 'b' is inconsistent and cannot be used"
        );
    }
    run(open.add("c", None)).unwrap();
    run(open.store_bitmaps()).unwrap();
    assert_eq!(
        list(&image),
        [("b".into(), true, true), ("c".into(), true, false)]
    );
    image.assert_clean("inconsistent kept");
    let open = image.open();
    run(open.remove("b")).unwrap();
    run(open.store_bitmaps()).unwrap();
    image.assert_clean("removed");
    assert_eq!(list(&image), [("c".into(), true, false)]);
}

#[test]
fn last_bitmap_takes_the_extension_with_it() {
    if !reference() {
        return;
    }
    let image = image();
    add(&image, "b");
    let open = image.open();
    run(open.remove("b")).unwrap();
    run(open.store_bitmaps()).unwrap();
    image.assert_clean("removed");
    assert_eq!(list(&image), []);
}

#[test]
fn refusals_use_the_words_of_the_reference() {
    if !reference() {
        return;
    }
    let open = image().open();
    run(open.add("b", None)).unwrap();
    let words = |result: qapi::Result<()>| result.unwrap_err().message().to_owned();
    assert_eq!(words(run(open.add("b", None))), "Bitmap already exists: b");
    assert_eq!(
        words(run(open.add("", None))),
        "Bitmap name cannot be empty"
    );
    for granularity in [0, 100, 256, 1 << 32] {
        let text = words(run(open.add("c", Some(granularity))));
        assert_eq!(text, "Granularity must be power of 2 and at least 512");
    }
    let long = words(run(open.add(&"x".repeat(1024), None)));
    assert!(
        long.ends_with("Name length exceeds maximum (1023 characters)"),
        "{long}"
    );
    assert_eq!(words(run(open.remove("zz"))), "Dirty bitmap 'zz' not found");
    let old = Image::create("compat=v2", "4M").open();
    let text = words(run(old.add("b", None)));
    assert!(
        text.ends_with("Cannot store dirty bitmaps in qcow2 v2 files"),
        "{text}"
    );
}

#[test]
fn storing_survives_a_failing_file() {
    if !reference() {
        return;
    }
    let base = image();
    for name in ["a", "b"] {
        add(&base, name);
    }
    for writes in 0.. {
        let image = base.copy();
        let open = image.open();
        image.file.fail_after(writes);
        let put = run(open.put(7 * CLUSTER, 1));
        let closed = run(open.remove("a")).and_then(|()| run(open.store_bitmaps()));
        image.file.fail_after(-1);
        let ran = image.check();
        assert!(
            matches!(ran.code, 0 | 3),
            "after {writes} writes: {}",
            ran.text
        );
        match list(&image).iter().find(|(name, ..)| name == "b") {
            Some((_, _, true)) => {}
            Some((_, _, false)) if put.is_ok() && list(&image).len() == 1 => {
                assert_eq!(ranges(&image, "b"), [(7 * CLUSTER, CLUSTER)]);
            }
            Some((_, _, false)) => assert!(put.is_err() || ranges(&image, "b").is_empty()),
            None => panic!("b is lost after {writes} writes"),
        }
        if put.is_ok() && closed.is_ok() {
            assert_eq!(ran.code, 0, "{}", ran.text);
            assert_eq!(list(&image).len(), 1);
            return;
        }
    }
}

#[test]
fn resized_disk_keeps_its_bits() {
    if !reference() {
        return;
    }
    let image = image();
    add(&image, "b");
    let open = image.open();
    run(open.put(0, 1)).unwrap();
    run(open.put(1023 * CLUSTER, 1)).unwrap();
    run(open.prepare_bitmaps_for_resize()).unwrap();
    run(open.change_header(|h| h.size = 2 << 20)).unwrap();
    open.finish_bitmaps_resize(2 << 20);
    run(open.store_bitmaps()).unwrap();
    assert_eq!(ranges(&image, "b"), [(0, CLUSTER)]);
    let killed = image.open();
    run(killed.prepare_bitmaps_for_resize()).unwrap();
    drop(killed);
    let error = run(image.open().prepare_bitmaps_for_resize()).unwrap_err();
    assert_eq!(
        error.message(),
        "Bitmap 'b' is inconsistent and cannot be used"
    );
}
