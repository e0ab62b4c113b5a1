//! The monitors: how a program is driven from outside while it runs.
//!
//! A [`Command`] is a name, the record of its arguments, the record of its result, flags and a function. A program
//! joins lists of them into a [`Registry`]; `query-commands` and `query-qmp-schema` follow from it. A [`Session`] speaks
//! QMP (JSON, for programs); [`hmp`] has what the human monitor needs beside the same commands. Neither knows how bytes
//! come and go.
//!
//! Source: QEMU's "QEMU Machine Protocol Specification" (docs/interop/qmp-spec) and QMP reference.
#![forbid(unsafe_code)]

mod command;
mod core_commands;
mod event;
pub mod hmp;
mod session;

pub use command::{Answer, Command, Flags, Registry, Run, Version};
pub use event::{Event, EventDesc, Limiter};
pub use session::{Session, message};
