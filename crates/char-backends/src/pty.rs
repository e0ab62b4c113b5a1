//! A pseudo-terminal of our own; whoever likes opens its other end.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::Duration;

use backend_core::chars::Writer;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::{Plain, Port};

/// How often to look whether someone opened the other end.
const PATIENCE: Duration = Duration::from_millis(200);

/// Makes one.
pub(super) fn open(label: &str) -> io::Result<Port> {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let name = name.to_string_lossy().into_owned();
    let mut raw = tcgetattr(&master)?;
    raw.make_raw();
    tcsetattr(&master, OptionalActions::Now, &raw)?;
    let writer = File::from(master.try_clone()?);
    let source = Box::new(Plain::new(Master(File::from(master))));
    let mut port = Port::new(
        &format!("pty:{name}"),
        Box::new(Writer(writer)),
        Some(source),
    );
    port.notice = Some(format!("char device redirected to {name} (label {label})"));
    Ok(port)
}

/// Our end. While nobody has the other one open reads fail, and this waits.
struct Master(File);

impl Read for Master {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(into) {
                Ok(0) => std::thread::sleep(PATIENCE),
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) =>
                {
                    std::thread::sleep(PATIENCE);
                }
                other => return other,
            }
        }
    }
}
