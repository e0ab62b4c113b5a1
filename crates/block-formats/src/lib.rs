//! Image formats: each says where a disk's bytes are.
#![forbid(unsafe_code)]

pub mod qcow2;
pub mod raw;

use block_core::FormatDriver;

/// Every format but raw, in the order in which probing asks them.
pub const FORMATS: &[&FormatDriver] = &[&qcow2::DRIVER];
