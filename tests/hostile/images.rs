//! Images to start from, and the budgets that every run must keep.

use std::path::PathBuf;
use std::time::Duration;

use house_tests::{Limits, Output, Scratch, Tool, ours, qemu_io, reference, tools, words};

/// Most memory a tool may use on a hostile image.
pub(crate) const MEMORY: u64 = 256 << 20;
/// Longest time, with room for a loaded machine: what takes longest, repairing a table of 65 537 wrong entries and telling of
/// each, needs 7 seconds of processor time in a debug build.
pub(crate) const TIME: Duration = Duration::from_secs(30);

/// A folder with an image in it.
pub(crate) struct Lab {
    pub(crate) scratch: Scratch,
    pub(crate) reference: Tool,
    pub(crate) io: Tool,
}

impl Lab {
    /// An empty folder and the reference tools.
    pub(crate) fn new() -> Result<Self, String> {
        tools::ours_runs()?;
        Ok(Self {
            scratch: Scratch::new(),
            reference: reference()?,
            io: qemu_io()?,
        })
    }

    /// Makes a qcow2 image by the reference, with options and size as given.
    pub(crate) fn image(&self, name: &str, words: &[&str], writes: &[&str]) -> PathBuf {
        let mut args = vec!["create", "-q", "-f", "qcow2", "-u"];
        args.extend(&words[..words.len() - 1]);
        args.extend([name, words[words.len() - 1]]);
        self.reference.run(self.scratch.dir(), &args).ok();
        if !writes.is_empty() {
            let args = words::io("qcow2", writes, name);
            self.io.run(self.scratch.dir(), &args).ok();
        }
        self.scratch.path(name)
    }

    /// A small image with four clusters of data and one snapshot.
    pub(crate) fn small(&self, name: &str) -> PathBuf {
        let path = self.image(name, &["4M"], &["write -P 17 0 256k"]);
        let args = ["snapshot", "-c", "one", name];
        self.reference.run(self.scratch.dir(), &args).ok();
        path
    }

    /// Runs our tool on hostile input: it may refuse, but must end by itself within the budgets.
    #[track_caller]
    pub(crate) fn try_on(&self, args: &[&str]) -> Output {
        let limits = Limits {
            time: TIME,
            ..Limits::default()
        };
        let output = ours().run_limited(self.scratch.dir(), args, limits).civil();
        assert!(output.peak < MEMORY, "memory: {}", output.report());
        output
    }

    /// Runs every verb that reads on an image, within the budgets.
    #[track_caller]
    pub(crate) fn read_all(&self, name: &str) {
        for args in [
            &["info", name][..],
            &["info", "--output=json", "--backing-chain", name],
            &["check", name],
            &["map", "--output=json", name],
            &["measure", "-O", "qcow2", name],
            &["convert", "-O", "raw", name, "out.raw"],
            &["snapshot", "-l", name],
            &["compare", name, name],
        ] {
            self.try_on(args);
        }
    }
}
