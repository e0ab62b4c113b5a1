//! virtio over PCI (VIRTIO 1.2, section 4.1), transitional: the legacy registers in I/O ports and the modern ones in memory,
//! over the same device.
//!
//! ```text
//! window 0  I/O     legacy registers, then the device's configuration
//! window 1  memory  MSI-X: table at 0, pending bits at 0x800
//! window 4  memory  0x0000 common, 0x1000 interrupt status, 0x2000 device, 0x3000 notify (4 bytes a queue);
//!                   once more through configuration space
//! ```

mod common;
mod legacy;
#[cfg(test)]
mod tests;
mod window;

use hw_core::StateError;
use hw_core::bits::{low8, low16, ones};
use hw_core::device::{restore_record, save_record};
use hw_core::irq::{Line, Lines};
use hw_core::memory::Shared;
use hw_core::pci::{Bar, Config, Function, Identity, Msix, Pin};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::{Core, Model, RingOptions, Tell};
use crate::queue::NO_VECTOR;

/// Vendor of every virtio device.
const VENDOR: u16 = 0x1af4;
/// Place of the MSI-X capability in configuration space.
const MSIX_AT: u8 = 0x98;
const COMMON: u32 = 0x0000;
const ISR: u32 = 0x1000;
const DEVICE: u32 = 0x2000;
const NOTIFY: u32 = 0x3000;
/// Bytes of each part of window 4.
const PART: u32 = 0x1000;
/// Bits of the interrupt status.
const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

/// Who a device is on the bus.
#[derive(Debug, Clone, Copy)]
pub struct PciIdentity {
    /// Transitional device number (0x1000 to 0x103f).
    pub device: u16,
    /// Class, subclass, interface.
    pub class: u32,
    /// Size of the window of I/O ports.
    pub ports: u32,
}

/// What the bus gives a device.
pub struct Wiring {
    /// Its interrupt pin.
    pub line: Line,
    /// Where its messages go.
    pub lines: Lines,
    /// The memory it reaches while it is a bus master.
    pub memory: Shared,
}

/// A virtio device as a PCI function.
pub struct VirtioPci {
    name: &'static str,
    config: Config,
    core: Core,
    pin: Pin,
    msix: Msix,
    isr: u8,
    config_vector: u16,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    core: Value,
    msix: Vec<hw_core::pci::Vector>,
    isr: u8,
    config_vector: u16,
}

impl VirtioPci {
    /// A function named `name` around a device.
    pub fn new(
        name: &'static str,
        who: PciIdentity,
        model: Box<dyn Model>,
        wiring: Wiring,
    ) -> Self {
        let vectors = model.queues().len() + 1;
        let config = Config::new(&Identity {
            vendor: VENDOR,
            device: who.device,
            revision: 0,
            class: who.class,
            subsystem: (VENDOR, model.id()),
            pin: 1,
            multifunction: false,
        })
        .with_bar(0, Bar::Io(who.ports))
        .with_bar(1, Bar::Memory32(0x1000))
        .with_bar(4, Bar::Memory64(0x4000));
        let config = [
            (0x40, 1, COMMON, 0),
            (0x50, 3, ISR, 0),
            (0x60, 4, DEVICE, 0),
            (0x70, 2, NOTIFY, 4),
        ]
        .into_iter()
        .fold(config, with_part);
        let config = window::with_window(config);
        let (msix, config) = Msix::new(config, MSIX_AT, vectors, (1, 0, 0x800), &wiring.lines);
        // Without VIRTIO_F_ACCESS_PLATFORM a device does not take part in translation (virtio 1.2, 6.1).
        let dma = config.physical_dma(&wiring.memory);
        Self {
            name,
            config,
            core: Core::new(model, dma),
            pin: Pin::new(wiring.line),
            msix,
            isr: 0,
            config_vector: NO_VECTOR,
        }
    }

    /// The same function with other rings than the usual ones.
    #[must_use]
    pub fn with_rings(mut self, rings: RingOptions) -> Self {
        self.core.rings = rings;
        self
    }

    fn tell(&mut self, tell: Tell) {
        for index in tell.queues {
            let vector = self.core.queues.get(index).map_or(NO_VECTOR, |q| q.vector);
            self.interrupt(vector, ISR_QUEUE);
        }
        if tell.config {
            self.interrupt(self.config_vector, ISR_CONFIG);
        }
    }

    fn interrupt(&mut self, vector: u16, bit: u8) {
        if self.msix.on(&self.config) {
            if vector != NO_VECTOR {
                self.msix.raise(usize::from(vector), &self.config);
            }
            return;
        }
        self.isr |= bit;
        self.pin.set(true, &mut self.config);
    }

    fn take_isr(&mut self) -> u8 {
        let isr = std::mem::take(&mut self.isr);
        self.pin.set(false, &mut self.config);
        isr
    }

    /// A vector the guest may choose; others become none, by which it sees that there is no such one.
    fn vector(&self, value: u64) -> u16 {
        let vector = low16(value);
        if usize::from(vector) < self.msix.count() {
            vector
        } else {
            NO_VECTOR
        }
    }

    fn reset_device(&mut self) {
        self.core.reset();
        self.isr = 0;
        self.config_vector = NO_VECTOR;
        self.pin.set(false, &mut self.config);
    }

    fn set_status(&mut self, value: u64, legacy: bool) {
        match low8(value) {
            0 => self.reset_device(),
            status => self.core.set_status(status, legacy),
        }
    }
}

/// A capability that says where a part of the registers is: type, window, place, length; for the notify part also the
/// distance between queues.
fn with_part(config: Config, (at, kind, offset, multiplier): (u8, u8, u32, u32)) -> Config {
    let mut body = Vec::from([if multiplier == 0 { 16 } else { 20 }, kind, 4, 0, 0, 0]);
    body.extend(offset.to_le_bytes());
    body.extend(PART.to_le_bytes());
    if multiplier != 0 {
        body.extend(multiplier.to_le_bytes());
    }
    config.with_capability(at, 9, &body)
}

impl Function for VirtioPci {
    fn name(&self) -> &'static str {
        self.name
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    fn config_reads(&mut self, offset: usize, bytes: usize) {
        if window::is_data(offset, bytes) {
            self.window_to_data();
        }
    }

    fn config_written(&mut self, offset: usize, bytes: usize) {
        self.pin.follow(&self.config);
        self.msix.follow(&self.config);
        if window::is_data(offset, bytes) {
            self.data_to_window();
        }
    }

    fn window_read(&mut self, bar: u8, offset: u64, bytes: usize) -> u64 {
        match bar {
            0 => self.legacy_read(offset, bytes),
            1 if offset < 0x800 => self.msix.table_read(offset, bytes),
            1 => self.msix.pending_read(offset - 0x800, bytes),
            4 => self.modern_read(offset, bytes),
            _ => ones(bytes),
        }
    }

    fn window_write(&mut self, bar: u8, offset: u64, bytes: usize, value: u64) {
        match bar {
            0 => self.legacy_write(offset, bytes, value),
            1 if offset < 0x800 => self.msix.table_write(offset, bytes, value, &self.config),
            4 => self.modern_write(offset, bytes, value),
            _ => {}
        }
    }

    fn completed(&mut self) {
        let tell = self.core.completed();
        self.tell(tell);
    }

    fn reset(&mut self) {
        self.reset_device();
        self.msix.reset();
    }

    fn save(&self) -> Value {
        save_record(&Saved {
            core: self.core.save(),
            msix: self.msix.save(),
            isr: self.isr,
            config_vector: self.config_vector,
        })
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        self.core.restore(&saved.core)?;
        self.msix.restore(&saved.msix);
        self.isr = saved.isr;
        self.config_vector = self.vector(saved.config_vector.into());
        let high = self.isr != 0;
        self.pin.set(high, &mut self.config);
        Ok(())
    }
}
