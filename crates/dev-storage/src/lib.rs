//! Disk controllers and drives, and the disks of the block layer behind them.
//!
//! | module | what it is |
//! |---|---|
//! | [`backing`] | a disk of the block layer as devices use it |
//! | [`ide`] | PIIX3's IDE controller with hard disks and CD drives |
#![forbid(unsafe_code)]

pub mod backing;
pub mod ide;
