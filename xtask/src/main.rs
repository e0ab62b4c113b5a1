//! The project's own tasks: `cargo xtask TASK`. One file a task.
#![forbid(unsafe_code)]

mod bench;
mod ci;
mod demo;
mod external;
mod fuzz_smoke;
mod packages;
mod shell;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// A task by name.
struct Task {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const TASKS: &[Task] = &[
    Task {
        name: "bench",
        help: "[--quick] [--rounds N] [--dir DIR] [ROW...]: ours against the real tool",
        run: bench::bench,
    },
    Task {
        name: "ci",
        help: "the whole gate: fmt, clippy, tidy, docs, fuzz build, tests",
        run: |_| ci::run_all(),
    },
    Task {
        name: "demo",
        help: "the main job on real data, proved step by step",
        run: |_| demo::demo(),
    },
    Task {
        name: "external",
        help: "[TEST...]: public processor tests, whose source KVM_UNIT_TESTS and TEST386 name",
        run: external::external,
    },
    Task {
        name: "fuzz-smoke",
        help: "[SECONDS [TARGET...]]: replays corpora, runs each fuzz target briefly",
        run: fuzz_smoke::smoke,
    },
    Task {
        name: "soak",
        help: "[SECONDS [SEED]]: the model test, for long",
        run: soak::run_for,
    },
    Task {
        name: "test",
        help: "installs what tests need, builds, runs everything, says what it skips",
        run: test::run,
    },
    Task {
        name: "tidy",
        help: "the house rules",
        run: |_| tidy::run(),
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[String]) -> Result<()> {
    let Some((name, rest)) = words.split_first() else {
        return help();
    };
    if let Some(task) = TASKS.iter().find(|t| t.name == name) {
        return (task.run)(rest);
    }
    help()?;
    bail!("no task is called `{name}`")
}

#[expect(clippy::unnecessary_wraps, reason = "it stands in for a task")]
fn help() -> Result<()> {
    println!("cargo xtask TASK\n");
    for task in TASKS {
        println!("  {:<12} {}", task.name, task.help);
    }
    Ok(())
}
