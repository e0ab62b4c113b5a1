//! `cargo xtask fuzz-smoke [SECONDS [TARGET...]]`: replays the corpora and runs each fuzz target for some
//! seconds (5), on stable.

use std::process::Command;

use anyhow::Result;

use crate::shell::{cargo, root, run};

/// Most address space of the run, so that a huge allocation fails at once.
const ADDRESS_SPACE: &str = "--as=4294967296";

/// Builds and runs the targets.
///
/// # Errors
/// When one finds something; the input is in `target/fuzz/artifacts`.
pub(crate) fn smoke(words: &[String]) -> Result<()> {
    let (fuzz, target) = (root().join("tests/fuzz"), root().join("target/fuzz"));
    let mut build = cargo(&["build", "--release", "--bin", "smoke", "--manifest-path"]);
    build.arg(fuzz.join("Cargo.toml"));
    run(build.env("CARGO_TARGET_DIR", &target))?;
    let (seconds, targets) = words
        .split_first()
        .map_or(("5", &[][..]), |(first, rest)| (first.as_str(), rest));
    let mut smoke = Command::new("prlimit");
    smoke
        .args([ADDRESS_SPACE, "--"])
        .arg(target.join("release/smoke"));
    smoke.arg(fuzz.join("corpus")).arg(target.join("artifacts"));
    run(smoke.arg(seconds).args(targets).env("RUST_BACKTRACE", "1"))
}
