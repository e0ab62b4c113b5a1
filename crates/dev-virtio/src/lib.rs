//! virtio devices, and the transports by which a guest finds them.
//!
//! ```text
//!   pci::VirtioPci   mmio::VirtioMmio      registers, interrupts
//!             \        /
//!            core::Core                    status, features, queues: the state that both share
//!                 |
//!          dyn Model: blk, net, rng        what a device does with its requests
//!                 |
//!           queue::Queue                   the rings in guest memory
//! ```
//! Source: Virtual I/O Device (VIRTIO) 1.2, OASIS. Rings and requests are the guest's and hostile: every address is
//! checked by the DMA view, every chain is bounded, where a ring lies is fixed while the device is on.
#![forbid(unsafe_code)]

pub mod blk;
mod core;
pub mod mmio;
pub mod net;
pub mod pci;
mod queue;
pub mod rng;
#[cfg(test)]
mod testing;

pub use core::{Model, RingOptions, Rings};
pub use queue::{Chain, Piece, Queue};

/// Features that belong to the ring and the transport (VIRTIO 1.2, section 6).
pub mod feature {
    /// Legacy: interrupts also when the available ring runs empty.
    pub const NOTIFY_ON_EMPTY: u64 = 1 << 24;
    /// Legacy: buffers may be cut anywhere.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// Tables of descriptors behind one descriptor.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Events by index instead of by flag.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// A driver of version 1 and later.
    pub const VERSION_1: u64 = 1 << 32;
    /// Rings are packed.
    pub const RING_PACKED: u64 = 1 << 34;
}
