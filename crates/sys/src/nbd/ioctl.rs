//! Setting a device up by `ioctl`: every kernel with NBD has these.
#![expect(unsafe_code, reason = "ioctls have no safe face")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

const SET_SOCK: libc::c_ulong = 0xab00;
const SET_BLKSIZE: libc::c_ulong = 0xab01;
const DO_IT: libc::c_ulong = 0xab03;
const CLEAR_SOCK: libc::c_ulong = 0xab04;
const CLEAR_QUE: libc::c_ulong = 0xab05;
const SET_SIZE_BLOCKS: libc::c_ulong = 0xab07;
const DISCONNECT: libc::c_ulong = 0xab08;
const SET_FLAGS: libc::c_ulong = 0xab0a;
const BLKROSET: libc::c_ulong = 0x125d;

/// All of NBD's requests take a number, or nothing, by value.
fn call(device: &impl AsFd, request: libc::c_ulong, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: none of the requests above but BLKROSET (not sent from here) takes an address.
    let rc = unsafe { libc::ioctl(device.as_fd().as_raw_fd(), request, value) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn number(value: u64) -> io::Result<libc::c_ulong> {
    libc::c_ulong::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Gives the device its socket.
///
/// # Errors
/// `EBUSY` when it has one.
pub fn set_socket(device: &impl AsFd, socket: &impl AsFd) -> io::Result<()> {
    let fd = u64::try_from(socket.as_fd().as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    call(device, SET_SOCK, number(fd)?)
}

/// Sets the size of a block in bytes.
///
/// # Errors
/// `EINVAL` for what is no power of two from 512 to a page.
pub fn set_block_size(device: &impl AsFd, bytes: u64) -> io::Result<()> {
    call(device, SET_BLKSIZE, number(bytes)?)
}

/// Sets the number of blocks.
///
/// # Errors
/// What the kernel says.
pub fn set_blocks(device: &impl AsFd, blocks: u64) -> io::Result<()> {
    call(device, SET_SIZE_BLOCKS, number(blocks)?)
}

/// Tells what the server can do (transmission flags).
///
/// # Errors
/// `ENOTTY` from kernels before 2.6.27.
pub fn set_flags(device: &impl AsFd, flags: u16) -> io::Result<()> {
    call(device, SET_FLAGS, number(u64::from(flags))?)
}

/// Makes a block device read-only, or writable.
///
/// # Errors
/// What the kernel says.
pub fn set_read_only(device: &impl AsFd, on: bool) -> io::Result<()> {
    let value = libc::c_int::from(on);
    // SAFETY: BLKROSET reads one int at the address given, which outlives the call.
    let rc = unsafe { libc::ioctl(device.as_fd().as_raw_fd(), BLKROSET, &raw const value) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Serves the device from this thread until somebody disconnects it or the server goes away.
///
/// # Errors
/// What ended it; `EPIPE` after a disconnect.
pub fn run(device: &impl AsFd) -> io::Result<()> {
    call(device, DO_IT, 0)
}

/// Fails what waits in the queue (old kernels; new ones have nothing there).
///
/// # Errors
/// What the kernel says.
pub fn clear_queue(device: &impl AsFd) -> io::Result<()> {
    call(device, CLEAR_QUE, 0)
}

/// Tells the server good-bye.
///
/// # Errors
/// `EINVAL` when there is none.
pub fn disconnect(device: &impl AsFd) -> io::Result<()> {
    call(device, DISCONNECT, 0)
}

/// Takes the socket away.
///
/// # Errors
/// What the kernel says.
pub fn clear_socket(device: &impl AsFd) -> io::Result<()> {
    call(device, CLEAR_SOCK, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_says_so() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let notty = Some(libc::ENOTTY);
        assert_eq!(disconnect(&null).unwrap_err().raw_os_error(), notty);
        assert_eq!(
            set_read_only(&null, true).unwrap_err().raw_os_error(),
            notty
        );
    }
}
