//! `-d`: detaches a device, unless somebody still uses it, and does not come back before it is free and its server has
//! written everything.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use qapi::{Error, Result, out};
use sys::nbd::ioctl;
use sys::nbd::netlink::Nbd;

use super::{holders, index_of, sysfs};

/// How long a device and its server may take to end.
const PATIENCE: Duration = Duration::from_secs(30);
const EBUSY: i32 = 16;

/// Detaches `device`.
///
/// # Errors
/// When it cannot be opened, is in use, or does not become free.
pub(crate) fn run(device: &str) -> Result<()> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(device)
        .map_err(|e| Error::from_io(format!("Cannot open {device}"), &e))?;
    let Some(index) = index_of(device) else {
        // No name of the kernel's: all that can be done is to ask it.
        by_ioctl(&file);
        out::line(format!("{device} disconnected"));
        return Ok(());
    };
    let alone = claim(device, index)?;
    let server = sysfs::task(index).and_then(sysfs::process);
    if sysfs::task(index).is_some() {
        // What programs wrote to the device itself.
        file.sync_all()
            .map_err(|e| Error::from_io(format!("Could not write back {device}"), &e))?;
    }
    let gone = Nbd::open().and_then(|mut nbd| nbd.disconnect(index));
    if gone.is_err() {
        by_ioctl(&file);
    }
    drop((file, alone));
    wait(device, index, server.map(|(process, _)| process))?;
    forget_partitions(device);
    out::line(format!("{device} disconnected"));
    Ok(())
}

/// Holds the device so that nobody mounts it meanwhile.
///
/// # Errors
/// When somebody uses it, with all that is known of them.
fn claim(device: &str, index: u32) -> Result<Option<File>> {
    let users = holders::of(index);
    let in_use = |hint: String| Err(Error::new(format!("{device} is in use")).hint(hint));
    if !users.is_empty() {
        let lines: Vec<String> = users.iter().map(ToString::to_string).collect();
        return in_use(lines.join("\n"));
    }
    match alone(device) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(EBUSY) => {
            in_use("A program has opened it for itself alone.".to_owned())
        }
        // A device that cannot even be read any more has nobody to be protected.
        Err(_) => Ok(None),
    }
}

/// Opens a device so that neither it nor its partitions can be mounted, which fails while one is.
fn alone(device: &str) -> io::Result<File> {
    let exclusive = rustix::fs::OFlags::EXCL.bits().cast_signed();
    File::options()
        .read(true)
        .custom_flags(exclusive)
        .open(device)
}

/// Lets the kernel look at the partition table of a device that is free again: it finds none, and takes away the
/// partitions that it would show until the next disk came.
pub(super) fn forget_partitions(device: &str) {
    // It is only about names.
    drop(File::open(device));
}

/// The old way. Each step fails on a device that is free already, and that is as good.
fn by_ioctl(file: &File) {
    let _ = ioctl::clear_queue(file);
    let _ = ioctl::disconnect(file);
    let _ = ioctl::clear_socket(file);
}

fn wait(device: &str, index: u32, server: Option<u32>) -> Result<()> {
    let start = Instant::now();
    while sysfs::task(index).is_some() {
        if start.elapsed() > PATIENCE {
            return Err(Error::new(format!("{device} is still connected")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let Some(server) = server.filter(|pid| *pid != std::process::id()) else {
        return Ok(());
    };
    while sysfs::process(server).is_some() {
        if start.elapsed() > PATIENCE {
            // It may serve others too; the device is free.
            qapi::warn(&format!("process {server}, its server, still runs"));
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_told() {
        let error = run("/dev/no-such-nbd").unwrap_err();
        assert_eq!(
            error.message(),
            "Cannot open /dev/no-such-nbd: No such file or directory"
        );
    }
}
