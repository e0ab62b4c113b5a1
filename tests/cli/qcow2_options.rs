//! What is said of options of an open qcow2 image that cannot be.

use house_tests::tools::our_io;
use house_tests::{Scratch, qemu_io, reference, require};

const OPTIONS: &[&str] = &[
    "cache-clean-interval=4294967295",
    "cache-clean-interval=4294967296",
    "cache-clean-interval=-1",
    "cache-clean-interval=1k",
    "cache-clean-interval=0",
    "l2-cache-size=0",
    "l2-cache-size=abc",
    "l2-cache-size=1E,l2-cache-entry-size=512",
    "l2-cache-entry-size=33000",
    "l2-cache-entry-size=128k",
    "l2-cache-entry-size=256",
    "refcount-cache-size=2E",
    "refcount-cache-size=127T",
    "cache-size=1E",
    "cache-size=1M",
    "cache-size=1000,l2-cache-size=2000",
    "cache-size=1000,refcount-cache-size=2000",
    "cache-size=1000,refcount-cache-size=100,l2-cache-size=100",
    "overlap-check=bla",
    "overlap-check=5",
    "overlap-check.template=bla",
    "overlap-check=none,overlap-check.template=all",
    "overlap-check.main-header=5",
    "overlap-check.main-header=on",
    "overlap-check.bla=on",
    "lazy-refcounts=bla",
    "pass-discard-other=2",
];

#[test]
fn a_cache_of_more_slices_than_can_be_counted_is_refused() {
    let (image, io) = (require!(reference()), require!(qemu_io()));
    let dir = Scratch::new();
    let create = "create -q -f qcow2 -o cluster_size=256k t.qcow2 32P";
    let create: Vec<&str> = create.split(' ').collect();
    image.run(dir.dir(), &create).ok();
    let whole = "driver=qcow2,file.filename=t.qcow2,l2-cache-entry-size=512,l2-cache-size=1T";
    let args = ["-r", "--image-opts", "-c", "length", whole];
    let theirs = io.run(dir.dir(), &args);
    assert!(theirs.stderr.contains("too big"), "{}", theirs.report());
    let ours = our_io().run(dir.dir(), &args);
    ours.same_as(&theirs, whole, str::to_owned);
}

#[test]
fn wrong_options_are_told_as_by_the_reference() {
    let (image, io) = (require!(reference()), require!(qemu_io()));
    let dir = Scratch::new();
    let create = ["create", "-q", "-f", "qcow2", "t.qcow2", "1M"];
    image.run(dir.dir(), &create).ok();
    for options in OPTIONS {
        let whole = format!("driver=qcow2,file.filename=t.qcow2,{options}");
        let args = ["-r", "--image-opts", "-c", "length", &whole];
        let theirs = io.run(dir.dir(), &args);
        let ours = our_io().run(dir.dir(), &args);
        ours.same_as(&theirs, options, str::to_owned);
    }
}
