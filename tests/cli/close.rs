//! Bitmaps that find no room when an image is closed, beside the reference: what is said, how often, and what is kept.

use house_tests::{Pair, require};

const BASE: &str = "base.qcow2";
const TOP: &str = "top.qcow2";

/// The base as a device that ends where the file ends now.
fn full_device(pair: &Pair) -> String {
    let bytes = std::fs::metadata(pair.reference_dir().join(BASE)).expect("it was made");
    let size = bytes.len();
    format!(
        r#"json:{{"driver":"qcow2","file":{{"driver":"raw","size":{size},"file":{{"driver":"file","filename":"{BASE}"}}}}}}"#
    )
}

/// A base whose file is full to the end, with stored bitmaps that record, under an overlay with data.
fn full_base(bitmaps: &[&str]) -> Result<(Pair, String), String> {
    let mut pair = Pair::new("bitmaps without room")?;
    pair.run(&["create", "-q", "-f", "qcow2", BASE, "1M"]);
    for name in bitmaps {
        pair.run(&["bitmap", "--add", BASE, name]);
    }
    pair.write(BASE, "qcow2", &["write -P 1 0 1M".to_owned()]);
    // Both tools get the reference's image: the same places are free.
    let mut made = std::fs::read(pair.reference_dir().join(BASE)).expect("it was made");
    made.resize(made.len().next_multiple_of(512), 0);
    pair.put(BASE, &made);
    let device = full_device(&pair);
    pair.run(&[
        "create", "-q", "-f", "qcow2", "-b", &device, "-F", "qcow2", TOP,
    ]);
    pair.write(TOP, "qcow2", &["write -P 2 64k 300k".to_owned()]);
    Ok((pair, device))
}

#[test]
fn a_commit_that_loses_bitmaps_says_so_and_keeps_the_data() {
    let (mut pair, _) = require!(full_base(&["old"]));
    let both = pair.run(&["commit", "-d", TOP]);
    assert_eq!(both.ours.code, Some(1));
    pair.same_content(BASE, "qcow2");
    pair.clean(BASE, "qcow2");
}

#[test]
fn bitmaps_that_cannot_be_stored_are_told_at_the_end() {
    let (mut pair, device) = require!(full_base(&[]));
    let both = pair.run(&["bitmap", "--add", &device, "new"]);
    assert_eq!(both.ours.code, Some(1));
    pair.run(&["info", BASE]);
    pair.same_content(BASE, "qcow2");
    pair.clean(BASE, "qcow2");
}
