//! The system emulator with real guests: firmware to its last word, Linux to a script, the power button.
#![forbid(unsafe_code)]

mod disk;
mod grub;
mod info;
mod killed;
mod linux;
mod microvm;
mod monitor;
mod net;
mod ovmf;
mod probe;
mod program;
mod qtest;
mod refused;
mod signals;
mod sleep;
mod tables;
