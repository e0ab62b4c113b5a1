//! `cargo xtask soak [SECONDS [SEED]]`: the model test, for long.

use anyhow::Result;

use crate::shell::{cargo, run};

/// Runs the model test for that many seconds (600), from that seed.
///
/// # Errors
/// When it fails; the seed is in its output.
pub(crate) fn run_for(words: &[String]) -> Result<()> {
    let seconds = words.first().map_or("600", String::as_str);
    run(&mut cargo(&["build", "--workspace", "--bins"]))?;
    let mut command = cargo(&[
        "test",
        "-p",
        "house-tests",
        "--test",
        "model",
        "--",
        "--nocapture",
        "soak",
    ]);
    command.env("HOUSE_SOAK_SECONDS", seconds);
    if let Some(seed) = words.get(1) {
        command.env("HOUSE_SEED", seed);
    }
    run(&mut command)
}
