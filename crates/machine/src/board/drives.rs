//! Drives: those of the IDE or AHCI controller, and virtio disks.

use backend_core::disk::Disk;
use dev_chipset::wires;
use dev_storage::ahci::{self, Ahci};
use dev_storage::flash::{self, Flash};
use dev_storage::ide::{Drive, DriveOptions, FIXED_PORTS, PiixIde};
use dev_virtio::RingOptions;
use dev_virtio::blk::{self, Blk, BlkOptions};
use dev_virtio::mmio::{self, VirtioMmio};
use dev_virtio::pci::{VirtioPci, Wiring};
use firmware::acpi::{South, wire};
use guest_mem::Ram;
use hw_core::memory::{Backing, change};
use hw_core::pci::devfn;

use super::Stage;
use super::stage::{FIRMWARE_END, MOST_FIRMWARE};
use crate::config::{BuildError, Config, DriveConfig, DrivePlace};
use crate::core::Core;

/// Where the IDE controller is.
const IDE: u8 = devfn(1, 1);
/// Where the AHCI controller is: device and function.
const AHCI: (u8, u8) = (31, 2);
/// First slot that takes what comes.
const FIRST_FREE: u8 = 3;
/// Slots of virtio devices on microvm: place of the first, how many, interrupt of the first.
const SLOTS: (u32, u8, u32) = (0xfeb0_0000, 8, 16);
const SLOT_SIZE: u32 = 0x200;

/// Where a board's own drives hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Controller {
    /// Its channels or ports.
    pub buses: usize,
    /// Drives of each.
    pub units: usize,
    /// The firmware's name for it.
    path: &'static str,
}

/// PIIX3's.
pub(super) const PIIX: Controller = Controller {
    buses: 2,
    units: 2,
    path: "/pci@i0cf8/ide@1,1",
};

/// ICH9's.
pub(super) const ICH9: Controller = Controller {
    buses: ahci::PORTS,
    units: 1,
    path: "/pci@i0cf8/pci8086,2922@1f,2",
};

/// Attaches the drives to a board with a PCI bus.
pub(super) fn add(stage: &mut Stage, config: &mut Config, south: South) -> Result<(), BuildError> {
    let controller = match south {
        South::Piix => PIIX,
        South::Ich9 => ICH9,
    };
    let mut places: Vec<Option<Drive>> = Vec::new();
    places.resize_with(controller.buses * controller.units, || None);
    let cpus = config.cpus();
    for (n, drive) in std::mem::take(&mut config.drives).into_iter().enumerate() {
        match drive.place {
            DrivePlace::Ide(bus, unit) => {
                let index = (unit < controller.units).then_some(bus * controller.units + unit);
                let slot = index.and_then(|index| places.get_mut(index));
                let slot = slot.filter(|slot| slot.is_none()).ok_or_else(|| {
                    BuildError::Drive(format!("IDE unit {bus}.{unit} is in use, or there is none"))
                })?;
                if let Some(index) = drive.boot_index {
                    let path = format!("{}/drive@{bus}/disk@{unit}", controller.path);
                    stage.boot_paths.push((index, path));
                }
                *slot = Some(ide_drive(stage, drive, n)?);
            }
            DrivePlace::Virtio => add_virtio(stage, drive, south, cpus)?,
        }
    }
    let mut places = places.into_iter();
    let mut next = || places.next().flatten();
    match south {
        South::Piix => add_ide(stage, [[next(), next()], [next(), next()]]),
        South::Ich9 => add_ahci(stage, std::array::from_fn(|_| next())),
    }
    Ok(())
}

/// Attaches flash below 4 GiB; gives what the first holds.
pub(super) fn add_flash(stage: &mut Stage, config: &mut Config) -> Result<Option<Ram>, BuildError> {
    let mut first = None;
    let mut end = FIRMWARE_END;
    for flash in std::mem::take(&mut config.flash) {
        let size = flash.content.len() as u64;
        let room = end - (FIRMWARE_END - MOST_FIRMWARE as u64);
        if size == 0 || !size.is_multiple_of(flash::BLOCK) || size > room {
            return Err(BuildError::Flash);
        }
        let ram = Stage::memory(size)?;
        ram.write(0, &flash.content)
            .map_err(|_| BuildError::Flash)?;
        end -= size;
        first.get_or_insert_with(|| ram.clone());
        let disk = flash.medium.map(|make| make(stage.wake()));
        let number = stage.core.next_number();
        let device = Flash::new(ram, end, number, &stage.core.memory, disk);
        stage.core.add(Box::new(device));
    }
    Ok(first)
}

/// Opens what a drive holds.
fn medium(stage: &Stage, drive: &mut DriveConfig) -> Option<Box<dyn Disk>> {
    drive.medium.take().map(|make| make(stage.wake()))
}

fn needed(stage: &Stage, drive: &mut DriveConfig) -> Result<Box<dyn Disk>, BuildError> {
    medium(stage, drive)
        .ok_or_else(|| BuildError::Drive("Device needs media, but drive is empty".to_owned()))
}

fn ide_drive(stage: &Stage, mut drive: DriveConfig, n: usize) -> Result<Drive, BuildError> {
    let serial = match drive.serial.as_str() {
        "" => format!("QM{:05}", n + 1),
        given => given.to_owned(),
    };
    let options = |model: &str| DriveOptions {
        serial,
        model: model.to_owned(),
        version: "2.5+".to_owned(),
    };
    if drive.cd {
        return Ok(Drive::cd(
            medium(stage, &mut drive),
            options("QEMU DVD-ROM"),
        ));
    }
    let disk = needed(stage, &mut drive)?;
    Ok(Drive::disk(disk, options("QEMU HARDDISK")))
}

fn add_ide(stage: &mut Stage, drives: [[Option<Drive>; 2]; 2]) {
    let lines = [14, 15].map(|n| stage.core.lines.line(wires::GSI + n));
    let ide = PiixIde::new(drives, lines, &stage.core.memory);
    stage.core.pci.plug(IDE, Box::new(ide));
    let place = stage.place(IDE);
    let mut ports = change(&stage.core.ports);
    for (window, first, count) in FIXED_PORTS {
        ports.map(first, count, 0, place.backing(window));
    }
}

fn add_ahci(stage: &mut Stage, drives: [Option<Drive>; ahci::PORTS]) {
    let (device, function) = AHCI;
    let lines = &stage.core.lines;
    let line = lines.line(wires::PIRQ + usize::from(wire(South::Ich9, device, 0)));
    let controller = Ahci::new(drives, line, lines, &stage.core.memory);
    let at = devfn(device, function);
    stage.core.pci.plug(at, Box::new(controller));
}

fn options(drive: &DriveConfig, queues: u32) -> BlkOptions {
    let virtio = &drive.virtio;
    let usual = u16::try_from(queues.clamp(1, 64)).unwrap_or(1);
    BlkOptions {
        queues: virtio.queues.unwrap_or(usual),
        queue_size: virtio.queue_size,
        serial: drive.serial.clone(),
        discard: virtio.discard,
        write_zeroes: virtio.write_zeroes,
        config_wce: virtio.config_wce,
        ..BlkOptions::default()
    }
}

/// What the bus gives a virtio device in a slot.
pub(crate) fn virtio_wiring(core: &Core, south: South, slot: u8) -> Wiring {
    let line = wires::PIRQ + usize::from(wire(south, slot, 0));
    Wiring {
        line: core.lines.line(line),
        lines: core.lines.clone(),
        memory: core.memory.clone(),
    }
}

fn add_virtio(
    stage: &mut Stage,
    mut drive: DriveConfig,
    south: South,
    cpus: u32,
) -> Result<(), BuildError> {
    let options = options(&drive, cpus);
    let disk = needed(stage, &mut drive)?;
    let core = &mut stage.core;
    let free = core.pci.free_device(FIRST_FREE);
    let at = match (drive.virtio.address, free) {
        (Some(at), _) if core.pci.function(at).is_some() => {
            let (slot, function) = (at >> 3, at & 7);
            let why = format!("PCI: slot {slot} function {function} not available");
            return Err(BuildError::Drive(why));
        }
        (Some(at), _) => at,
        (None, Some(slot)) => devfn(slot, 0),
        (None, None) => {
            let why = "PCI: no slot/function available";
            return Err(BuildError::Drive(why.to_owned()));
        }
    };
    let slot = at >> 3;
    if let Some(index) = drive.boot_index {
        let function = match at & 7 {
            0 => String::new(),
            function => format!(",{function:x}"),
        };
        let path = format!("/pci@i0cf8/scsi@{slot:x}{function}/disk@0,0");
        stage.boot_paths.push((index, path));
    }
    let wiring = virtio_wiring(core, south, slot);
    let model = Box::new(Blk::new(disk, options));
    let function = VirtioPci::new("virtio-blk-pci", blk::PCI, model, wiring);
    let function = function.with_rings(drive.virtio.rings);
    core.pci.plug(at, Box::new(function));
    Ok(())
}

/// Attaches the drives to slots of memory registers; gives the slots in use: number, address, interrupt.
pub(super) fn add_slots(
    stage: &mut Stage,
    config: &mut Config,
) -> Result<Vec<(u8, u32, u32)>, BuildError> {
    let (first, count, gsi) = SLOTS;
    let legacy = config.legacy_mmio;
    let drives = std::mem::take(&mut config.drives);
    if drives.len() > usize::from(count) {
        return Err(BuildError::Drive(format!("microvm has {count} slots")));
    }
    let mut drives = drives.into_iter();
    let mut used = Vec::new();
    for n in 0..count {
        let at = first + u32::from(n) * SLOT_SIZE;
        let irq = gsi + u32::from(n);
        let mut rings = RingOptions::default();
        let model = match drives.next() {
            None => None,
            Some(drive) if drive.place != DrivePlace::Virtio => {
                let why = "microvm takes virtio drives only";
                return Err(BuildError::Drive(why.to_owned()));
            }
            Some(mut drive) => {
                let options = options(&drive, 1);
                rings = drive.virtio.rings;
                let disk = needed(stage, &mut drive)?;
                used.push((n, at, irq));
                Some(Box::new(Blk::new(disk, options)) as Box<dyn dev_virtio::Model>)
            }
        };
        let line = stage.core.lines.line(wires::GSI + irq as usize);
        let slot = VirtioMmio::new(model, line, &stage.core.memory).with_rings(rings);
        let slot = if legacy { slot.for_legacy() } else { slot };
        let number = stage.core.add(Box::new(slot));
        change(&stage.core.memory).map(u64::from(at), mmio::SIZE, 1, Backing::device(number, 0));
    }
    Ok(used)
}
