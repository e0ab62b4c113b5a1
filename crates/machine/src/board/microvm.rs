//! `microvm`: serial port, firmware configuration, interrupt controllers and slots of virtio devices, no PCI bus.
//!
//! ACPI is without fixed hardware: the generic event device has the power button, sleep and reset, and the slots are
//! named by the tables. GAP: one I/O APIC, so eight slots instead of 24.

use dev_chipset::ged::{self, EventDevice};
use dev_chipset::pit::Pit;
use dev_chipset::rtc::Rtc;
use dev_chipset::shadow::FirmwareShadow;
use dev_chipset::wires;
use firmware::acpi::{self, ReducedPlatform};
use firmware::memory_map;
use guest_mem::Ram;
use hw_core::memory::{Backing, change};

use super::{Board, Stage, cmos, drives};
use crate::config::{BuildError, Config};

/// RAM below 4 GiB at most.
const LOW: u64 = 0xc000_0000;
/// Events and registers of the generic event device, and its interrupt.
const EVENTS: (u32, u32, u32) = (0xfea0_0000, 0xfea0_0200, 9);
/// Bytes of the firmware that real mode sees.
const SHADOW: u64 = 0x2_0000;

/// The board.
pub(super) const MICROVM: Board = Board {
    name: "microvm",
    versions: &[],
    description: "microvm (i386)",
    max_cpus: 255,
    product: "microvm",
    firmware: Some("bios-microvm.bin"),
    graphics: false,
    controller: None,
    build,
};

fn build(stage: &mut Stage, config: &mut Config) -> Result<(), BuildError> {
    let below = config.ram.min(LOW);
    let above = config.ram - below;
    let ram = Stage::memory(config.ram)?;
    stage.map_ram(&ram, below);
    let rom = stage.map_firmware(&config.firmware)?;
    add_shadow(stage, &rom)?;
    stage.map_interrupts(true);
    let clock = || stage.core.clock.clone();
    let pit = Pit::new(clock(), stage.core.lines.line(wires::PIT));
    let mut rtc = Rtc::new(
        config.epoch,
        clock(),
        stage.core.lines.line(wires::RTC),
        stage.core.control.clone(),
    );
    cmos::fill(&mut rtc, below, above, config.cpus(), &config.boot_order);
    stage.at_ports(Box::new(pit), &[(0, 0x40, 4), (1, 0x61, 1)]);
    stage.at_ports(Box::new(rtc), &[(0, 0x70, 2)]);
    stage.add_serial(config);
    let slots = drives::add_slots(stage, config)?;
    let events = EventDevice::new(
        stage.core.lines.line(wires::GSI + EVENTS.2 as usize),
        stage.core.control.clone(),
    );
    let number = stage.core.add(Box::new(events));
    for (region, at, size) in [
        (0, EVENTS.0, ged::EVENTS_SIZE),
        (1, EVENTS.1, ged::REGISTERS_SIZE),
    ] {
        let backing = Backing::device(number, region);
        change(&stage.core.memory).map(u64::from(at), size, 1, backing);
    }
    if let Some(option) = config.devices.first() {
        let why = format!("GAP: '{}' on microvm is not there yet", option.driver);
        return Err(BuildError::Device(option.text.clone(), why));
    }
    stage.common_items(config, &memory_map::ram(below, above))?;
    let blobs = acpi::reduced_tables(&ReducedPlatform {
        cpus: config.cpus(),
        serial_ports: stage.serial_ports(),
        events: EVENTS,
        slots,
    });
    for (name, data) in [
        (acpi::TABLES, blobs.tables),
        (acpi::RSDP, blobs.rsdp),
        (acpi::LOADER, blobs.loader),
    ] {
        if !stage.items.file(name, data) {
            return Err(BuildError::Items);
        }
    }
    stage.add_fw_cfg();
    Ok(())
}

/// Real mode's view of the firmware, which keeps its variables in it.
fn add_shadow(stage: &mut Stage, rom: &Ram) -> Result<(), BuildError> {
    let shown = rom.size().min(SHADOW);
    let mut firmware = vec![0; usize::try_from(shown).unwrap_or(0)];
    rom.read(rom.size() - shown, &mut firmware)
        .map_err(|_| BuildError::Firmware)?;
    let ram = Stage::memory(shown)?;
    let backing = Backing::Ram {
        ram: ram.clone(),
        offset: 0,
    };
    change(&stage.core.memory).map(0x10_0000 - shown, shown, 1, backing);
    stage.core.add(Box::new(FirmwareShadow::new(ram, firmware)));
    Ok(())
}
