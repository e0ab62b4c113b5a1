//! Disk controllers and drives, and the disks of the block layer behind them.
//!
//! | module | what it is |
//! |---|---|
//! | [`accounts`] | what a disk has done for its device |
//! | [`ahci`] | ICH9's AHCI controller: the same drives behind serial ATA ports |
//! | [`backing`] | a disk of the block layer as devices use it |
//! | [`flash`] | parallel flash that firmware lies in |
//! | [`ide`] | PIIX3's IDE controller with hard disks and CD drives |
#![forbid(unsafe_code)]

pub mod accounts;
pub mod ahci;
pub mod backing;
pub mod flash;
pub mod ide;
mod scatter;
#[cfg(test)]
mod testing;
