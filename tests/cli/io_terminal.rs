//! `qio` on a real terminal, which `tmux` gives: lines are recalled, edited and completed.

use std::process::Command;
use std::time::Duration;

use house_tests::run::until;
use house_tests::tools::{find, our_io};
use house_tests::{Scratch, ours, require};

/// A terminal with `qio` over a disk of 4 MiB in it.
struct Terminal {
    scratch: Scratch,
}

impl Terminal {
    fn new() -> Self {
        let scratch = Scratch::new();
        let create = ["create", "-q", "-f", "qcow2", "t.img", "4M"];
        ours().run(scratch.dir(), &create).ok();
        let terminal = Self { scratch };
        let program = our_io().path;
        let program = program.to_str().expect("the program has a plain name");
        let dir = terminal.scratch.dir().to_str().expect("a plain name");
        let size = ["new-session", "-d", "-x", "80", "-y", "40", "-c", dir];
        terminal.tmux(&[&size[..], &[program, "t.img"]].concat());
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(self.scratch.path("tmux"))
            .args(["-f", "/dev/null"])
            .args(args)
            .output()
            .expect("tmux runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen shows `line` so many times.
    fn shows(&self, line: &str, times: usize) {
        let screen = || self.tmux(&["capture-pane", "-p"]);
        let seen = until(Duration::from_secs(30), || {
            let screen = screen();
            let lines = screen.lines().filter(|shown| shown.trim_end() == line);
            (lines.count() >= times).then_some(())
        });
        assert!(seen.is_some(), "no {times} of {line:?} in:\n{}", screen());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn lines_are_recalled_edited_and_completed() {
    require!(find("tmux", "tmux"));
    let terminal = Terminal::new();
    terminal.shows("qemu-io>", 1);
    terminal.keys(&["length", "Enter"]);
    terminal.shows("4 MiB", 1);
    // The line before.
    terminal.keys(&["Up", "Enter"]);
    terminal.shows("4 MiB", 2);
    // What was forgotten goes to the front.
    terminal.keys(&["ngth", "C-a", "le", "Enter"]);
    terminal.shows("4 MiB", 3);
    terminal.keys(&["leng", "Tab", "Enter"]);
    terminal.shows("4 MiB", 4);
    terminal.keys(&["aio_write 0 64k", "Enter"]);
    terminal.shows("wrote 65536/65536 bytes at offset 0", 1);
    terminal.keys(&["C-d"]);
}
