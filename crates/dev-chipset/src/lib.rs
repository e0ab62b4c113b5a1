//! A PC's chipset: bridges, interrupt controllers, timers, keyboard controller, serial ports, firmware configuration,
//! power management, test devices, and a VGA adapter for firmware and text.
//!
//! Each device is a plain struct over [`hw_core::Device`] or [`hw_core::pci::Function`]; which board has which is the
//! machine's business.
#![forbid(unsafe_code)]

pub mod dma;
pub mod edu;
pub mod fw_cfg;
pub mod ged;
pub mod hpet;
pub mod i440fx;
pub mod i8042;
pub mod ich9;
pub mod interrupts;
mod pam;
pub mod piix;
pub mod pirq;
pub mod pit;
mod pm;
pub mod q35;
pub mod rtc;
pub mod serial;
pub mod shadow;
pub mod small;
mod smbus;
mod tco;
pub mod test_devices;
#[cfg(test)]
mod tests;
pub mod vga;
pub mod vtd;
pub mod wires;

pub use pam::{Pam, Rom, VGA_PRIORITY};
