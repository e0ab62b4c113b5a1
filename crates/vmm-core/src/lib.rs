//! The system emulator: options, firmware and kernels from files, character devices, the main loop.
//!
//! ```text
//!   words --opt--> Plan --start--> machine::Config --> Machine, threads over backends --run--> exit code
//! ```
#![forbid(unsafe_code)]

mod accel;
mod called;
mod chars;
mod cpu;
mod daemon;
mod disks;
mod files;
mod fronts;
mod monitor;
mod networks;
mod objects;
mod opt;
mod pidfile;
mod plan;
mod qtest;
mod run;
mod start;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use qapi::{Error, Result};

use crate::daemon::Place;

pub use opt::{Group, OPTIONS, Outcome, groups, parse};
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
    leave(code)
}

/// Ends the program, and leaves nothing behind: no terminal without echo, no sockets, no file with its number.
fn leave(code: i32) -> ! {
    char_backends::end();
    pidfile::remove();
    // Threads may still wait for a terminal or a peer; nobody waits for them.
    std::process::exit(code)
}

fn program(words: &[String]) -> Result<i32> {
    let plan = match opt::parse_as(words, called::defaults(qapi::prog_name()))? {
        Outcome::Run(plan) => plan,
        Outcome::Print(text) => {
            print!("{text}");
            return Ok(0);
        }
    };
    let background = if plan.daemonize {
        match daemon::fork()? {
            Place::Parent(code) => return Ok(code),
            Place::Program(background) => Some(background),
        }
    } else {
        None
    };
    // Before any thread is there, so that all of them leave these to the one that waits.
    let signals = sys::signals::Signals::block(&[1, 2, 15])
        .map_err(|error| Error::from_io("signals", &error))?;
    let logs_to_stderr = plan.log.is_some() && plan.log_file.is_none();
    let slot = run::Slot::default();
    run::watch_signals(slot.clone(), signals);
    let vm = start::start(*plan, &slot)?;
    if let Some(background) = background {
        background.release(logs_to_stderr)?;
    }
    let code = run::run(&vm);
    vm.disks.close()?;
    Ok(code)
}
