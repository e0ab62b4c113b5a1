//! Signals that come together.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use house_tests::tools::{Scratch, built};

#[test]
fn two_signals_at_once_are_told_as_one() {
    let scratch = Scratch::new();
    let pidfile = scratch.path("pid");
    let options = format!(
        "-S -nodefaults -display none -monitor none -pidfile {}",
        pidfile.display()
    );
    let child = Command::new(built("qsystem-x86_64"))
        .args(options.split_whitespace())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let begin = Instant::now();
    while !pidfile.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no pid file");
        std::thread::yield_now();
    }
    // Both wait while the program stands.
    let pid = child.id().to_string();
    for signal in ["STOP", "TERM", "INT", "CONT"] {
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }
    let end = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    assert_eq!(said.matches("terminating on signal").count(), 1, "{said}");
}
