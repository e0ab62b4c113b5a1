//! `cargo xtask ci`: the whole gate. Every step runs even when an earlier one failed; the tests come last.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::shell::{cargo, run};
use crate::{fuzz_smoke, test, tidy};

/// A step by name.
struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        run: fmt,
    },
    Step {
        name: "tidy",
        run: tidy::run,
    },
    Step {
        name: "clippy",
        run: clippy,
    },
    Step {
        name: "doc",
        run: doc,
    },
    Step {
        name: "fuzz",
        run: || fuzz_smoke::smoke(&["3".to_owned()]),
    },
    Step {
        name: "test",
        run: || test::run(&[]),
    },
];

/// Runs the gate.
///
/// # Errors
/// Names the steps that failed.
pub(crate) fn run_all() -> Result<()> {
    run_steps(STEPS)
}

fn run_steps(steps: &[Step]) -> Result<()> {
    let mut failed = Vec::new();
    for step in steps {
        println!("\n=== {}", step.name);
        let start = Instant::now();
        let result = (step.run)();
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("=== {} ok, {seconds:.0} s", step.name),
            Err(error) => {
                println!("=== {} FAILED, {seconds:.0} s: {error:#}", step.name);
                failed.push(step.name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn fmt() -> Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn doc() -> Result<()> {
    let mut command = cargo(&[
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))
}
