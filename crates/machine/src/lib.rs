//! The machine: boards, the list of devices, processors' threads, run states.
//!
//! A [`Config`] says what to build; [`build`] gives a [`Machine`]. Options, files and monitors are other crates'.
#![forbid(unsafe_code)]

pub mod board;
mod config;
#[cfg(feature = "contract-tests")]
pub mod contract;
mod core;
pub mod device;
mod machine;
mod processor;
#[cfg(test)]
mod tests;

pub use board::{BOARDS, Board, Controller, build, find_board};
pub use config::{
    BuildError, Built, Config, DebugPort, DriveConfig, DrivePlace, FlashConfig, MakeDisk,
    MakeNetwork, OptionRom,
};
pub use core::{Core, Watch};
pub use machine::{Event, Machine, RunState};
