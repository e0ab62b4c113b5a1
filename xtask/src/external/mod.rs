//! `external`: public test programs for processors on our machine. They are never stored here: a folder says where they are.
//!
//! ```text
//! KVM_UNIT_TESTS=DIR   a checkout of kvm-unit-tests; its 64-bit and 32-bit programs are built in copies of it
//! TEST386=DIR          a checkout of test386.asm; assembled with nasm
//! ```

mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, find, root, run};
use table::{Case, KVM_UNIT_TESTS, Width};

/// What a program of kvm-unit-tests makes of "all passed" at the exit port: 0, and a set lowest bit.
const PASSED: i32 = 1;
/// The last diagnostic code of test386.
const POST_LAST: u8 = 0xff;

/// Runs what the environment names; words choose tests by name.
pub(crate) fn external(words: &[String]) -> Result<()> {
    let dir = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (unit, asm) = (dir("KVM_UNIT_TESTS"), dir("TEST386"));
    if unit.is_none() && asm.is_none() {
        bail!("set KVM_UNIT_TESTS or TEST386 to a folder with that project's source");
    }
    run(&mut cargo(&["build", "--release", "-p", "vmm-core"]))?;
    let machine = root().join("target/release/qsystem-x86_64");
    let mut failed = Vec::new();
    if let Some(source) = unit {
        failed.extend(unit_tests(&machine, &source, words)?);
    }
    if let Some(source) = asm.filter(|_| words.is_empty()) {
        let last = test386(&machine, &source)?;
        println!("| test386 | POST {last:02X} |");
        if last != POST_LAST {
            failed.push("test386".to_owned());
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(" "));
    }
    Ok(())
}

fn scratch(name: &str) -> Result<PathBuf> {
    let dir = root().join("target/external").join(name);
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A copy of the source in which the programs for one width are built.
fn built(source: &Path, width: Width) -> Result<PathBuf> {
    let dir = scratch(width.arch())?;
    let from = source.join(".");
    run(Command::new("cp").arg("-r").arg(from).arg(&dir))?;
    let arch = format!("--arch={}", width.arch());
    run(Command::new("./configure").arg(arch).current_dir(&dir))?;
    let mut programs: Vec<String> = KVM_UNIT_TESTS
        .iter()
        .filter(|case| case.width == width)
        .map(|case| format!("x86/{}.flat", case.program))
        .collect();
    programs.sort();
    programs.dedup();
    run(Command::new("make")
        .args(&programs)
        .current_dir(&dir)
        .stdout(Stdio::null()))?;
    Ok(dir)
}

fn unit_tests(machine: &Path, source: &Path, words: &[String]) -> Result<Vec<String>> {
    let wide = built(source, Width::Bits64)?;
    let narrow = built(source, Width::Bits32)?;
    let chosen = |case: &&Case| words.is_empty() || words.iter().any(|word| word == case.name);
    let mut failed = Vec::new();
    println!("| test | result | seconds |\n|---|---|---|");
    for case in KVM_UNIT_TESTS.iter().filter(chosen) {
        let dir = match case.width {
            Width::Bits64 => &wide,
            Width::Bits32 => &narrow,
        };
        let start = Instant::now();
        let result = unit_test(machine, dir, case)?;
        let seconds = start.elapsed().as_secs();
        println!("| {} | {result} | {seconds} |", case.name);
        if result != "pass" {
            failed.push(case.name.to_owned());
        }
    }
    Ok(failed)
}

fn unit_test(machine: &Path, dir: &Path, case: &Case) -> Result<String> {
    let environment = dir.join("environment");
    std::fs::write(&environment, case.environment)?;
    let output = dir.join(format!("{}.out", case.name));
    let mut command = Command::new(machine);
    command
        .args(["-nodefaults", "-display", "none", "-vga", "none"])
        .args(["-M", case.board])
        .args(["-device", "pc-testdev", "-device", "pci-testdev"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"])
        .args(["-smp", &case.processors.to_string(), "-cpu", case.cpu])
        .arg("-serial")
        .arg(format!("file:{}", output.display()))
        .arg("-kernel")
        .arg(dir.join(format!("x86/{}.flat", case.program)));
    for device in case.devices {
        command.args(["-device", device]);
    }
    if !case.environment.is_empty() {
        command.arg("-initrd").arg(&environment);
    }
    if !case.arguments.is_empty() {
        command.args(["-append", case.arguments]);
    }
    let code = wait(&mut command, Duration::from_secs(case.seconds))?;
    let said = std::fs::read(&output).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let failures = said.lines().filter(|line| line.starts_with("FAIL")).count();
    Ok(match code {
        None => "does not end".to_owned(),
        Some(PASSED) if failures == 0 => "pass".to_owned(),
        Some(code) => format!("{failures} failed, exit code {code}"),
    })
}

/// The exit code; `None` when it had to be ended.
fn wait(command: &mut Command, time: Duration) -> Result<Option<i32>> {
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", crate::shell::line_of(command)))?;
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// The last diagnostic code.
fn test386(machine: &Path, source: &Path) -> Result<u8> {
    if find("nasm").is_none() {
        bail!("test386 needs the program nasm");
    }
    let dir = scratch("test386")?;
    let from = source.join(".");
    run(Command::new("cp").arg("-r").arg(from).arg(&dir))?;
    let settings = dir.join("src/configuration.asm");
    let text = std::fs::read_to_string(&settings)?;
    // The codes go to the debug console.
    let text = text.replace("POST_PORT equ 0x190", "POST_PORT equ 0xe9");
    std::fs::write(&settings, text)?;
    let rom = dir.join("test386.bin");
    let codes = dir.join("codes");
    run(Command::new("nasm")
        .args(["-i./src/", "-f", "bin", "-w-all", "src/test386.asm", "-o"])
        .arg(&rom)
        .current_dir(&dir))?;
    let mut command = Command::new(machine);
    command
        .args(["-nodefaults", "-display", "none", "-vga", "none", "-bios"])
        .arg(&rom)
        .arg("-debugcon")
        .arg(format!("file:{}", codes.display()));
    // It halts at its end, whatever that is.
    let _ = wait(&mut command, Duration::from_secs(20))?;
    Ok(std::fs::read(&codes)?.last().copied().unwrap_or(0))
}
