//! Boards: what a machine type has on it.

mod cmos;
mod drives;
mod microvm;
mod pc;
mod stage;

use crate::config::{BuildError, Built, Config};

pub use drives::Controller;
pub(crate) use drives::virtio_wiring;
pub use pc::below_4g;
pub(crate) use stage::Stage;

/// A machine type.
pub struct Board {
    /// The name it is known by.
    pub name: &'static str,
    /// Names of versions, newest first; the name stands for the first.
    pub versions: &'static [&'static str],
    /// What `-M help` says.
    pub description: &'static str,
    /// Processors at most.
    pub max_cpus: u32,
    /// What SMBIOS calls it.
    pub product: &'static str,
    /// Firmware it takes when none is named.
    pub firmware: Option<&'static str>,
    /// It has a VGA adapter unless that is unwanted.
    pub graphics: bool,
    /// What drives without a device of their own hang on.
    pub controller: Option<Controller>,
    /// Builds it.
    pub(crate) build: fn(&mut Stage, &mut Config) -> Result<(), BuildError>,
}

/// All boards.
pub const BOARDS: &[&Board] = &[&pc::PC, &pc::Q35, &microvm::MICROVM, &NONE];

/// No devices, no memory: for programs that only want to ask.
const NONE: Board = Board {
    name: "none",
    versions: &[],
    description: "empty machine",
    max_cpus: 1,
    product: "none",
    firmware: None,
    graphics: false,
    controller: None,
    build: |_, _| Ok(()),
};

/// The board a name stands for, and the full name.
pub fn find_board(name: &str) -> Option<(&'static Board, String)> {
    for board in BOARDS {
        if board.name == name {
            let full = board.versions.first().unwrap_or(&board.name);
            return Some((board, (*full).to_owned()));
        }
        if let Some(full) = board.versions.iter().find(|version| **version == name) {
            return Some((board, (*full).to_owned()));
        }
    }
    None
}

/// Builds a machine.
///
/// # Errors
/// See [`BuildError`].
pub fn build(mut config: Config) -> Result<Built, BuildError> {
    let stage = stage(&mut config)?;
    Ok(stage.finish(&config))
}

/// A machine's devices, before it has threads.
pub(crate) fn stage(config: &mut Config) -> Result<Stage, BuildError> {
    let board = config.board;
    if config.cpus() > board.max_cpus {
        return Err(BuildError::Cpus(board.max_cpus));
    }
    let mut stage = Stage::new(config);
    stage.networks = std::mem::take(&mut config.networks);
    (board.build)(&mut stage, config)?;
    Ok(stage)
}
