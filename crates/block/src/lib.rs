//! The block layer as tools see it: one registry of drivers, disks opened from names, option strings and `json:`,
//! images created, and a gate before what an image names.
#![forbid(unsafe_code)]

mod create;
mod gate;
mod info;
mod measure;
mod name;
mod objects;
mod open;
mod overlay;
mod policy;
mod registry;
mod window;

pub use block_core as core;
pub use block_core::{
    Aio, CacheMode, Node, OpenRequest, Perms, Preallocation, Progress, Root, WriteFlags, ZeroFlags,
};
pub use block_jobs as jobs;

pub use create::{
    CreateSpec, create, create_options, knows_its_name, protocol_of, read_options, starts_as_zeroes,
};
pub use info::{ImageInfo, info, snapshot_record};
pub use measure::measure;
pub use name::beside;
pub use objects::OBJECT_TYPES;
pub use open::{Flags, Layer, Session};
pub use overlay::open_overlay;
pub use registry::{
    find_format, find_protocol, format_names, is_format, is_protocol, looks_like_format,
};
