//! Block device ioctls (`linux/fs.h`): size, discard and zero a range.
#![expect(unsafe_code, reason = "ioctls have no safe face")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

const BLKGETSIZE64: libc::c_ulong = 0x8008_1272;
const BLKDISCARD: libc::c_ulong = 0x1277;
const BLKZEROOUT: libc::c_ulong = 0x127f;

fn done(rc: libc::c_int) -> io::Result<()> {
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Size of a block device in bytes.
///
/// # Errors
/// `ENOTTY` for what is not one.
pub fn size(device: &impl AsFd) -> io::Result<u64> {
    let mut bytes = 0_u64;
    // SAFETY: BLKGETSIZE64 stores one u64 at the address given, which outlives the call.
    done(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), BLKGETSIZE64, &raw mut bytes) })?;
    Ok(bytes)
}

fn range(device: &impl AsFd, request: libc::c_ulong, offset: u64, len: u64) -> io::Result<()> {
    let range = [offset, len];
    // SAFETY: both requests read two u64 at the address given, which outlives the call.
    done(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), request, range.as_ptr()) })
}

/// Tells the device that a range is no longer needed.
///
/// # Errors
/// `EOPNOTSUPP` when it cannot be told.
pub fn discard(device: &impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    range(device, BLKDISCARD, offset, len)
}

/// Makes a range read as zeroes.
///
/// # Errors
/// What the device says.
pub fn zero(device: &impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    range(device, BLKZEROOUT, offset, len)
}
