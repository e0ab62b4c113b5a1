//! A machine while it is being built: what every board does with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use accel_core::Accel;
use backend_core::Wake;
use dev_chipset::fw_cfg::{FwCfg, Items, key};
use dev_chipset::interrupts::{CpuSignals, Interrupts, REGION_ELCR, REGION_IOAPIC, REGION_PIC};
use dev_chipset::serial::Serial;
use dev_chipset::small::DebugConsole;
use dev_chipset::{vtd, wires};
use firmware::memory_map::{self, Range};
use firmware::{kernel::Kernel, rom};
use guest_mem::Ram;
use hw_core::memory::{AddressSpace, Backing, Dma, change};
use hw_core::pci::Place;
use hw_core::{Clock, Control, Device, Lines};

use crate::config::{BuildError, Built, Config, MakeNetwork};
use crate::core::{Core, INTERRUPTS, PCI, Parts};
use crate::machine::{Doorbell, Machine};
use crate::processor::Processor;

/// Ports and interrupts of the serial ports.
pub(crate) const SERIAL: [(u16, u8); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 4), (0x2e8, 3)];
/// The firmware ends here.
pub(super) const FIRMWARE_END: u64 = 1 << 32;
/// Largest firmware: up to the flash window.
pub(super) const MOST_FIRMWARE: usize = 8 << 20;

/// The ROM that boots a kernel.
const BOOT_ROM: &str = "genroms/linuxboot.bin";

/// The machine; see the head of this file.
pub(crate) struct Stage {
    pub(crate) core: Core,
    pub(crate) items: Items,
    processors: Vec<Arc<Processor>>,
    serial: Vec<Option<usize>>,
    accel: Arc<dyn Accel>,
    bell: Doorbell,
    /// Networks that no device has taken.
    pub(crate) networks: BTreeMap<String, MakeNetwork>,
    /// What the I/O memory management unit can do, if there is one.
    pub(crate) iommu: Option<vtd::Choices>,
    /// Network cards so far.
    pub(crate) cards: u8,
    /// Where to start from: places in the order, and the firmware's names.
    pub(crate) boot_paths: Vec<(u32, String)>,
}

impl Stage {
    pub(crate) fn new(config: &Config) -> Self {
        let clock = Clock::stopped();
        if config.accel.time_by_hand() {
            clock.go_by_hand();
        }
        let processors: Vec<Arc<Processor>> = (0..config.cpus() as usize)
            .map(|n| Arc::new(Processor::new(n, Arc::new(CpuSignals::default()))))
            .collect();
        let signals = processors.iter().map(|p| Arc::clone(&p.signals)).collect();
        let kicked = processors.clone();
        let kick = Box::new(move |n: usize| {
            if let Some(processor) = kicked.get(n) {
                processor.kick();
            }
        });
        let core = Core::new(Parts {
            clock: clock.clone(),
            control: Control::new(),
            lines: Lines::new(wires::COUNT),
            memory: AddressSpace::shared(),
            ports: AddressSpace::shared(),
            interrupts: Interrupts::new(signals, kick, clock),
            accel: Arc::clone(&config.accel),
        });
        Self {
            core,
            items: Items::new(),
            processors,
            serial: Vec::new(),
            accel: Arc::clone(&config.accel),
            bell: Doorbell::default(),
            networks: BTreeMap::new(),
            iommu: None,
            cards: 0,
            boot_paths: Vec::new(),
        }
    }

    pub(crate) fn finish(self, _config: &Config) -> Built {
        Built {
            machine: Machine::new(self.core, self.accel, self.processors, &self.bell),
            serial: self.serial,
        }
    }

    /// What a backend calls when it has finished something.
    pub(crate) fn wake(&self) -> Wake {
        self.bell.wake()
    }

    /// Where a PCI function is.
    pub(crate) fn place(&self, devfn: u8) -> Place {
        Place {
            bus: PCI,
            devfn,
            memory: Arc::clone(&self.core.memory),
            ports: Arc::clone(&self.core.ports),
        }
    }

    /// Memory from the host.
    pub(crate) fn memory(bytes: u64) -> Result<Ram, BuildError> {
        Ram::new(bytes).map_err(|error| {
            let errno = error.raw_os_error();
            BuildError::Memory(errno.map_or_else(|| error.to_string(), qapi::strerror))
        })
    }

    /// Maps RAM: `below` bytes from zero, the rest from 4 GiB.
    pub(crate) fn map_ram(&mut self, ram: &Ram, below: u64) {
        let mut map = change(&self.core.memory);
        let backing = |offset| Backing::Ram {
            ram: ram.clone(),
            offset,
        };
        map.map(0, below, 0, backing(0));
        if let Some(above) = ram.size().checked_sub(below).filter(|above| *above > 0) {
            map.map(1 << 32, above, 0, backing(below));
        }
    }

    /// Maps the firmware below 4 GiB.
    pub(crate) fn map_firmware(&mut self, firmware: &[u8]) -> Result<Ram, BuildError> {
        let whole = firmware.len().is_multiple_of(0x1_0000);
        if firmware.is_empty() || !whole || firmware.len() > MOST_FIRMWARE {
            return Err(BuildError::Firmware);
        }
        let ram = Self::memory(firmware.len() as u64)?;
        ram.write(0, firmware).map_err(|_| BuildError::Firmware)?;
        let backing = Backing::Rom {
            ram: ram.clone(),
            offset: 0,
        };
        change(&self.core.memory).map(FIRMWARE_END - ram.size(), ram.size(), 0, backing);
        Ok(ram)
    }

    /// Adds a device with regions at ports: region, first port, how many.
    pub(crate) fn at_ports(
        &mut self,
        device: Box<dyn Device>,
        regions: &[(u32, u16, u64)],
    ) -> usize {
        let number = self.core.add(device);
        self.map_ports(number, regions);
        number
    }

    pub(crate) fn map_ports(&mut self, number: usize, regions: &[(u32, u16, u64)]) {
        let mut ports = change(&self.core.ports);
        for (region, first, count) in regions {
            let backing = Backing::device(number, *region);
            ports.map(u64::from(*first), *count, 0, backing);
        }
    }

    /// The interrupt controllers' ports and page.
    pub(crate) fn map_interrupts(&mut self, pics: bool) {
        if pics {
            let slave = REGION_PIC + 1;
            self.map_ports(
                INTERRUPTS,
                &[
                    (REGION_PIC, 0x20, 2),
                    (slave, 0xa0, 2),
                    (REGION_ELCR, 0x4d0, 2),
                ],
            );
        }
        let backing = Backing::device(INTERRUPTS, REGION_IOAPIC);
        change(&self.core.memory).map(0xfec0_0000, 0x1000, 1, backing);
    }

    /// Serial ports and debug consoles.
    pub(crate) fn add_serial(&mut self, config: &mut Config) {
        let sinks = std::mem::take(&mut config.serial);
        for ((port, irq), sink) in SERIAL.into_iter().zip(sinks) {
            let number = sink.map(|sink| {
                let line = self.core.lines.line(wires::GSI + usize::from(irq));
                let serial = Serial::new(self.core.clock.clone(), line, sink);
                self.at_ports(Box::new(serial), &[(0, port, 8)])
            });
            self.serial.push(number);
        }
        for debug in std::mem::take(&mut config.debug) {
            let console = DebugConsole::new(0xe9, debug.sink);
            self.at_ports(Box::new(console), &[(0, debug.port, 1)]);
        }
    }

    /// Ports of the serial ports that are there, with their interrupts.
    pub(crate) fn serial_ports(&self) -> Vec<(u16, u8)> {
        let there = SERIAL.into_iter().zip(&self.serial);
        there
            .filter(|(_, number)| number.is_some())
            .map(|(port, _)| port)
            .collect()
    }

    /// The items every board has.
    pub(crate) fn common_items(
        &mut self,
        config: &mut Config,
        ranges: &[Range],
    ) -> Result<(), BuildError> {
        let own = std::mem::take(&mut config.items);
        let built = std::mem::replace(&mut self.items, own);
        debug_assert!(!built.has_file("etc/e820"), "boards add theirs later");
        let cpus = config.cpus();
        let count = u16::try_from(cpus).unwrap_or(u16::MAX);
        let items = &mut self.items;
        items.put(key::UUID, config.uuid.unwrap_or([0; 16]));
        items.put64(key::RAM_SIZE, config.ram);
        items.put16(key::NO_GRAPHIC, u16::from(config.no_graphic));
        items.put16(key::CPUS, count);
        items.put16(key::MOST_CPUS, count);
        items.put16(key::BOOT_MENU, u16::from(config.boot_menu));
        items.put64(key::NUMA, 0);
        items.put32(key::IRQ0_OVERRIDE, 1);
        let mut fits = items.file("etc/e820", memory_map::e820(ranges));
        fits &= items.file("etc/max-cpus", u32::from(count).to_le_bytes());
        // S3 and S4 are offered, S4 with type 2 as the tables say.
        fits &= items.file("etc/system-states", [128, 0, 0, 129, 130, 128]);
        for rom in std::mem::take(&mut config.option_roms) {
            if let Some(index) = rom.boot_index {
                self.boot_paths.push((index, format!("/rom@{}", rom.name)));
            }
            fits &= items.file(&rom.name, rom.data);
        }
        if let Some(kernel) = config.kernel.take() {
            fits &= kernel_items(items, kernel);
            self.boot_paths.insert(0, (0, format!("/rom@{BOOT_ROM}")));
        }
        self.boot_paths.sort_by_key(|(index, _)| *index);
        if !self.boot_paths.is_empty() || config.boot_strict {
            let mut names: Vec<&str> = self.boot_paths.iter().map(|(_, name)| &**name).collect();
            if config.boot_strict {
                names.push("HALT");
            }
            fits &= items.file("bootorder", format!("{}\0", names.join("\n")).into_bytes());
        }
        if fits { Ok(()) } else { Err(BuildError::Items) }
    }

    /// The firmware configuration device, once all items are there.
    pub(crate) fn add_fw_cfg(&mut self) {
        let items = std::mem::take(&mut self.items);
        let device = FwCfg::new(items, Dma::new(&self.core.memory));
        self.at_ports(Box::new(device), &[(0, 0x510, 2), (1, 0x514, 8)]);
    }
}

/// A kernel as items, with the ROM that boots them.
fn kernel_items(items: &mut Items, kernel: Kernel) -> bool {
    let pieces = [
        (
            key::SETUP_ADDRESS,
            key::SETUP_SIZE,
            key::SETUP_DATA,
            kernel.setup,
        ),
        (
            key::CMDLINE_ADDRESS,
            key::CMDLINE_SIZE,
            key::CMDLINE_DATA,
            kernel.command_line,
        ),
        (
            key::KERNEL_ADDRESS,
            key::KERNEL_SIZE,
            key::KERNEL_DATA,
            kernel.kernel,
        ),
        (
            key::INITRD_ADDRESS,
            key::INITRD_SIZE,
            key::INITRD_DATA,
            kernel.initrd,
        ),
    ];
    for (address, size, data, piece) in pieces {
        items.put32(address, piece.address);
        items.put32(size, u32::try_from(piece.data.len()).unwrap_or(u32::MAX));
        items.put(data, piece.data);
    }
    if let Some(entry) = kernel.entry {
        items.put32(key::KERNEL_ENTRY, entry);
    }
    items.file(BOOT_ROM, rom::boot_rom())
}
