//! Image formats: each says where a disk's bytes are.
#![forbid(unsafe_code)]

mod blocks;
pub mod bochs;
mod bytes;
pub mod cloop;
mod deflate;
mod differencing;
pub mod dmg;
pub mod luks;
mod make;
pub mod parallels;
pub mod qcow;
pub mod qcow2;
pub mod qed;
pub mod raw;
mod read_only;
mod tables;
pub mod vdi;
pub mod vhdx;
pub mod vmdk;
pub mod vpc;
mod windows;

use block_core::FormatDriver;

/// Every format but raw, in the order in which probing asks them.
pub const FORMATS: &[&FormatDriver] = &[
    &qcow2::DRIVER,
    &qcow::DRIVER,
    &qed::DRIVER,
    &parallels::DRIVER,
    &vmdk::DRIVER,
    &vdi::DRIVER,
    &vpc::DRIVER,
    &vhdx::DRIVER,
    &bochs::DRIVER,
    &luks::DRIVER,
    &cloop::DRIVER,
    &dmg::DRIVER,
];
