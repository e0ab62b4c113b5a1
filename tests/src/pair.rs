//! Two worlds side by side: the same commands run by our tool in one folder and by the reference in
//! another, with the same file names, and everything a user or script can see is compared.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use crate::normal::{difference, normalise, without_rates};
use crate::tools::ours_runs;
use crate::{Output, Scratch, Tool, ours, qemu_io, reference, words};

/// What tests call an external data file.
pub const DATA_FILE: &str = "t.data";

/// Both worlds, with a log of what was run.
#[derive(Debug)]
pub struct Pair {
    scratch: Scratch,
    ours: Tool,
    reference: Tool,
    writer: Tool,
    log: String,
}

/// The two outputs of one command.
#[derive(Debug)]
pub struct Both {
    /// What our tool gave.
    pub ours: Output,
    /// What the reference gave.
    pub reference: Output,
}

impl Pair {
    /// Two empty folders. `story` (a seed, say) is printed first when something differs.
    ///
    /// # Errors
    /// What is not installed, for [`crate::require!`].
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    pub fn new(story: &str) -> Result<Self, String> {
        let (reference, writer) = (reference()?, qemu_io()?);
        ours_runs()?;
        let scratch = Scratch::new();
        for world in ["ours", "reference"] {
            std::fs::create_dir(scratch.path(world)).expect("a scratch folder can be written");
        }
        Ok(Self {
            scratch,
            ours: ours(),
            reference,
            writer,
            log: format!("{story}\n"),
        })
    }

    /// The folder our tool works in.
    pub fn our_dir(&self) -> PathBuf {
        self.scratch.path("ours")
    }

    /// The folder the reference works in.
    pub fn reference_dir(&self) -> PathBuf {
        self.scratch.path("reference")
    }

    /// Puts the same file into both folders.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        for dir in [self.our_dir(), self.reference_dir()] {
            std::fs::write(dir.join(name), bytes).expect("a scratch folder can be written");
        }
    }

    /// Runs one command in both worlds; exit code, output and errors must be equal.
    ///
    /// # Panics
    /// With the whole story, when they are not.
    #[track_caller]
    pub fn run(&mut self, args: &[&str]) -> Both {
        let both = self.run_quietly(args);
        self.same(&both, "stdout", |o| normalise(&o.stdout));
        self.same(&both, "stderr", |o| normalise(&o.stderr));
        both
    }

    /// Runs one command in both worlds; only the exit codes must be equal.
    ///
    /// # Panics
    /// With the whole story, when they are not.
    #[track_caller]
    pub fn run_quietly(&mut self, args: &[&str]) -> Both {
        let _ = writeln!(self.log, "$ qemu-img {}", args.join(" "));
        let both = Both {
            reference: self.reference.run(&self.reference_dir(), args),
            ours: self.ours.run(&self.our_dir(), args),
        };
        assert!(
            both.ours.code == both.reference.code,
            "{}\nexit codes differ\nREFERENCE {}\n\nOURS {}",
            self.log,
            both.reference.report(),
            both.ours.report()
        );
        both
    }

    /// Lets both tools read the same file of one world: everything they say must be equal. This is for
    /// commands that tell where things are in a file, which two good writers place differently.
    ///
    /// # Panics
    /// With the whole story, when they differ.
    #[track_caller]
    pub fn read_both(&mut self, args: &[&str]) {
        for dir in [self.our_dir(), self.reference_dir()] {
            let _ = writeln!(
                self.log,
                "$ cd {}; qemu-img {}",
                dir.file_name().unwrap_or_default().display(),
                args.join(" ")
            );
            let mut both = self.ask(&dir, args);
            if normalise(&both.ours.stdout) != normalise(&both.reference.stdout) {
                settle(&dir);
                both = self.ask(&dir, args);
            }
            self.same(&both, "exit code", |o| format!("{:?}", o.code));
            self.same(&both, "stdout", |o| normalise(&o.stdout));
            self.same(&both, "stderr", |o| normalise(&o.stderr));
        }
    }

    fn ask(&self, dir: &Path, args: &[&str]) -> Both {
        Both {
            reference: self.reference.run(dir, args),
            ours: self.ours.run(dir, args),
        }
    }

    /// Lets the real `qemu-io` do the same writes to both worlds' images. Some may fail (a packed write over
    /// data, say), but then in both.
    ///
    /// # Panics
    /// With the whole story, when only one fails: our image was not what it should be.
    #[track_caller]
    pub fn write(&mut self, image: &str, format: &str, commands: &[String]) {
        let args = words::io(format, commands, image);
        let _ = writeln!(self.log, "$ qemu-io {}", args.join(" "));
        let both = Both {
            reference: self.writer.run(&self.reference_dir(), &args),
            ours: self.writer.run(&self.our_dir(), &args),
        };
        self.same(&both, "exit code", |o| format!("{:?}", o.code));
        self.same(&both, "stdout", |o| without_rates(&o.stdout));
    }

    /// Our image and theirs hold the same bytes, says the reference.
    ///
    /// # Panics
    /// With the whole story, when they do not.
    #[track_caller]
    pub fn same_content(&mut self, image: &str, format: &str) {
        let output = if self.our_dir().join(DATA_FILE).exists() {
            self.compare_flat(image, format)
        } else {
            let (a, b) = (format!("ours/{image}"), format!("reference/{image}"));
            let args = ["compare", "-f", format, "-F", format, &a, &b];
            self.reference.run(self.scratch.dir(), &args)
        };
        assert!(output.code == Some(0), "{}\n{}", self.log, output.report());
    }

    /// The name of an external data file is looked up from the current folder, so two images that have one
    /// cannot be open at once.
    #[track_caller]
    fn compare_flat(&self, image: &str, format: &str) -> Output {
        for dir in [self.our_dir(), self.reference_dir()] {
            let args = ["convert", "-f", format, "-O", "raw", image, "flat.raw"];
            let output = self.reference.run(&dir, &args);
            assert!(output.code == Some(0), "{}\n{}", self.log, output.report());
        }
        let args = ["compare", "-s", "-f", "raw", "-F", "raw"];
        let names = ["ours/flat.raw", "reference/flat.raw"];
        let args = [&args[..], &names[..]].concat();
        self.reference.run(self.scratch.dir(), &args)
    }

    /// The reference's `check` finds nothing wrong with our image, or what it also finds in its own (its
    /// writer leaks clusters when a refcount overflows).
    ///
    /// # Panics
    /// With the whole story, when it does.
    #[track_caller]
    pub fn clean(&mut self, image: &str, format: &str) {
        let args = ["check", "-f", format, image];
        let output = self.reference.run(&self.our_dir(), &args);
        if output.code == Some(3) {
            let own = self.reference.run(&self.reference_dir(), &args);
            assert!(own.code == Some(3), "{}\n{}", self.log, output.report());
        } else {
            assert!(output.code == Some(0), "{}\n{}", self.log, output.report());
        }
    }

    /// Our tool.
    pub fn ours(&self) -> &Tool {
        &self.ours
    }

    /// The reference.
    pub fn reference(&self) -> &Tool {
        &self.reference
    }

    /// What has been run so far.
    pub fn log(&self) -> &str {
        &self.log
    }

    #[track_caller]
    fn same(&self, both: &Both, what: &str, view: impl Fn(&Output) -> String) {
        if let Some(shown) = difference(&view(&both.reference), &view(&both.ours)) {
            panic!(
                "{}\n{what} differs (- reference, + ours):\n{shown}\nREFERENCE {}\n\nOURS {}",
                self.log,
                both.reference.report(),
                both.ours.report()
            );
        }
    }
}

/// Writes the folder's files back and forgets their pages: where a file has room that was never written, the file system
/// calls it data while a page of it is in memory and a hole when the page is gone, at any moment.
fn settle(dir: &Path) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for file in entries.filter_map(|entry| File::open(entry.path()).ok()) {
        // A folder, or a file on memory alone: nothing to forget.
        let _ = file.sync_data();
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
    }
}
