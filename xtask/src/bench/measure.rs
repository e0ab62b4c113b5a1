//! Runs a program and says what it cost: wall time, processor time, peak memory.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wait4::Wait4;

/// What a run cost.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cost {
    /// Seconds by the clock.
    pub(super) wall: f64,
    /// Seconds of all processors, user and system.
    pub(super) cpu: f64,
    /// Peak resident bytes.
    pub(super) peak: u64,
}

impl Cost {
    /// One run after another.
    pub(super) fn then(self, next: Self) -> Self {
        Self {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak: self.peak.max(next.peak),
        }
    }
}

/// Runs a program to its end; it must succeed.
pub(super) fn measure(program: &Path, args: &[&str], dir: &Path) -> Result<(Cost, String)> {
    measure_with(program, args, dir, None)
}

/// The same with a file as standard input.
pub(super) fn measure_with(
    program: &Path,
    args: &[&str],
    dir: &Path,
    input: Option<&Path>,
) -> Result<(Cost, String)> {
    let stdin = match input {
        Some(path) => File::open(path)?.into(),
        None => Stdio::null(),
    };
    let mut out = tempfile::tempfile()?;
    let start = Instant::now();
    let child = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C")
        .stdin(stdin)
        .stdout(out.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let used = child.wait4()?;
    let cost = Cost {
        wall: start.elapsed().as_secs_f64(),
        cpu: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
        peak: used.rusage.maxrss,
    };
    let text = text_of(&mut out)?;
    if !used.status.success() {
        bail!("{} {} failed: {text}", program.display(), args.join(" "));
    }
    Ok((cost, text))
}

/// Runs a line of shell, not measured.
pub(super) fn shell(line: &str, dir: &Path) -> Result<()> {
    let status = Command::new("sh")
        .args(["-ec", line])
        .current_dir(dir)
        .status()?;
    if !status.success() {
        bail!("`{line}` failed");
    }
    Ok(())
}

fn text_of(file: &mut File) -> Result<String> {
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
