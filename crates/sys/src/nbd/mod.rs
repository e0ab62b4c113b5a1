//! The kernel's NBD client: devices `/dev/nbdN` that take their bytes from a socket (`linux/nbd.h`, `linux/nbd-netlink.h`).
//!
//! Two ways lead to it. By generic netlink a device is set up by one message and stays without anybody waiting for it;
//! the kernel can also choose a free one. By `ioctl` it is set up step by step and a thread stays inside the kernel.

pub mod ioctl;
pub mod netlink;
