//! Configuration space of one function, 256 bytes of header type 0 (PCI local bus 3.0, chapter 6).
//!
//! Each byte has a mask of the bits the guest may write and one of the bits that a written one clears.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::StateError;
use crate::bits::{low8, ones};
use crate::memory::{Dma, Master, Shared};

/// Offset of the command register: bit 0 I/O windows, 1 memory windows, 2 bus master, 10 no INTx.
pub const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BARS: usize = 0x10;
const ROM: usize = 0x30;
const SIZE: usize = 256;

/// Who a function says it is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class, subclass, programming interface: 0x0601_00 is an ISA bridge.
    pub class: u32,
    /// Subsystem vendor and device.
    pub subsystem: (u16, u16),
    /// 0 for none, 1 for INTA#.
    pub pin: u8,
    /// More functions follow in this device.
    pub multifunction: bool,
}

/// A window; its size is a power of two.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    /// I/O ports.
    Io(u32),
    /// Memory below 4 GiB.
    Memory32(u32),
    /// Memory anywhere; takes two registers.
    Memory64(u64),
}

impl Bar {
    /// Size in bytes.
    pub fn size(self) -> u64 {
        match self {
            Self::Io(size) | Self::Memory32(size) => u64::from(size),
            Self::Memory64(size) => size,
        }
    }

    /// Whether it is of I/O ports.
    pub fn is_io(self) -> bool {
        matches!(self, Self::Io(_))
    }
}

/// Configuration space; see the head of this file.
#[derive(Debug)]
pub struct Config {
    bytes: [u8; SIZE],
    power_on: [u8; SIZE],
    writable: [u8; SIZE],
    clears: [u8; SIZE],
    bars: [Option<Bar>; 6],
    rom_size: u64,
    master: Arc<Master>,
}

impl Config {
    /// The header of a function that says who it is.
    pub fn new(who: &Identity) -> Self {
        let mut config = Self {
            bytes: [0; SIZE],
            power_on: [0; SIZE],
            writable: [0; SIZE],
            clears: [0; SIZE],
            bars: [None; 6],
            rom_size: 0,
            master: Arc::default(),
        };
        config.put(0x00, 2, u64::from(who.vendor));
        config.put(0x02, 2, u64::from(who.device));
        config.put(0x08, 1, u64::from(who.revision));
        config.put(0x09, 3, u64::from(who.class));
        config.put(0x0e, 1, if who.multifunction { 0x80 } else { 0 });
        config.put(0x2c, 2, u64::from(who.subsystem.0));
        config.put(0x2e, 2, u64::from(who.subsystem.1));
        config.put(0x3d, 1, u64::from(who.pin));
        config.allow(COMMAND, 2, 0x0547);
        config.allow(0x0c, 1, 0xff);
        config.allow(0x3c, 1, 0xff);
        for (mask, offset) in [(0x00, STATUS), (0xf9, STATUS + 1)] {
            config.clears[offset] = mask;
        }
        config
    }

    /// Adds window `n`.
    #[must_use]
    pub fn with_bar(mut self, n: usize, bar: Bar) -> Self {
        let at = BARS + n * 4;
        let mask = !(bar.size().max(4) - 1);
        match bar {
            Bar::Io(_) => {
                self.put(at, 4, 1);
                self.allow(at, 4, mask & 0xffff_fffc);
            }
            Bar::Memory32(_) => self.allow(at, 4, mask & 0xffff_fff0),
            Bar::Memory64(_) => {
                self.put(at, 4, 4);
                self.allow(at, 8, mask & !0xf);
            }
        }
        self.bars[n] = Some(bar);
        self
    }

    /// Adds the register of an expansion ROM; the size is rounded up to a power of two of at least 2 KiB.
    pub fn add_rom(&mut self, bytes: u64) {
        let size = bytes.next_power_of_two().max(0x800);
        self.allow(ROM, 4, !(size - 1) & 0xffff_f800 | 1);
        self.rom_size = size;
    }

    /// Where the expansion ROM is now; see [`Config::bar_address`].
    pub fn rom_address(&self) -> Option<u64> {
        let register = self.read(ROM, 4);
        let address = register & 0xffff_f800;
        let on = register & 1 != 0 && self.read(COMMAND, 2) & 2 != 0 && self.rom_size != 0;
        let sensible = address != 0 && address + (self.rom_size.max(1) - 1) < ones(4);
        (on && sensible).then_some(address)
    }

    /// Lets the guest clear the bits of `mask` by writing ones.
    pub fn clear_by_one(&mut self, offset: usize, bytes: usize, mask: u64) {
        for (n, byte) in mask.to_le_bytes().iter().enumerate().take(bytes) {
            if let Some(slot) = self.clears.get_mut(offset + n) {
                *slot = *byte;
            }
        }
    }

    /// Adds a capability at `at`, before those already there.
    #[must_use]
    pub fn with_capability(mut self, at: u8, id: u8, body: &[u8]) -> Self {
        let next = self.bytes[0x34];
        let start = usize::from(at);
        self.put(start, 1, u64::from(id));
        self.put(start + 1, 1, u64::from(next));
        for (n, byte) in body.iter().enumerate() {
            self.put(start + 2 + n, 1, u64::from(*byte));
        }
        self.put(0x34, 1, u64::from(at));
        self.put(STATUS, 1, u64::from(self.bytes[STATUS] | 0x10));
        self
    }

    /// Sets the power-on value of a register.
    pub fn put(&mut self, offset: usize, bytes: usize, value: u64) {
        for (n, byte) in value.to_le_bytes().iter().enumerate().take(bytes) {
            if let Some(slot) = self.bytes.get_mut(offset + n) {
                *slot = *byte;
            }
            if let Some(slot) = self.power_on.get_mut(offset + n) {
                *slot = *byte;
            }
        }
    }

    /// Sets a register now, whatever the guest may write.
    pub fn set(&mut self, offset: usize, bytes: usize, value: u64) {
        for (n, byte) in value.to_le_bytes().iter().enumerate().take(bytes) {
            if let Some(slot) = self.bytes.get_mut(offset + n) {
                *slot = *byte;
            }
        }
    }

    /// Lets the guest write the bits of `mask`.
    pub fn allow(&mut self, offset: usize, bytes: usize, mask: u64) {
        for (n, byte) in mask.to_le_bytes().iter().enumerate().take(bytes) {
            if let Some(slot) = self.writable.get_mut(offset + n) {
                *slot = *byte;
            }
        }
    }

    /// Reads; beyond the end are ones.
    pub fn read(&self, offset: usize, bytes: usize) -> u64 {
        crate::bits::read_le(&self.bytes, offset, bytes)
    }

    /// The guest writes.
    pub fn write(&mut self, offset: usize, bytes: usize, value: u64) {
        for n in 0..bytes.min(8) {
            let at = offset.saturating_add(n);
            let Some(slot) = self.bytes.get_mut(at) else {
                return;
            };
            let new = low8(value >> (n * 8));
            let mask = self.writable[at];
            *slot = (*slot & !mask & !(new & self.clears[at])) | (new & mask);
        }
        self.follow_command();
    }

    /// A view of `space` for this function: open while it is a bus master, and translated where an IOMMU is.
    pub fn dma(&self, space: &Shared) -> Dma {
        Dma::of(space, Arc::clone(&self.master), true)
    }

    /// The same, but by the addresses that the processors use, whatever an IOMMU says.
    pub fn physical_dma(&self, space: &Shared) -> Dma {
        Dma::of(space, Arc::clone(&self.master), false)
    }

    /// Tells where on the bus the function is.
    pub(super) fn set_place(&self, devfn: u8) {
        self.master
            .source
            .store(u16::from(devfn), Ordering::Release);
    }

    fn follow_command(&self) {
        let on = self.bytes[COMMAND] & 4 != 0;
        self.master.on.store(on, Ordering::Release);
    }

    /// Window `n`, if the function has it.
    pub fn bar(&self, n: usize) -> Option<Bar> {
        self.bars.get(n).copied().flatten()
    }

    /// Size of the expansion ROM; zero when there is none.
    pub fn rom_size(&self) -> u64 {
        self.rom_size
    }

    /// Where window `n` is now; `None` when it is switched off or was given no sensible place.
    pub fn bar_address(&self, n: usize) -> Option<u64> {
        let bar = self.bar(n)?;
        let on = if bar.is_io() { 1 } else { 2 };
        if self.read(COMMAND, 2) & on == 0 {
            return None;
        }
        let at = BARS + n * 4;
        let (address, limit) = match bar {
            Bar::Io(_) => (self.read(at, 4) & !3, 0xffff),
            Bar::Memory32(_) => (self.read(at, 4) & !0xf, ones(4)),
            Bar::Memory64(_) => (self.read(at, 8) & !0xf, ones(8)),
        };
        let last = address.checked_add(bar.size().checked_sub(1)?)?;
        // All ones is what the firmware writes to learn the size; the last address then is the space's last.
        let sensible = address != 0 && last < limit;
        sensible.then_some(address)
    }

    /// Raises or clears the interrupt status bit.
    pub fn set_interrupt_status(&mut self, on: bool) {
        self.bytes[STATUS] = (self.bytes[STATUS] & !8) | if on { 8 } else { 0 };
    }

    /// Back to power-on values.
    pub fn reset(&mut self) {
        self.bytes = self.power_on;
        self.follow_command();
    }

    /// All bytes.
    pub fn save(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// Takes over all bytes.
    ///
    /// # Errors
    /// Wrong length, or another function's identity.
    pub fn restore(&mut self, from: &[u8]) -> Result<(), StateError> {
        let bytes: [u8; SIZE] = from
            .try_into()
            .map_err(|_| StateError("configuration space of a wrong length".to_owned()))?;
        if bytes[..4] != self.bytes[..4] {
            return Err(StateError(
                "configuration space of another function".to_owned(),
            ));
        }
        self.bytes = bytes;
        self.follow_command();
        Ok(())
    }
}
