//! `cargo xtask fuzz-smoke [SECONDS [TARGET...]]`: replays the corpora and runs each fuzz target for some
//! seconds (5), on stable.

use std::process::Command;

use anyhow::Result;

use crate::shell::{root, run};
use crate::test;

/// Most address space of the run, so that a huge allocation fails at once.
const ADDRESS_SPACE: &str = "--as=4294967296";

/// Builds and runs the targets.
///
/// # Errors
/// When one finds something; the input is in `target/fuzz/artifacts`.
pub(crate) fn smoke(words: &[String]) -> Result<()> {
    let target = root().join("target");
    test::build()?;
    let (seconds, targets) = words
        .split_first()
        .map_or(("5", &[][..]), |(first, rest)| (first.as_str(), rest));
    let mut smoke = Command::new("prlimit");
    smoke
        .args([ADDRESS_SPACE, "--"])
        .arg(target.join("debug/smoke"));
    smoke.arg(root().join("tests/fuzz/corpus"));
    smoke.arg(target.join("fuzz/artifacts"));
    run(smoke.arg(seconds).args(targets).env("RUST_BACKTRACE", "1"))
}
