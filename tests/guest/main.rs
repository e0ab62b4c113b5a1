//! The system emulator with real guests: firmware to its last word, Linux to a script, the power button.
#![forbid(unsafe_code)]

mod disk;
mod grub;
mod killed;
mod linux;
mod microvm;
mod monitor;
mod net;
mod ovmf;
mod probe;
mod program;
mod qtest;
mod sleep;
