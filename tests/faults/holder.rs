//! Somebody who has an image open, and what others are told.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use house_tests::{Output, Scratch, Tool};

/// An io tool that has an image open until it is dropped.
pub(crate) struct Holder(Child);

impl Holder {
    /// Opens it with the words `mode` and `image`.
    pub(crate) fn new(io: &Tool, scratch: &Scratch, mode: &[&str], image: &[&str]) -> Self {
        let args = [mode, image].concat();
        let mut child = io
            .command(scratch.dir(), &args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let input = child.stdin.as_mut().expect("asked for");
        input.write_all(b"length\n").expect("it listens");
        // Its answer comes when the image is open.
        let mut answer = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().expect("asked for"));
        while !answer.contains("iB") && !answer.contains("bytes") {
            let read = output.read_line(&mut answer).expect("text");
            assert!(read > 0, "the holder of {image:?} ended: {answer}");
        }
        Self(child)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both came to the same. Ours adds who holds the lock.
#[track_caller]
pub(crate) fn same_answer(our: &Output, theirs: &Output, story: &str) {
    let reports = || format!("{story}\n{}\n{}", our.report(), theirs.report());
    assert_eq!(our.code, theirs.code, "{}", reports());
    let same = our.stderr.starts_with(theirs.stderr.trim_end());
    assert!(same, "{}", reports());
}
