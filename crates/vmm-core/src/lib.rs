//! The system emulator: options, firmware and kernels from files, character devices, the main loop.
//!
//! ```text
//!   words --opt--> Plan --start--> machine::Config --> Machine, threads over backends --run--> exit code
//! ```
#![forbid(unsafe_code)]

mod accel;
mod cpu;
mod disks;
mod files;
mod monitor;
mod networks;
mod opt;
mod plan;
mod run;
mod start;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use qapi::{Error, Result};

pub use opt::{OPTIONS, Outcome, parse};
pub use plan::Plan;

/// The program.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let code = match program(&words) {
        Ok(code) => code,
        Err(error) => {
            qapi::report(&error);
            1
        }
    };
    char_backends::stdio::restore();
    // Threads may still wait for a terminal or a peer; nobody waits for them.
    std::process::exit(code)
}

fn program(words: &[String]) -> Result<i32> {
    let plan = match parse(words)? {
        Outcome::Run(plan) => plan,
        Outcome::Print(text) => {
            print!("{text}");
            return Ok(0);
        }
    };
    // Before any thread is there, so that all of them leave these to the one that waits.
    let signals = sys::signals::Signals::block(&[1, 2, 15])
        .map_err(|error| Error::from_io("signals", &error))?;
    let started = start::start(&plan)?;
    let code = run::run(&started, signals);
    started.disks.close()?;
    Ok(code)
}
