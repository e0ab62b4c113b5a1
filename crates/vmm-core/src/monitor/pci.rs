//! PCI functions as the monitors show them.

use hw_core::pci::{Bar, Config};
use monitor_core::Command;
use qapi::record::{Choice, Record};

use super::{Nothing, Vm, ask};

#[derive(Debug, Record)]
struct PciDeviceClass {
    desc: Option<String>,
    class: i64,
}

#[derive(Debug, Record)]
struct PciDeviceId {
    device: i64,
    vendor: i64,
    subsystem: Option<i64>,
    subsystem_vendor: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum RegionType {
    Io,
    Memory,
}

#[derive(Debug, Record)]
struct PciMemoryRegion {
    bar: i64,
    #[qapi(name = "type")]
    kind: RegionType,
    address: i64,
    size: i64,
    prefetch: Option<bool>,
    #[qapi(name = "mem_type_64")]
    wide: Option<bool>,
}

#[derive(Debug, Record)]
struct PciDeviceInfo {
    bus: i64,
    slot: i64,
    function: i64,
    #[qapi(name = "class_info")]
    class_info: PciDeviceClass,
    id: PciDeviceId,
    irq: Option<i64>,
    #[qapi(name = "irq_pin")]
    irq_pin: i64,
    #[qapi(name = "qdev_id")]
    qdev_id: String,
    regions: Vec<PciMemoryRegion>,
}

#[derive(Debug, Record)]
struct PciInfo {
    bus: i64,
    devices: Vec<PciDeviceInfo>,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[ask!(
    "query-pci", Nothing => Vec<PciInfo>, |vm: &Vm, _| Ok(buses(vm))
)];

/// Classes by their number, in the words of the reference.
const CLASSES: &[(u16, &str)] = &[
    (0x0001, "VGA controller"),
    (0x0100, "SCSI controller"),
    (0x0101, "IDE controller"),
    (0x0102, "Floppy controller"),
    (0x0103, "IPI controller"),
    (0x0104, "RAID controller"),
    (0x0106, "SATA controller"),
    (0x0107, "SAS controller"),
    (0x0108, "NVMe controller"),
    (0x0180, "Storage controller"),
    (0x0200, "Ethernet controller"),
    (0x0201, "Token Ring controller"),
    (0x0202, "FDDI controller"),
    (0x0203, "ATM controller"),
    (0x0280, "Network controller"),
    (0x0300, "VGA controller"),
    (0x0301, "XGA controller"),
    (0x0302, "3D controller"),
    (0x0380, "Display controller"),
    (0x0400, "Video controller"),
    (0x0401, "Audio controller"),
    (0x0402, "Phone"),
    (0x0403, "Audio controller"),
    (0x0480, "Multimedia controller"),
    (0x0500, "RAM controller"),
    (0x0501, "Flash controller"),
    (0x0580, "Memory controller"),
    (0x0600, "Host bridge"),
    (0x0601, "ISA bridge"),
    (0x0602, "EISA bridge"),
    (0x0603, "MC bridge"),
    (0x0604, "PCI bridge"),
    (0x0605, "PCMCIA bridge"),
    (0x0606, "NUBUS bridge"),
    (0x0607, "CARDBUS bridge"),
    (0x0608, "RACEWAY bridge"),
    (0x0680, "Bridge"),
    (0x0700, "Serial port"),
    (0x0701, "Parallel port"),
    (0x0800, "Interrupt controller"),
    (0x0801, "DMA controller"),
    (0x0802, "Timer"),
    (0x0803, "RTC"),
    (0x0900, "Keyboard"),
    (0x0901, "Pen"),
    (0x0902, "Mouse"),
    (0x0a00, "Dock station"),
    (0x0b00, "i386 cpu"),
    (0x0c00, "Firewire controller"),
    (0x0c01, "Access bus controller"),
    (0x0c02, "SSA controller"),
    (0x0c03, "USB controller"),
    (0x0c04, "Fibre channel controller"),
    (0x0c05, "SMBus"),
];

/// First register of a window.
const BARS: usize = 0x10;
/// The number that stands for the expansion ROM.
const ROM: usize = 6;

fn number(config: &Config, offset: usize, bytes: usize) -> i64 {
    i64::try_from(config.read(offset, bytes)).unwrap_or(0)
}

fn class_words(class: i64) -> Option<&'static str> {
    let found = CLASSES.iter().find(|(known, _)| i64::from(*known) == class);
    found.map(|(_, words)| *words)
}

fn region(config: &Config, n: usize) -> Option<PciMemoryRegion> {
    if n == ROM {
        let size = config.rom_size();
        return (size > 0).then(|| PciMemoryRegion {
            bar: 6,
            kind: RegionType::Memory,
            address: place(config.rom_address()),
            size: i64::try_from(size).unwrap_or(0),
            prefetch: Some(false),
            wide: Some(false),
        });
    }
    let bar = config.bar(n)?;
    let io = bar.is_io();
    let flags = config.read(BARS + n * 4, 4);
    Some(PciMemoryRegion {
        bar: i64::try_from(n).unwrap_or(0),
        kind: if io {
            RegionType::Io
        } else {
            RegionType::Memory
        },
        address: place(config.bar_address(n)),
        size: i64::try_from(bar.size()).unwrap_or(0),
        prefetch: (!io).then_some(flags & 8 != 0),
        wide: (!io).then_some(matches!(bar, Bar::Memory64(_))),
    })
}

/// An address, or -1 for none.
fn place(address: Option<u64>) -> i64 {
    address.map_or(-1, u64::cast_signed)
}

fn regions(config: &Config) -> Vec<PciMemoryRegion> {
    (0..=ROM).filter_map(|n| region(config, n)).collect()
}

fn function(devfn: u8, config: &Config, id: String) -> PciDeviceInfo {
    let class = number(config, 0x0a, 2);
    let pin = number(config, 0x3d, 1);
    PciDeviceInfo {
        bus: 0,
        slot: i64::from(devfn >> 3),
        function: i64::from(devfn & 7),
        class_info: PciDeviceClass {
            desc: class_words(class).map(str::to_owned),
            class,
        },
        id: PciDeviceId {
            device: number(config, 2, 2),
            vendor: number(config, 0, 2),
            subsystem: Some(number(config, 0x2e, 2)),
            subsystem_vendor: Some(number(config, 0x2c, 2)),
        },
        irq: (pin != 0).then(|| number(config, 0x3c, 1)),
        irq_pin: pin,
        qdev_id: id,
        regions: regions(config),
    }
}

/// Whether a function is a virtio disk, the only kind that options name one by one.
// GAP: the ids of other devices.
fn is_disk(config: &Config) -> bool {
    matches!(config.read(0, 4), 0x1001_1af4 | 0x1042_1af4)
}

fn buses(vm: &Vm) -> Vec<PciInfo> {
    // Disks take slots in the order in which they are made.
    let mut ids = vm.plan.virtio_ids().into_iter();
    let devices: Vec<_> = vm.machine.with(|core| {
        let all = core.pci.functions();
        all.map(|(devfn, _, config)| {
            let id = is_disk(config).then(|| ids.next()).flatten();
            function(devfn, config, id.unwrap_or_default())
        })
        .collect()
    });
    if devices.is_empty() {
        return Vec::new();
    }
    vec![PciInfo { bus: 0, devices }]
}

/// What `info pci` prints.
pub(super) fn shown(vm: &Vm) -> String {
    let buses = buses(vm);
    if buses.is_empty() {
        return "PCI not supported\n".to_owned();
    }
    let devices = buses.iter().flat_map(|bus| &bus.devices);
    devices.map(device_text).collect()
}

fn device_text(device: &PciDeviceInfo) -> String {
    let mut text = format!(
        "  Bus {:2}, device {:3}, function {}:\n",
        device.bus, device.slot, device.function
    );
    let class = match &device.class_info.desc {
        Some(words) => words.clone(),
        None => format!("Class {:04}", device.class_info.class),
    };
    text.push_str(&format!(
        "    {class}: PCI device {:04x}:{:04x}\n",
        device.id.vendor, device.id.device
    ));
    if let (Some(vendor), Some(subsystem)) = (device.id.subsystem_vendor, device.id.subsystem)
        && vendor != 0
    {
        let line = format!("      PCI subsystem {vendor:04x}:{subsystem:04x}\n");
        text.push_str(&line);
    }
    if let Some(irq) = device.irq {
        let pin = u32::try_from(device.irq_pin - 1).unwrap_or(0);
        let pin = char::from_u32(u32::from(b'A').saturating_add(pin)).unwrap_or('?');
        text.push_str(&format!("      IRQ {irq}, pin {pin}\n"));
    }
    device
        .regions
        .iter()
        .for_each(|region| text.push_str(&region_text(region)));
    text.push_str(&format!("      id \"{}\"\n", device.qdev_id));
    text
}

fn region_text(region: &PciMemoryRegion) -> String {
    let what = match region.kind {
        RegionType::Io => "I/O".to_owned(),
        RegionType::Memory => {
            let bits = if region.wide == Some(true) { 64 } else { 32 };
            let prefetch = if region.prefetch == Some(true) {
                " prefetchable"
            } else {
                ""
            };
            format!("{bits} bit{prefetch} memory")
        }
    };
    let end = region.address.wrapping_add(region.size).wrapping_sub(1);
    match (region.address, region.kind) {
        (-1, _) => format!("      BAR{}: {what} (not mapped)\n", region.bar),
        (at, RegionType::Io) => {
            format!(
                "      BAR{}: {what} at 0x{at:04x} [0x{end:04x}]\n",
                region.bar
            )
        }
        (at, RegionType::Memory) => {
            format!(
                "      BAR{}: {what} at 0x{at:08x} [0x{end:08x}]\n",
                region.bar
            )
        }
    }
}
