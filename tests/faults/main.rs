//! Faults around a tool: full disks, limits on files, signals, other programs that hold the image. Whatever
//! happens, the message is clear, the image stays consistent, and the source is untouched.
#![forbid(unsafe_code)]

mod device;
mod full_disk;
mod holder;
mod killed;
mod locks;
mod locks_of_formats;
mod signals;
mod stage;
