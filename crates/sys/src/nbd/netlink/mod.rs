//! Setting a device up by generic netlink (family `nbd`, Linux 4.12 and newer).

mod message;
mod socket;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use message::{Attributes, Message};
use socket::Socket;

/// The controller that knows the numbers of families.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const CONNECT: u8 = 1;
const DISCONNECT: u8 = 2;
const RECONFIGURE: u8 = 3;
const STATUS: u8 = 5;

const INDEX: u16 = 1;
const SIZE_BYTES: u16 = 2;
const BLOCK_SIZE_BYTES: u16 = 3;
const TIMEOUT: u16 = 4;
const SERVER_FLAGS: u16 = 5;
const SOCKETS: u16 = 7;
const DEAD_CONN_TIMEOUT: u16 = 8;
const DEVICE_LIST: u16 = 9;
const BACKEND: u16 = 10;
/// In lists: each item, and what is in one.
const ITEM: u16 = 1;
const SOCKET_FD: u16 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_CONNECTED: u16 = 2;

/// A connection to the kernel's NBD family.
#[derive(Debug)]
pub struct Nbd {
    socket: Socket,
    family: u16,
}

/// How a device is to be set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// Number of the device; `None`: the kernel takes a free one.
    pub index: Option<u32>,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Power of two from 512 to a page.
    pub block_size_bytes: u64,
    /// Transmission flags.
    pub server_flags: u16,
    /// Seconds after which a request without an answer breaks the connection; 0: never.
    pub timeout_s: u64,
    /// Seconds that requests wait for another connection when the last one broke.
    pub dead_conn_timeout_s: u64,
    /// Shown in `/sys/block/nbdN/backend` by Linux 5.14 and newer; older ones ignore it.
    pub backend: Option<String>,
}

/// A device and whether it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The `N` of `/dev/nbdN`.
    pub index: u32,
    /// It has a server, or had one that went away without good-bye.
    pub connected: bool,
}

impl Nbd {
    /// Finds the family.
    ///
    /// # Errors
    /// `ENOENT` when the kernel has no NBD (its module is not loaded, or is too old).
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::open()?;
        let request = Message::new(CONTROLLER, GET_FAMILY).text(FAMILY_NAME, "nbd");
        let mut family = None;
        for answer in socket.ask(request)? {
            family = family.or(Attributes::of(&answer).u16(FAMILY_ID));
        }
        let family = family.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { socket, family })
    }

    /// Sets a device up with connections that are past the handshake. Gives back its number.
    ///
    /// # Errors
    /// `EBUSY` when it is in use, `EPERM` without the right to administer.
    pub fn connect(&mut self, setup: &Setup, sockets: &[BorrowedFd<'_>]) -> io::Result<u32> {
        let mut request = Message::new(self.family, CONNECT);
        if let Some(index) = setup.index {
            request = request.u32(INDEX, index);
        }
        request = request
            .u64(SIZE_BYTES, setup.size_bytes)
            .u64(BLOCK_SIZE_BYTES, setup.block_size_bytes)
            .u64(SERVER_FLAGS, u64::from(setup.server_flags));
        if setup.timeout_s > 0 {
            request = request.u64(TIMEOUT, setup.timeout_s);
        }
        if setup.dead_conn_timeout_s > 0 {
            request = request.u64(DEAD_CONN_TIMEOUT, setup.dead_conn_timeout_s);
        }
        if let Some(backend) = &setup.backend {
            request = request.text(BACKEND, backend);
        }
        let request = request.nested(SOCKETS, list_of(sockets)?);
        let mut index = setup.index;
        for answer in self.socket.ask(request)? {
            index = Attributes::of(&answer).u32(INDEX).or(index);
        }
        index.ok_or_else(|| io::Error::other("the kernel did not tell which device it took"))
    }

    /// Gives a device whose connections broke new ones.
    ///
    /// # Errors
    /// `EINVAL` when it is not set up, or belongs to another `backend`.
    pub fn reconfigure(
        &mut self,
        index: u32,
        backend: Option<&str>,
        sockets: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut request = Message::new(self.family, RECONFIGURE).u32(INDEX, index);
        if let Some(backend) = backend {
            request = request.text(BACKEND, backend);
        }
        let request = request.nested(SOCKETS, list_of(sockets)?);
        self.socket.ask(request).map(drop)
    }

    /// Disconnects a device; it is free when this comes back.
    ///
    /// # Errors
    /// `EINVAL` when there is no such device.
    pub fn disconnect(&mut self, index: u32) -> io::Result<()> {
        let request = Message::new(self.family, DISCONNECT).u32(INDEX, index);
        self.socket.ask(request).map(drop)
    }

    /// All devices.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn devices(&mut self) -> io::Result<Vec<Device>> {
        let request = Message::new(self.family, STATUS);
        let mut all = Vec::new();
        for answer in self.socket.ask(request)? {
            let attributes = Attributes::of(&answer);
            let Some(list) = attributes.bytes(DEVICE_LIST) else {
                continue;
            };
            for (kind, item) in Attributes::nested(list) {
                let item = Attributes::in_list(item);
                if let (ITEM, Some(index)) = (kind, item.u32(DEVICE_INDEX)) {
                    let connected = item.u8(DEVICE_CONNECTED).is_some_and(|c| c != 0);
                    all.push(Device { index, connected });
                }
            }
        }
        all.sort_by_key(|d| d.index);
        Ok(all)
    }
}

fn list_of(sockets: &[BorrowedFd<'_>]) -> io::Result<Vec<Message>> {
    let item = |socket: &BorrowedFd<'_>| {
        let fd = u32::try_from(socket.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let inside = Message::attributes().u32(SOCKET_FD, fd);
        Ok(Message::attributes().nested(ITEM, vec![inside]))
    };
    sockets.iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_list_of_sockets_is_nested_twice() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let fd = u32::try_from(null.as_raw_fd()).unwrap();
        let list = list_of(&[null.as_fd()]).unwrap();
        let message = Message::attributes().nested(SOCKETS, list);
        let bytes = message.payload().to_vec();
        let sockets = Attributes::in_list(&bytes).bytes(SOCKETS).unwrap();
        let item = Attributes::in_list(sockets).bytes(ITEM).unwrap();
        assert_eq!(Attributes::in_list(item).u32(SOCKET_FD), Some(fd));
    }
}
