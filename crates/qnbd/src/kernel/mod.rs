//! The kernel's devices `/dev/nbdN`: attaching an export to one, detaching it, and telling what they are attached to.

pub(crate) mod attach;
pub(crate) mod detach;
pub(crate) mod devices;
mod holders;
mod sysfs;

/// The `N` of a name such as `/dev/nbdN`; partitions have none.
fn index_of(device: &str) -> Option<u32> {
    let real = std::fs::canonicalize(device);
    let path = real.as_deref().unwrap_or(device.as_ref());
    path.file_name()?
        .to_str()?
        .strip_prefix("nbd")?
        .parse()
        .ok()
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
