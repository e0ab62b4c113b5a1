//! The kernel's devices `/dev/nbdN`: attaching an export to one, detaching it, and telling what they are attached to.

pub(crate) mod attach;
pub(crate) mod detach;
pub(crate) mod devices;
mod holders;
mod sysfs;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The `N` of `/dev/nbdN`, by whatever name the device is called; partitions have none.
fn index_of(device: &str) -> Option<u32> {
    let number = |name: &OsStr| name.to_str()?.strip_prefix("nbd")?.parse().ok();
    let found = fs::metadata(device).ok();
    match found.filter(|m| m.file_type().is_block_device()) {
        Some(found) => {
            let (major, minor) = (
                rustix::fs::major(found.rdev()),
                rustix::fs::minor(found.rdev()),
            );
            let known = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"));
            number(known.ok()?.file_name()?)
        }
        None => number(Path::new(device).file_name()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_number_and_a_partition_has_none() {
        assert_eq!(index_of("/dev/nbd12"), Some(12));
        assert_eq!(index_of("/dev/nbd1p2"), None);
        assert_eq!(index_of("/dev/sda"), None);
        assert_eq!(index_of("nbd0"), Some(0));
    }
}
