//! `microvm`: serial port, firmware configuration, interrupt controllers and slots of virtio devices, no PCI bus.
//!
//! GAP: no generic event device; a kernel boots by PVH or the firmware's option ROM, and has to be told of the slots
//! (`virtio_mmio.device=512@0xfeb00000:5`).

use dev_chipset::pit::Pit;
use dev_chipset::rtc::Rtc;
use dev_chipset::wires;
use firmware::memory_map;
use hw_core::memory::{Backing, change};

use super::{Board, Stage, cmos, drives};
use crate::config::{BuildError, Config};

/// RAM below 4 GiB at most.
const LOW: u64 = 0xc000_0000;

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
    // The last 128 KiB of the firmware are where real mode starts.
    let shown = rom.size().min(0x2_0000);
    let backing = Backing::Rom {
        offset: rom.size() - shown,
        ram: rom,
    };
    change(&stage.core.memory).map(0x10_0000 - shown, shown, 1, backing);
    stage.map_interrupts(true);
    let clock = || stage.core.clock.clone();
    let pit = Pit::new(clock(), stage.core.lines.line(wires::PIT));
    let mut rtc = Rtc::new(config.epoch, clock(), stage.core.lines.line(wires::RTC));
    cmos::fill(&mut rtc, below, above, config.cpus(), &config.boot_order);
    stage.at_ports(Box::new(pit), &[(0, 0x40, 4), (1, 0x61, 1)]);
    stage.at_ports(Box::new(rtc), &[(0, 0x70, 2)]);
    stage.add_serial(config);
    drives::add_slots(stage, config)?;
    if let Some(option) = config.devices.first() {
        let why = format!("GAP: '{}' on microvm is not there yet", option.driver);
        return Err(BuildError::Device(option.text.clone(), why));
    }
    stage.common_items(config, &memory_map::ram(below, above))?;
    stage.add_fw_cfg();
    Ok(())
}
