//! qimg: makes, converts, checks and changes disk images, as `qemu-img` does.
#![forbid(unsafe_code)]

mod cli;
mod cmd;
mod number;
mod options;
mod progress;

use std::process::ExitCode;

use qapi::prog_name;

/// What `--version` shows: the version whose behaviour this is.
const VERSION: &str = "10.0.2";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let code = match cli::top_level(&args) {
        cli::Top::Done(code) => code,
        cli::Top::Run(command, args) => cli::run(command, args),
    };
    qapi::out::flush();
    code
}
