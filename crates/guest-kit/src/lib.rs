//! A guest with a real Linux kernel, for what only a kernel can show: Debian's cloud kernel (not installed, only
//! unpacked), a first file system made here, and one script that runs in it as root.
//!
//! The script's words come back over the serial port. Each step of it prints
//! ```text
//! [[[ NAME
//! what it said, both streams
//! ]]] CODE
//! ```

#![forbid(unsafe_code)]

mod archive;
mod console;
pub mod grub;
mod kernel;
mod root;
mod tools;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kernel::Flavour;

pub use console::Console;
pub use root::Root;
pub use tools::{Scratch, find};

/// What one step of the script said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Both streams, without empty lines around them.
    pub said: String,
    /// Exit code; `None`: the guest ended before the step did.
    pub code: Option<i32>,
}

/// All steps of a script, by name.
#[derive(Debug)]
pub struct Report {
    steps: BTreeMap<String, Step>,
    console: String,
}

/// Programs and a kernel.
#[derive(Debug)]
pub struct Guest {
    machine: PathBuf,
    options: Vec<String>,
    /// More words for the kernel.
    told: &'static str,
    kernel: kernel::Kernel,
    busybox: PathBuf,
}

/// The machine that guests run on unless a test says otherwise.
const REFERENCE: &str = "-machine q35,accel=tcg -cpu max -m 1G";

/// What every kernel is told. Hosts are busy: timers are not to be measured by one another.
const WORDS: &str = "console=ttyS0 quiet panic=-1 no_timer_check";

fn words(options: &str) -> Vec<String> {
    options.split_whitespace().map(str::to_owned).collect()
}

impl Guest {
    /// Finds or fetches what a guest needs.
    ///
    /// # Errors
    /// What is missing, for tests that skip.
    pub fn find() -> Result<Self, String> {
        Self::of(find("qemu-system-x86_64", "qemu-system-x86")?, REFERENCE)
    }

    /// Finds what a guest needs beside `machine`, which is started with these options.
    ///
    /// # Errors
    /// What is missing.
    pub fn of(machine: PathBuf, options: &str) -> Result<Self, String> {
        Ok(Self {
            machine,
            options: words(options),
            told: "",
            busybox: find("busybox", "busybox-static")?,
            kernel: kernel::fetch(Flavour::Cloud)?,
        })
    }

    /// The same guest with Debian's kernel that has all drivers.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn with_all_drivers(mut self) -> Result<Self, String> {
        self.kernel = kernel::fetch(Flavour::Generic)?;
        Ok(self)
    }

    /// The same guest, its kernel told more.
    #[must_use]
    pub fn told(mut self, words: &'static str) -> Self {
        self.told = words;
        self
    }

    /// The kernel's file.
    pub fn image(&self) -> PathBuf {
        self.kernel.image()
    }

    /// A first file system with the usual small programs, and modules of the kernel with all that these need; the
    /// script loads them in the order of `/modules`.
    ///
    /// # Errors
    /// When the kernel does not have them.
    pub fn root(&self, modules: &[&str]) -> Result<Root, String> {
        let mut root = Root::new(&self.busybox)?;
        let mut order = String::new();
        for (name, bytes) in self.kernel.modules(modules)? {
            order.push_str(&format!("{name}\n"));
            root.file(&format!("lib/{name}.ko"), bytes, 0o644);
        }
        root.file("modules", order.into_bytes(), 0o644);
        Ok(root)
    }

    /// The first file system with its script as the file that a boot loader gives the kernel.
    pub fn initrd(root: Root, script: &str) -> Vec<u8> {
        root.finish(script)
    }

    /// Boots, runs the script, and comes back when the guest has powered off.
    ///
    /// # Panics
    /// When the machine cannot be started, or takes longer than `time`.
    pub fn run(&self, root: Root, script: &str, time: Duration) -> Report {
        let scratch = Scratch::new();
        let initrd = scratch.path("initrd");
        fs::write(&initrd, root.finish(script)).expect("the scratch folder can be written");
        let console = scratch.path("console");
        let mut command = Command::new(&self.machine);
        command
            .args(&self.options)
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .arg("-append")
            .arg(format!("{WORDS} {}", self.told))
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(&initrd)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the machine can be started");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break Some(status);
            }
            if start.elapsed() > time {
                // It may have ended in between.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let text = read_console(&console);
        let mut said = String::new();
        if let Some(stream) = &mut child.stderr {
            let _ = stream.read_to_string(&mut said);
        }
        let ended = status.is_some_and(|s| s.success());
        assert!(ended, "the guest did not end ({status:?}): {said}\n{text}");
        Report::read(text)
    }
}

fn read_console(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\r', "")
}

impl Report {
    fn read(console: String) -> Self {
        let mut steps = BTreeMap::new();
        let mut open: Option<(String, Step)> = None;
        for line in console.lines() {
            if let Some(name) = line.strip_prefix("[[[ ") {
                steps.extend(open.take());
                open = Some((name.to_owned(), Step::default()));
            } else if let (Some(code), Some((name, mut step))) = (
                line.strip_prefix("]]] "),
                open.take_if(|_| line.starts_with("]]] ")),
            ) {
                step.code = code.parse().ok();
                step.said = step.said.trim_matches('\n').to_owned();
                steps.insert(name, step);
            } else if let Some((_, step)) = &mut open {
                step.said.push_str(line);
                step.said.push('\n');
            }
        }
        steps.extend(open);
        Self { steps, console }
    }

    /// Whether a step was run.
    pub fn has(&self, name: &str) -> bool {
        self.steps.contains_key(name)
    }

    /// A step that was run.
    ///
    /// # Panics
    /// With the whole console, when there is none of this name.
    #[track_caller]
    pub fn step(&self, name: &str) -> &Step {
        match self.steps.get(name) {
            Some(step) => step,
            None => panic!("no step {name}:\n{}", self.console),
        }
    }

    /// What a step said that must have gone well.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(&self, name: &str) -> &str {
        let step = self.step(name);
        assert_eq!(
            step.code,
            Some(0),
            "{name}: {}\n{}",
            step.said,
            self.console
        );
        &step.said
    }

    /// What a step said that must have been refused.
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn refused(&self, name: &str) -> &str {
        let step = self.step(name);
        assert_eq!(
            step.code,
            Some(1),
            "{name}: {}\n{}",
            step.said,
            self.console
        );
        &step.said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_even_when_the_last_one_is_cut() {
        let text = "boot\n[[[ a b\nx\ny\n]]] 0\nnoise\n]]] 3\n[[[ c\nz\n";
        let report = Report::read(text.to_owned());
        assert_eq!(report.ok("a b"), "x\ny");
        let step = Step {
            said: "z\n".to_owned(),
            code: None,
        };
        assert_eq!(report.step("c"), &step);
    }
}
