//! Firmware configuration device: named and numbered items for the firmware, read byte by byte or by DMA.
//! ```text
//!   region 0, offset 0  select (write 16 bits)        offset 1  data (read 8 bits)
//!   region 1, offset 0  DMA address, high half, big-endian   offset 4  low half, starts
//!   DMA request (big-endian): control (bit 0 error, 1 read, 2 skip, 3 select, 4 write; key in the upper half),
//!                             length, address (8)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use hw_core::bits::{low16, low32, ones};
use hw_core::device::{Device, StateError, restore_record, save_record};
use hw_core::memory::{Dma, DmaError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(test)]
mod tests;

/// Keys of the numbered items.
pub mod key {
    /// "QEMU".
    pub const SIGNATURE: u16 = 0;
    /// Bit 0 the item interface, bit 1 DMA.
    pub const ID: u16 = 1;
    /// The machine's UUID.
    pub const UUID: u16 = 2;
    /// RAM size.
    pub const RAM_SIZE: u16 = 3;
    /// No display.
    pub const NO_GRAPHIC: u16 = 4;
    /// How many processors run at start.
    pub const CPUS: u16 = 5;
    /// Where the kernel goes.
    pub const KERNEL_ADDRESS: u16 = 7;
    /// Its size.
    pub const KERNEL_SIZE: u16 = 8;
    /// Where the initial RAM disk goes.
    pub const INITRD_ADDRESS: u16 = 0xa;
    /// Its size.
    pub const INITRD_SIZE: u16 = 0xb;
    /// Boot device, one letter.
    pub const BOOT_DEVICE: u16 = 0xc;
    /// NUMA nodes.
    pub const NUMA: u16 = 0xd;
    /// The boot menu is wanted.
    pub const BOOT_MENU: u16 = 0xe;
    /// One more than the highest APIC id.
    pub const MOST_CPUS: u16 = 0xf;
    /// Where the kernel starts.
    pub const KERNEL_ENTRY: u16 = 0x10;
    /// The kernel.
    pub const KERNEL_DATA: u16 = 0x11;
    /// The initial RAM disk.
    pub const INITRD_DATA: u16 = 0x12;
    /// Where the command line goes.
    pub const CMDLINE_ADDRESS: u16 = 0x13;
    /// Its size.
    pub const CMDLINE_SIZE: u16 = 0x14;
    /// The command line.
    pub const CMDLINE_DATA: u16 = 0x15;
    /// Where the kernel's real-mode part goes.
    pub const SETUP_ADDRESS: u16 = 0x16;
    /// Its size.
    pub const SETUP_SIZE: u16 = 0x17;
    /// The real-mode part.
    pub const SETUP_DATA: u16 = 0x18;
    /// Names of the files.
    pub const DIRECTORY: u16 = 0x19;
    /// First file.
    pub const FIRST_FILE: u16 = 0x20;
    /// ACPI tables given by the user.
    pub const ACPI_TABLES: u16 = 0x8000;
    /// SMBIOS entries, old form.
    pub const SMBIOS: u16 = 0x8001;
    /// The timer is at pin 2 of the I/O APIC.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
    /// Memory map, old form.
    pub const E820: u16 = 0x8003;
    /// HPET description.
    pub const HPET: u16 = 0x8004;
}

/// Files at most.
const MOST_FILES: usize = 0x4000 - 0x20;
/// Bytes of a file's name, with its terminating zero.
const NAME: usize = 56;
const DMA_SIGNATURE: u64 = 0x5145_4d55_2043_4647;
/// Bytes copied at once.
const CHUNK: usize = 64 * 1024;

/// Contents of the device, before it is built.
#[derive(Debug, Clone, Default)]
pub struct Items {
    numbered: BTreeMap<u16, Arc<[u8]>>,
    files: BTreeMap<String, File>,
}

#[derive(Debug, Clone)]
struct File {
    data: Arc<[u8]>,
    writable: bool,
}

impl Items {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a numbered item.
    pub fn put(&mut self, key: u16, data: impl Into<Arc<[u8]>>) {
        self.numbered.insert(key, data.into());
    }

    /// Puts a 16-bit number, little-endian.
    pub fn put16(&mut self, key: u16, value: u16) {
        self.put(key, value.to_le_bytes());
    }

    /// Puts a 32-bit number, little-endian.
    pub fn put32(&mut self, key: u16, value: u32) {
        self.put(key, value.to_le_bytes());
    }

    /// Puts a 64-bit number, little-endian.
    pub fn put64(&mut self, key: u16, value: u64) {
        self.put(key, value.to_le_bytes());
    }

    /// Puts a file the guest may read; false when its name is too long or there are too many.
    #[must_use]
    pub fn file(&mut self, name: &str, data: impl Into<Arc<[u8]>>) -> bool {
        self.add(name, data.into(), false)
    }

    /// Puts a file the guest may also write.
    #[must_use]
    pub fn writable_file(&mut self, name: &str, data: impl Into<Arc<[u8]>>) -> bool {
        self.add(name, data.into(), true)
    }

    /// Whether there is such a file.
    pub fn has_file(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    fn add(&mut self, name: &str, data: Arc<[u8]>, writable: bool) -> bool {
        let fits = name.len() < NAME && !name.is_empty() && self.files.len() < MOST_FILES;
        if fits {
            self.files.insert(name.to_owned(), File { data, writable });
        }
        fits
    }
}

struct Item {
    data: Arc<[u8]>,
    writable: bool,
}

/// All registers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Registers {
    selected: u16,
    offset: u32,
    dma_high: u32,
    /// Files the guest changed, by key.
    written: BTreeMap<u16, Vec<u8>>,
}

/// The device.
pub struct FwCfg {
    registers: Registers,
    items: BTreeMap<u16, Item>,
    dma: Dma,
}

impl FwCfg {
    /// A device with these contents; it reaches memory through `dma`.
    pub fn new(contents: Items, dma: Dma) -> Self {
        let mut items = BTreeMap::new();
        let mut fixed = |key, data: Arc<[u8]>, writable| {
            items.insert(key, Item { data, writable });
        };
        let count = u32::try_from(contents.files.len()).unwrap_or(0);
        let mut directory = count.to_be_bytes().to_vec();
        for (n, (name, file)) in (key::FIRST_FILE..).zip(contents.files) {
            let size = u32::try_from(file.data.len()).unwrap_or(u32::MAX);
            directory.extend(size.to_be_bytes());
            directory.extend(n.to_be_bytes());
            directory.extend([0; 2]);
            let mut raw = [0; NAME];
            raw[..name.len()].copy_from_slice(name.as_bytes());
            directory.extend(raw);
            fixed(n, file.data, file.writable);
        }
        for (key, data) in contents.numbered {
            fixed(key, data, false);
        }
        fixed(key::SIGNATURE, Arc::from(*b"QEMU"), false);
        fixed(key::ID, Arc::from(3_u32.to_le_bytes()), false);
        fixed(key::DIRECTORY, directory.into(), false);
        Self {
            registers: Registers::default(),
            items,
            dma,
        }
    }

    fn select(&mut self, key: u16) {
        // Bit 14 asked for writing in an old interface.
        self.registers.selected = key & !0x4000;
        self.registers.offset = 0;
    }

    fn bytes(&self) -> &[u8] {
        let key = self.registers.selected;
        if let Some(written) = self.registers.written.get(&key) {
            return written;
        }
        self.items.get(&key).map_or(&[], |item| &item.data)
    }

    fn next_byte(&mut self) -> u8 {
        let at = usize::try_from(self.registers.offset).unwrap_or(usize::MAX);
        let byte = self.bytes().get(at).copied();
        if byte.is_some() {
            self.registers.offset += 1;
        }
        byte.unwrap_or(0)
    }

    /// Reads to guest memory; beyond the item's end are zeroes.
    fn dma_read(&mut self, address: u64, length: u32) -> Result<(), DmaError> {
        let start = usize::try_from(self.registers.offset).unwrap_or(usize::MAX);
        let total = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = self.bytes();
        let rest = bytes.get(start..).unwrap_or(&[]);
        let present = &rest[..rest.len().min(total)];
        let advanced = self
            .registers
            .offset
            .saturating_add(u32::try_from(present.len()).unwrap_or(u32::MAX));
        let mut at = address;
        for chunk in present.chunks(CHUNK) {
            self.dma.write(at, chunk)?;
            at = at.checked_add(chunk.len() as u64).ok_or(DmaError)?;
        }
        let zeroes = [0; 4096];
        let mut left = total - present.len();
        while left > 0 {
            let part = left.min(zeroes.len());
            self.dma.write(at, &zeroes[..part])?;
            at = at.checked_add(part as u64).ok_or(DmaError)?;
            left -= part;
        }
        self.registers.offset = advanced;
        Ok(())
    }

    /// Writes from guest memory into a writable file, which keeps its size.
    fn dma_write(&mut self, address: u64, length: u32) -> Result<(), DmaError> {
        let key = self.registers.selected;
        let item = self.items.get(&key).filter(|item| item.writable);
        let item = item.ok_or(DmaError)?;
        let mut new = match self.registers.written.get(&key) {
            Some(written) => written.clone(),
            None => item.data.to_vec(),
        };
        let start = usize::try_from(self.registers.offset).map_err(|_| DmaError)?;
        let end = start.checked_add(usize::try_from(length).map_err(|_| DmaError)?);
        let part = end.and_then(|end| new.get_mut(start..end));
        self.dma.read(address, part.ok_or(DmaError)?)?;
        self.registers.offset = self.registers.offset.saturating_add(length);
        self.registers.written.insert(key, new);
        Ok(())
    }

    fn run_dma(&mut self, at: u64) {
        let mut raw = [0; 16];
        if self.dma.read(at, &mut raw).is_err() {
            return;
        }
        let word = |n: usize| u32::from_be_bytes([raw[n], raw[n + 1], raw[n + 2], raw[n + 3]]);
        let (control, length) = (word(0), word(4));
        let address = u64::from(word(8)) << 32 | u64::from(word(12));
        if control & 8 != 0 {
            self.select(low16(u64::from(control >> 16)));
        }
        let done = if control & 2 != 0 {
            self.dma_read(address, length)
        } else if control & 0x10 != 0 {
            self.dma_write(address, length)
        } else {
            if control & 4 != 0 {
                self.registers.offset = self.registers.offset.saturating_add(length);
            }
            Ok(())
        };
        let answer = u32::from(done.is_err());
        // A request that cannot be answered is the guest's own loss.
        let _ = self.dma.write(at, &answer.to_be_bytes());
    }
}

impl Device for FwCfg {
    fn name(&self) -> &'static str {
        "fw_cfg"
    }

    fn read(&mut self, region: u32, offset: u64, bytes: usize) -> u64 {
        if region == 1 {
            let shift = 8_u64.saturating_sub(offset).saturating_sub(bytes as u64) * 8;
            let value = (DMA_SIGNATURE >> shift.min(63)) & ones(bytes);
            return value.swap_bytes() >> (64 - 8 * bytes.clamp(1, 8));
        }
        if offset == 1 && bytes == 1 {
            return u64::from(self.next_byte());
        }
        0
    }

    fn write(&mut self, region: u32, offset: u64, bytes: usize, value: u64) {
        match (region, offset, bytes) {
            (0, 0, 2) => self.select(low16(value)),
            (1, 0, 4) => self.registers.dma_high = low32(value).swap_bytes(),
            (1, 4, 4) => {
                let low = u64::from(low32(value).swap_bytes());
                let at = u64::from(self.registers.dma_high) << 32 | low;
                self.registers.dma_high = 0;
                self.run_dma(at);
            }
            (1, 0, 8) => self.run_dma(value.swap_bytes()),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.registers.selected = 0;
        self.registers.offset = 0;
        self.registers.dma_high = 0;
        self.registers.written.clear();
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let registers: Registers = restore_record(state)?;
        let fits = |(key, data): (&u16, &Vec<u8>)| {
            let item = self.items.get(key);
            item.is_some_and(|item| item.writable && item.data.len() == data.len())
        };
        if !registers.written.iter().all(fits) {
            return Err(StateError("written files that do not exist".to_owned()));
        }
        self.registers = registers;
        Ok(())
    }
}
