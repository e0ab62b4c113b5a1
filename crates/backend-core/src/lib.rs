//! What a device talks to on the host's side.
#![forbid(unsafe_code)]

pub mod chars;
pub mod disk;
pub mod net;
mod wake;

pub use wake::Wake;
