//! qio: reads, writes and tests disks by commands, as `qemu-io` does.
#![forbid(unsafe_code)]

mod background;
mod cli;
mod cmd;
mod number;
mod options;
mod prompt;
mod report;
mod shell;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let code = reactor::block_on(cli::run(words));
    qapi::out::flush();
    match code {
        Ok(code) => code,
        Err(error) => {
            qapi::report(&qapi::Error::from_io("Could not start", &error));
            ExitCode::FAILURE
        }
    }
}
