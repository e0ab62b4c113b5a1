//! Disks on other hosts, as far as no host is needed.

use house_tests::{Scratch, ours};

#[test]
fn a_plain_name_is_no_disk_on_another_host() {
    let scratch = Scratch::new();
    let words = ["create", "-q", "-f", "ssh", "disk", "1M"];
    let output = ours().run(scratch.dir(), &words);
    assert_eq!(output.code, Some(1), "{}", output.report());
    let said = "disk: Could not create image: Invalid argument\n";
    assert!(output.stderr.ends_with(said), "{}", output.report());
    assert!(!scratch.path("disk").exists());
}
