//! `measured FILE PROGRAM [ARGUMENT...]`: runs a program and writes its peak memory in bytes to a file. The exit code is the
//! program's, 128 and the signal's number when one ended it.
//!
//! A program's peak counts what its parent had when it was started, so a test that has grown large itself cannot
//! measure a small program; this small one can.
#![forbid(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

use wait4::Wait4;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let (Some(file), Some(program)) = (words.next(), words.next()) else {
        eprintln!("measured: FILE PROGRAM [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let child = Command::new(program).args(words).spawn();
    let used = match child.and_then(|child| child.wait4()) {
        Ok(used) => used,
        Err(error) => {
            eprintln!("measured: {error}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = std::fs::write(file, used.rusage.maxrss.to_string()) {
        eprintln!("measured: {error}");
        return ExitCode::from(2);
    }
    let code = used.status.code();
    let code = code.or_else(|| used.status.signal().map(|s| s + 128));
    ExitCode::from(u8::try_from(code.unwrap_or(255)).unwrap_or(255))
}
