//! What devices are made of: the contract every device keeps, address spaces, interrupt lines, DMA views, time, and
//! the PCI bus.
//!
//! Devices are plain structs called under one machine lock. A device reaches the outside only by what it was built
//! with: [`irq::Line`]s, a [`memory::Dma`] view, a [`clock::Clock`].
#![forbid(unsafe_code)]

pub mod bits;
pub mod clock;
pub mod control;
pub mod device;
pub mod irq;
pub mod memory;
pub mod pci;

pub use clock::Clock;
pub use control::{Control, Request};
pub use device::{Device, HostEvent, StateError};
pub use irq::{Line, Lines, Signal};
pub use memory::{AddressSpace, Backing, Dma, MappingId, Shared};
