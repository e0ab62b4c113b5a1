//! The images that faults happen to.

use std::path::PathBuf;

use house_tests::{Output, Scratch, Tool, ours, qemu_io, reference, tools, words};

/// A folder with images in it.
pub(crate) struct Stage {
    pub(crate) scratch: Scratch,
    pub(crate) reference: Tool,
    pub(crate) io: Tool,
}

impl Stage {
    /// A raw source of 4 MiB, an image of it, and an overlay with changes.
    pub(crate) fn new() -> Result<Self, String> {
        let stage = Self {
            scratch: Scratch::new(),
            reference: reference()?,
            io: qemu_io()?,
        };
        tools::ours_runs()?;
        let mut bytes = vec![0; 4 << 20];
        house_tests::Rng::new(1).fill(&mut bytes);
        std::fs::write(stage.path("source.raw"), &bytes).expect("a scratch file");
        stage.theirs(&[
            "convert",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "source.raw",
            "base.qcow2",
        ]);
        stage.theirs(&[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-b",
            "base.qcow2",
            "-F",
            "qcow2",
            "top.qcow2",
            "6M",
        ]);
        stage.write(
            "top.qcow2",
            "qcow2",
            &["write -P 9 100k 2000k", "write -P 8 5M 300k"],
        );
        Ok(stage)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    /// Runs the reference; it must work.
    #[track_caller]
    pub(crate) fn theirs(&self, args: &[&str]) -> Output {
        self.reference.run(self.scratch.dir(), args).ok()
    }

    /// Runs our tool.
    pub(crate) fn ours(&self, args: &[&str]) -> Output {
        ours().run(self.scratch.dir(), args)
    }

    #[track_caller]
    pub(crate) fn write(&self, image: &str, format: &str, commands: &[&str]) {
        let args = words::io(format, commands, image);
        self.io.run(self.scratch.dir(), &args).ok();
    }

    /// At worst leaks, says the reference.
    #[track_caller]
    pub(crate) fn consistent(&self, image: &str, story: &Output) {
        let args = ["check", "-f", "qcow2", image];
        let check = self.reference.run(self.scratch.dir(), &args);
        assert!(
            matches!(check.code, Some(0 | 3)),
            "after {}\n\n{}",
            story.report(),
            check.report()
        );
    }

    /// Two images hold the same bytes, says the reference.
    #[track_caller]
    pub(crate) fn equal(&self, a: (&str, &str), b: (&str, &str), story: &Output) {
        let args = ["compare", "-f", a.1, "-F", b.1, a.0, b.0];
        let compare = self.reference.run(self.scratch.dir(), &args);
        assert!(
            compare.code == Some(0),
            "after {}\n\n{}",
            story.report(),
            compare.report()
        );
    }

    /// Names in the folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.scratch.dir())
            .expect("the scratch folder is there")
            .map(|e| {
                e.expect("it can be listed")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }
}
