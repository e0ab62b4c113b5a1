//! qnbd: serves disks over the NBD protocol and attaches them to the kernel, as `qemu-nbd` does.
#![forbid(unsafe_code)]

mod cli;
mod daemon;
mod disk;
mod door;
mod export;
mod kernel;
mod list;
mod listen;
mod notify;
mod number;
mod options;
mod server;
mod settings;

use std::process::ExitCode;

/// What `--version` shows: the version whose behaviour this is.
const VERSION: &str = "10.0.2";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let code = cli::run(&words);
    qapi::out::flush();
    code
}
