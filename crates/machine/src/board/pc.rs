//! `pc` (i440FX, PIIX3, PIIX4) and `q35` (MCH, ICH9).

use dev_chipset::dma::Dma8237;
use dev_chipset::hpet::Hpet;
use dev_chipset::i440fx::I440Fx;
use dev_chipset::i8042::{I8042, Wires};
use dev_chipset::ich9::{Ich9Lpc, Ich9Wiring};
use dev_chipset::piix::{Piix3, Piix4Pm, Piix4Wiring};
use dev_chipset::pit::Pit;
use dev_chipset::q35::Mch;
use dev_chipset::rtc::Rtc;
use dev_chipset::small::Port92;
use dev_chipset::vga::Vga;
use dev_chipset::{Pam, Rom, vtd, wires};
use firmware::acpi::{self, Iommu, Platform, South};
use firmware::{memory_map, smbios};
use guest_mem::Ram;
use hw_core::memory::{Backing, change};
use hw_core::pci::{self, devfn};

use super::{Board, Stage, cmos, drives};
use crate::config::{BuildError, Config};
use crate::core::PCI;
use crate::device;

/// Video memory of the standard adapter.
const VIDEO_MEMORY: u64 = 16 << 20;
/// Where PCI windows below 4 GiB end: I/O APIC, HPET and local APICs follow.
const HOLE_END: u64 = 0xfebf_ffff;

/// The i440FX board.
pub(super) const PC: Board = Board {
    name: "pc",
    versions: &[
        "pc-i440fx-10.0",
        "pc-i440fx-9.2",
        "pc-i440fx-9.1",
        "pc-i440fx-9.0",
        "pc-i440fx-8.2",
        "pc-i440fx-8.1",
        "pc-i440fx-8.0",
        "pc-i440fx-7.2",
        "pc-i440fx-7.1",
        "pc-i440fx-7.0",
        "pc-i440fx-6.2",
        "pc-i440fx-6.1",
        "pc-i440fx-6.0",
        "pc-i440fx-5.2",
        "pc-i440fx-5.1",
        "pc-i440fx-5.0",
        "pc-i440fx-4.2",
        "pc-i440fx-4.1",
        "pc-i440fx-4.0",
        "pc-i440fx-3.1",
        "pc-i440fx-3.0",
        "pc-i440fx-2.12",
        "pc-i440fx-2.11",
        "pc-i440fx-2.10",
        "pc-i440fx-2.9",
        "pc-i440fx-2.8",
        "pc-i440fx-2.7",
        "pc-i440fx-2.6",
        "pc-i440fx-2.5",
        "pc-i440fx-2.4",
    ],
    description: "Standard PC (i440FX + PIIX, 1996)",
    max_cpus: 255,
    product: "Standard PC (i440FX + PIIX, 1996)",
    firmware: Some("bios-256k.bin"),
    graphics: true,
    controller: Some(drives::PIIX),
    build: |stage, config| build(stage, config, South::Piix),
};

/// The Q35 board.
pub(super) const Q35: Board = Board {
    name: "q35",
    versions: &[
        "pc-q35-10.0",
        "pc-q35-9.2",
        "pc-q35-9.1",
        "pc-q35-9.0",
        "pc-q35-8.2",
        "pc-q35-8.1",
        "pc-q35-8.0",
        "pc-q35-7.2",
        "pc-q35-7.1",
        "pc-q35-7.0",
        "pc-q35-6.2",
        "pc-q35-6.1",
        "pc-q35-6.0",
        "pc-q35-5.2",
        "pc-q35-5.1",
        "pc-q35-5.0",
        "pc-q35-4.2",
        "pc-q35-4.1",
        "pc-q35-4.0.1",
        "pc-q35-4.0",
        "pc-q35-3.1",
        "pc-q35-3.0",
        "pc-q35-2.12",
        "pc-q35-2.11",
        "pc-q35-2.10",
        "pc-q35-2.9",
        "pc-q35-2.8",
        "pc-q35-2.7",
        "pc-q35-2.6",
        "pc-q35-2.5",
        "pc-q35-2.4",
    ],
    description: "Standard PC (Q35 + ICH9, 2009)",
    // GAP: the reference allows 4096; APIC ids here have eight bits.
    max_cpus: 255,
    product: "Standard PC (Q35 + ICH9, 2009)",
    firmware: Some("bios-256k.bin"),
    graphics: true,
    controller: Some(drives::ICH9),
    build: |stage, config| build(stage, config, South::Ich9),
};

/// RAM below 4 GiB.
pub fn below_4g(ram: u64, south: South) -> u64 {
    let (whole, split) = match south {
        South::Piix => (0xe000_0000, 0xc000_0000),
        South::Ich9 => (0xb000_0000, 0x8000_0000),
    };
    if ram >= whole { split } else { ram }
}

fn build(stage: &mut Stage, config: &mut Config, south: South) -> Result<(), BuildError> {
    let below = below_4g(config.ram, south);
    let above = config.ram - below;
    let ram = Stage::memory(config.ram)?;
    stage.map_ram(&ram, below);
    let rom = match drives::add_flash(stage, config)? {
        Some(first) => first,
        None => stage.map_firmware(&config.firmware)?,
    };
    stage.map_interrupts(true);
    add_bridges(stage, &ram, rom, south);
    add_legacy(stage, config, below, above);
    stage.add_serial(config);
    let hpet = config.hpet.then(|| {
        let routes = if south == South::Piix { 4 } else { 0xff_0104 };
        let hpet = Hpet::new(stage.core.clock.clone(), &stage.core.lines, routes);
        stage.core.legacy = Some(hpet.legacy());
        let number = stage.core.add(Box::new(hpet));
        change(&stage.core.memory).map(0xfed0_0000, 0x400, 1, Backing::device(number, 0));
    });
    if let Some(bios) = config.vga_bios.take() {
        let slot = if south == South::Piix { 2 } else { 1 };
        add_vga(stage, &bios, slot)?;
    }
    drives::add(stage, config, south)?;
    let devices = std::mem::take(&mut config.devices);
    let pvpanic = devices.iter().any(|device| device.driver == "pvpanic");
    for option in &devices {
        device::add(stage, option, south)
            .map_err(|why| BuildError::Device(option.text.clone(), why))?;
    }
    let ranges = memory_map::ram(below, above);
    stage.common_items(config, &ranges)?;
    let platform = Platform {
        south,
        cpus: config.cpus(),
        hpet: hpet.is_some(),
        pvpanic,
        serial_ports: stage.serial_ports(),
        hole: (hole_start(below, south), HOLE_END),
        high_hole: None,
        extra: std::mem::take(&mut config.acpi_tables),
        iommu: stage.iommu.map(|choices| Iommu {
            base: vtd::BASE,
            address_bits: choices.address_bits,
            interrupts: choices.interrupts,
        }),
        ecam: (south == South::Ich9).then_some((0xb000_0000, 256 << 20)),
    };
    add_tables(stage, config, &platform, (below, above))?;
    stage.add_fw_cfg();
    Ok(())
}

/// Where PCI windows begin: behind RAM, and on Q35 behind extended configuration space.
fn hole_start(below: u64, south: South) -> u64 {
    match south {
        South::Piix => below.max(0xc000_0000).max(below),
        South::Ich9 => 0xc000_0000,
    }
}

fn add_bridges(stage: &mut Stage, ram: &Ram, rom: Ram, south: South) {
    let nothing = Backing::device(PCI, pci::NOTHING);
    let memory = &stage.core.memory;
    let pam = Pam::new(memory, ram.clone(), Some(Rom { ram: rom }), nothing);
    let sci = stage.core.lines.line(wires::GSI + 9);
    let (clock, control) = (stage.core.clock.clone(), stage.core.control.clone());
    let router = stage.core.router.clone();
    match south {
        South::Piix => {
            let bridge = Box::new(I440Fx::new(pam));
            stage.core.pci.plug(devfn(0, 0), bridge);
            let isa = Piix3::new(&stage.place(devfn(1, 0)), router, control.clone());
            stage.core.pci.plug(devfn(1, 0), Box::new(isa));
            let wiring = Piix4Wiring {
                clock,
                sci,
                control,
                suspend: true,
                hibernate: true,
            };
            let pm = Piix4Pm::new(stage.place(devfn(1, 3)), wiring);
            stage.core.pci.plug(devfn(1, 3), Box::new(pm));
        }
        South::Ich9 => {
            let bridge = Mch::new(stage.place(devfn(0, 0)), pam);
            stage.core.pci.plug(devfn(0, 0), Box::new(bridge));
            let wiring = Ich9Wiring {
                clock,
                sci,
                control,
                router,
                // The reference sets the strap, too.
                no_reboot: true,
            };
            let lpc = Ich9Lpc::new(stage.place(devfn(31, 0)), wiring);
            stage.core.pci.plug(devfn(31, 0), Box::new(lpc));
            stage.core.apic_wires = Some(16);
        }
    }
}

fn add_legacy(stage: &mut Stage, config: &Config, below: u64, above: u64) {
    let clock = || stage.core.clock.clone();
    let line = |n| stage.core.lines.line(n);
    let pit = Pit::new(clock(), line(wires::PIT));
    let control = stage.core.control.clone();
    let mut rtc = Rtc::new(config.epoch, clock(), line(wires::RTC), control);
    if config.clock_catches_up {
        rtc = rtc.catching_up();
    }
    cmos::fill(&mut rtc, below, above, config.cpus(), &config.boot_order);
    let wires = Wires {
        keyboard: line(wires::GSI + 1),
        mouse: line(wires::GSI + 12),
        a20: line(wires::A20),
    };
    let control = stage.core.control.clone();
    let port92 = Port92::new(line(wires::A20), control.clone());
    let keyboard = I8042::new(wires, control);
    stage.at_ports(Box::new(pit), &[(0, 0x40, 4), (1, 0x61, 1)]);
    stage.at_ports(Box::new(rtc), &[(0, 0x70, 2)]);
    stage.at_ports(Box::new(keyboard), &[(0, 0x60, 1), (1, 0x64, 1)]);
    stage.at_ports(Box::new(port92), &[(0, 0x92, 1)]);
    let dma = Box::new(Dma8237::new());
    let number = stage.at_ports(dma, &[(0, 0x00, 16), (1, 0xc0, 32)]);
    // Page registers lie around port 0x92.
    let mut ports = change(&stage.core.ports);
    ports.map(0x80, 16, -1, Backing::device(number, 2));
}

fn add_vga(stage: &mut Stage, bios: &[u8], slot: u8) -> Result<(), BuildError> {
    let rom = if bios.is_empty() {
        None
    } else {
        let rom = Stage::memory(bios.len() as u64)?;
        rom.write(0, bios).map_err(|_| BuildError::Firmware)?;
        Some(rom)
    };
    let memory = Stage::memory(VIDEO_MEMORY)?;
    let at = devfn(slot, 0);
    let vga = Vga::new(&stage.place(at), memory, rom, stage.core.clock.clone());
    stage.core.pci.plug(at, Box::new(vga));
    Ok(())
}

fn add_tables(
    stage: &mut Stage,
    config: &Config,
    platform: &Platform,
    memory: (u64, u64),
) -> Result<(), BuildError> {
    let blobs = acpi::tables(platform);
    let (anchor, tables) = smbios::tables(&smbios::System {
        product: config.board.product,
        version: &config.machine_type,
        uuid: config.uuid.unwrap_or([0; 16]),
        has_uuid: config.uuid.is_some(),
        topology: config.topology,
        memory,
        given: &config.smbios,
        processor_id: config.processor_id,
    });
    let files = [
        (acpi::TABLES, blobs.tables),
        (acpi::RSDP, blobs.rsdp),
        (acpi::LOADER, blobs.loader),
        (smbios::ANCHOR, anchor),
        (smbios::TABLES, tables),
    ];
    for (name, data) in files {
        if !stage.items.file(name, data) {
            return Err(BuildError::Items);
        }
    }
    Ok(())
}
