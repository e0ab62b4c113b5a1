//! What a device talks to on the host's side.
#![forbid(unsafe_code)]

pub mod chars;
pub mod disk;
mod wake;

pub use wake::Wake;
