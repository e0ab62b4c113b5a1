//! Growing and shrinking an export: refused.

use house_tests::{Scratch, ours, require};

use crate::servers::{Make, Over, Server};

/// Words after `resize`, and what is said.
const SIZES: &[(&[&str], &str)] = &[
    (&["+1M"], "Cannot grow NBD nodes"),
    (&["2M"], "Cannot grow NBD nodes"),
    (&["--shrink", "512k"], "Image was not resized"),
    (&["512k"], "Use the --shrink option"),
];

#[test]
fn an_export_keeps_its_size() {
    let scratch = Scratch::new();
    let file = std::fs::File::create(scratch.path("disk")).expect("a file");
    file.set_len(1 << 20).expect("a length");
    for make in [Make::Ours, Make::Qemu] {
        let server = require!(Server::start(make, Over::Unix, &scratch, None, "disk"));
        let words = server.words(None);
        for (size, said) in SIZES {
            let (last, shrink) = size.split_last().expect("a size");
            let mut all = vec!["resize"];
            all.extend(shrink);
            all.extend(words.iter().map(String::as_str));
            all.push(last);
            let output = ours().run(scratch.dir(), &all).expect_code(1);
            assert!(output.stderr.contains(said), "{}", output.report());
        }
        let length = std::fs::metadata(scratch.path("disk")).expect("a file");
        assert_eq!(length.len(), 1 << 20);
    }
}
