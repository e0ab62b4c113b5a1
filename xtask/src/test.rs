//! `cargo xtask test`: installs what tests need, builds, runs everything, and says what was skipped and why.
//!
//! The test runner knows no skipping at run time, so tests record it in a file (`house_tests::skip`);
//! the last line here counts these as ignored, not as passed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::shell::{self, cargo, line_of, root};

/// Numbers of `test result:` lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

/// Runs all tests; `words` are handed to `cargo test`.
///
/// # Errors
/// When one failed or did not build.
pub(crate) fn run(words: &[String]) -> Result<()> {
    packages::install();
    let start = Instant::now();
    build()?;
    let skips = root().join("target").join("skipped-tests");
    if skips.exists() {
        fs::remove_file(&skips)?;
    }
    // Doc comments hold no examples (`tidy`), and running none of them in every crate takes its time.
    let mut command = cargo(&["test", "--workspace", "--tests", "--no-fail-fast"]);
    command.args(words).env("HOUSE_SKIPS", &skips);
    let (counts, ok) = follow(&mut command)?;
    let skipped = read_skips(&skips)?;
    let result = report(counts, &skipped, start);
    fs::write(root().join("target").join("test-result"), result)?;
    if !ok || counts.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// Builds every program and every test at once: apart, the crates that only tests ask features of would be built twice.
///
/// # Errors
/// When something does not build.
pub(crate) fn build() -> Result<()> {
    shell::run(&mut cargo(&["build", "--workspace", "--bins", "--tests"]))
}

/// Runs `cargo test`, showing its output and adding up its results.
fn follow(command: &mut Command) -> Result<(Counts, bool)> {
    let line = line_of(command);
    println!("$ {line}");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let out = child.stdout.take().context("its output was asked for")?;
    let mut counts = Counts::default();
    for line in BufReader::new(out).lines() {
        let line = line?;
        println!("{line}");
        counts.add(&line);
    }
    Ok((counts, child.wait()?.success()))
}

impl Counts {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in rest.split([';', '.']) {
            let mut words = part.split_whitespace();
            if let (Some(Ok(number)), Some(what)) =
                (words.next().map(str::parse::<usize>), words.next())
            {
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        }
    }
}

/// The recorded skips, `test<TAB>reason`.
fn read_skips(path: &Path) -> Result<Vec<(String, String)>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut skips: Vec<_> = fs::read_to_string(path)?
        .lines()
        .filter_map(|l| l.split_once('\t'))
        .map(|(test, reason)| (test.to_owned(), reason.to_owned()))
        .collect();
    skips.sort();
    skips.dedup();
    Ok(skips)
}

/// Prints what was skipped and the sum, and gives the sum's line.
fn report(counts: Counts, skipped: &[(String, String)], start: Instant) -> String {
    println!();
    for (test, reason) in skipped {
        println!("test {test} ... ignored, {reason}");
    }
    println!(
        "skipped at run time: {} (named above, counted as ignored below)",
        skipped.len()
    );
    let result = format!(
        "test result: {}. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        if counts.failed == 0 { "ok" } else { "FAILED" },
        counts.passed.saturating_sub(skipped.len()),
        counts.failed,
        counts.ignored + skipped.len(),
        start.elapsed().as_secs_f64()
    );
    print!("\n{result}");
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_add_up() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s");
        counts.add("running 3 tests");
        counts.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.10s");
        let sum = Counts {
            passed: 4,
            failed: 2,
            ignored: 1,
        };
        assert_eq!(counts, sum);
    }
}
