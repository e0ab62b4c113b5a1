//! `-c`: hands a connection that is past the handshake to the kernel.
//!
//! Netlink first: the device then depends on nobody's thread, and `auto` lets the kernel choose without a race. Where it
//! is missing or refused, `ioctl`, whose thread stays in the kernel until the device is detached.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qapi::{Error, Result};
use sys::nbd::ioctl;
use sys::nbd::netlink::{Nbd, Setup};

use super::detach::forget_partitions;
use super::{index_of, sysfs};

/// The name that asks for a free device.
pub(crate) const AUTO: &str = "auto";
/// What our own attachments are known by in `/sys`.
pub(super) const MARK: &str = "qnbd";
/// Partitions get their names in `/dev` by somebody else, who may be slow or not there at all.
const PATIENCE: Duration = Duration::from_secs(5);
const FLAG_READ_ONLY: u16 = 2;
const EPIPE: i32 = 32;
const ENOTTY: i32 = 25;
const EBUSY: i32 = 16;

/// What the handshake told of the export.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Export {
    pub(crate) size: u64,
    pub(crate) flags: u16,
    /// 0 when it was not told.
    pub(crate) min_block: u32,
}

/// An attached device.
pub(crate) struct Attached {
    /// `/dev/nbdN`
    pub(crate) device: String,
    index: Option<u32>,
    way: Way,
}

enum Way {
    Netlink,
    /// The thread inside the kernel.
    Ioctl(JoinHandle<io::Result<()>>),
}

/// Attaches a connection to `device`. `image` is shown to those who ask what it is.
///
/// # Errors
/// In QEMU's words where it has some.
pub(crate) fn attach(
    device: &str,
    socket: OwnedFd,
    export: Export,
    image: &str,
) -> Result<Attached> {
    let mut index = None;
    if device != AUTO {
        let opened = File::options().read(true).write(true).open(device);
        opened.map_err(|e| Error::from_io(format!("Failed to open {device}"), &e))?;
        index = index_of(device);
    }
    let named = device != AUTO && index.is_none();
    let refused = if named {
        io::Error::from(io::ErrorKind::Unsupported)
    } else {
        match by_netlink(index, &socket, export, image) {
            Ok(index) => {
                let attached = Attached {
                    device: format!("/dev/nbd{index}"),
                    index: Some(index),
                    way: Way::Netlink,
                };
                settle(&attached.device, index);
                return Ok(attached);
            }
            Err(error) => error,
        }
    };
    if refused.raw_os_error() == Some(EBUSY) {
        return Err(busy(device));
    }
    if device == AUTO {
        let what = "The kernel gives no free NBD device";
        return Err(Error::from_io(what, &refused).hint("Is its module loaded? Try: modprobe nbd"));
    }
    tracing::debug!(error = %refused, "no netlink, ioctl instead");
    by_ioctl(device, index, socket, export)
}

fn busy(device: &str) -> Error {
    Error::new("Failed to set NBD socket").hint(format!(
        "{device} is in use; 'qnbd --devices' shows by whom"
    ))
}

/// The unit in which the kernel asks.
fn block_size(export: Export) -> u64 {
    u64::from(export.min_block.clamp(512, 4096))
}

fn by_netlink(
    index: Option<u32>,
    socket: &OwnedFd,
    export: Export,
    image: &str,
) -> io::Result<u32> {
    let block = block_size(export);
    let setup = Setup {
        index,
        size_bytes: export.size / block * block,
        block_size_bytes: block,
        server_flags: export.flags,
        backend: Some(format!("{MARK} {} {image}", std::process::id())),
        ..Setup::default()
    };
    Nbd::open()?.connect(&setup, &[socket.as_fd()])
}

fn by_ioctl(device: &str, index: Option<u32>, socket: OwnedFd, export: Export) -> Result<Attached> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(device)
        .map_err(|e| Error::from_io(format!("Failed to open {device}"), &e))?;
    ioctl::set_socket(&file, &socket).map_err(|_| busy(device))?;
    let block = block_size(export);
    ioctl::set_block_size(&file, block).map_err(|_| Error::new("Failed setting NBD block size"))?;
    ioctl::set_blocks(&file, export.size / block)
        .map_err(|_| Error::new("Failed setting size (in blocks)"))?;
    match ioctl::set_flags(&file, export.flags) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(ENOTTY) => {
            ioctl::set_read_only(&file, export.flags & FLAG_READ_ONLY != 0)
                .map_err(|_| Error::new("Failed setting read-only attribute"))?;
        }
        Err(_) => return Err(Error::new("Failed setting flags")),
    }
    let thread = std::thread::spawn(move || {
        let result = match ioctl::run(&file) {
            Err(error) if error.raw_os_error() == Some(EPIPE) => Ok(()),
            other => other,
        };
        // Whatever ended it, the device is free after; there is nobody to tell if not.
        let _ = ioctl::clear_queue(&file);
        let _ = ioctl::clear_socket(&file);
        drop(socket);
        result
    });
    if let Some(index) = index {
        let start = Instant::now();
        while sysfs::task(index).is_none() && start.elapsed() < PATIENCE && !thread.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        settle(device, index);
    }
    Ok(Attached {
        device: device.to_owned(),
        index,
        way: Way::Ioctl(thread),
    })
}

/// Lets the kernel read the partition table (opening does that) and waits until `/dev` shows what it found.
fn settle(device: &str, index: u32) {
    if File::open(device).is_err() {
        return;
    }
    let start = Instant::now();
    let missing = || {
        let parts = sysfs::partitions(index);
        parts
            .iter()
            .any(|part| !Path::new("/dev").join(part).exists())
    };
    while missing() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Attached {
    /// Detaches the device from this side: what the kernel holds back is written first.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn detach(self) -> io::Result<()> {
        if let Ok(file) = File::open(&self.device) {
            file.sync_all()?;
        }
        match (&self.way, self.index) {
            (Way::Netlink, Some(index)) => Nbd::open()?.disconnect(index)?,
            (Way::Netlink, None) => {}
            (Way::Ioctl(_), _) => ioctl::disconnect(&File::open(&self.device)?)?,
        }
        self.free()
    }

    /// The kernel has let go of its end.
    ///
    /// # Errors
    /// What it says why.
    pub(crate) fn ended(self) -> io::Result<()> {
        // After a break (not a good-bye) the device would stay and fail every request.
        if let (Way::Netlink, Some(index)) = (&self.way, self.index)
            && sysfs::task(index).is_some()
        {
            Nbd::open()?.disconnect(index)?;
        }
        self.free()
    }

    /// The end of a device that is detached.
    fn free(self) -> io::Result<()> {
        if let Way::Ioctl(thread) = self.way {
            let panicked = |_| Err(io::Error::other("the thread of the device panicked"));
            thread.join().unwrap_or_else(panicked)?;
        }
        forget_partitions(&self.device);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(device: &str) -> Error {
        let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
        let export = Export {
            size: 1 << 20,
            flags: 1,
            min_block: 1,
        };
        match attach(device, a.into(), export, "/disk") {
            Ok(_) => panic!("{device} was attached"),
            Err(error) => error,
        }
    }

    #[test]
    fn what_is_no_device_is_refused() {
        let message = refusal("/dev/no-such-nbd").message().to_owned();
        assert_eq!(
            message,
            "Failed to open /dev/no-such-nbd: No such file or directory"
        );
        assert_eq!(refusal("/dev/null").message(), "Failed to set NBD socket");
    }

    #[test]
    fn blocks_are_what_the_kernel_takes() {
        let size = |min_block| {
            block_size(Export {
                size: 0,
                flags: 0,
                min_block,
            })
        };
        assert_eq!(
            (size(0), size(1), size(4096), size(65536)),
            (512, 512, 4096, 4096)
        );
    }
}
