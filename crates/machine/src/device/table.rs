//! The table of the devices that `-device` knows, and how they are put on a board.

use dev_chipset::edu::Edu;
use dev_chipset::small::{DebugExit, PvPanic};
use dev_chipset::test_devices::{PcTestDevice, PciTestDevice};
use dev_virtio::pci::{PciIdentity, VirtioPci};
use dev_virtio::{Model, net, rng};
use firmware::acpi::South;
use hw_core::pci::{Function, devfn};

use super::property::{INT32, Kind, Property, UINT8, UINT16, UINT32, UINT64};
use super::{Category, DeviceOption, DeviceType, address, iommu};
use crate::board::{Stage, virtio_wiring};

const fn plain(name: &'static str, kind: Kind, default: &'static str) -> Property {
    Property {
        name,
        kind,
        description: "",
        default,
    }
}

const fn told(
    name: &'static str,
    kind: Kind,
    description: &'static str,
    default: &'static str,
) -> Property {
    Property {
        name,
        kind,
        description,
        default,
    }
}

const PCI: &[Property] = &[told(
    "addr",
    Kind::Address,
    "Slot and optional function number, example: 06.0 or 06",
    "-1",
)];
const ERRORS: &str = "Error handling policy, report/ignore/enospc/stop/auto";
const DRIVE: &[Property] = &[
    plain("bootindex", INT32, ""),
    told(
        "drive",
        Kind::Text,
        "Node name or ID of a block device to use as a backend",
        "",
    ),
    plain("serial", Kind::Text, ""),
    told("rerror", Kind::OnError, ERRORS, "\"auto\""),
    told("werror", Kind::OnError, ERRORS, "\"auto\""),
];
const RINGS: &[Property] = &[
    told("event_idx", Kind::Bool, "on/off", "true"),
    told("indirect_desc", Kind::Bool, "on/off", "true"),
    told("packed", Kind::Bool, "on/off", "false"),
];
const VIRTIO_DISK: &[Property] = &[
    told("config-wce", Kind::Bool, "on/off", "true"),
    told("discard", Kind::Bool, "on/off", "true"),
    plain("num-queues", UINT16, "65535"),
    plain("queue-size", UINT16, "256"),
    told("write-zeroes", Kind::Bool, "on/off", "true"),
];
const IDE: &[Property] = &[plain("unit", UINT32, "4294967295")];
const CARD: &[Property] = &[
    told(
        "mac",
        Kind::Text,
        "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56",
        "",
    ),
    told(
        "netdev",
        Kind::Text,
        "ID of a netdev to use as a backend",
        "",
    ),
];
const RANDOMNESS: &[Property] = &[plain("rng", Kind::Link("link<rng-backend>"), "")];
const FRONT: &[Property] = &[told(
    "chardev",
    Kind::Text,
    "ID of a chardev to use as a backend",
    "",
)];
const SERIAL: &[Property] = &[plain("index", UINT32, "4294967295")];
const DEBUGCON: &[Property] = &[plain("iobase", UINT32, "233")];
const DEBUG_EXIT: &[Property] = &[
    plain("iobase", UINT32, "1281"),
    plain("iosize", UINT32, "2"),
];
const PANIC: &[Property] = &[plain("events", UINT8, "7"), plain("ioport", UINT16, "1285")];

const EDU: &[Property] = &[plain("dma_mask", UINT64, "268435455")];
const IOMMU: &[Property] = &[
    plain("aw-bits", UINT8, "48"),
    told("eim", Kind::OnOffAuto, "on/off/auto", "\"auto\""),
    told("intremap", Kind::OnOffAuto, "on/off/auto", "\"auto\""),
];

/// All of them, by name.
pub const DEVICES: &[DeviceType] = &[
    DeviceType {
        name: "edu",
        alias: "",
        category: Category::Misc,
        bus: "PCI",
        description: "",
        properties: &[EDU, PCI],
        add: Some(|stage, option, south| {
            let mask = option.number("dma_mask", (1 << 28) - 1)?;
            let at = slot(stage, option)?;
            let wiring = virtio_wiring(&stage.core, south, at >> 3);
            let edu = Edu::new(mask, &wiring.memory, wiring.line, &wiring.lines);
            stage.core.pci.plug(at, Box::new(edu));
            Ok(())
        }),
    },
    DeviceType {
        name: "intel-iommu",
        alias: "",
        category: Category::Misc,
        bus: "System",
        description: "Intel IOMMU (VT-d) DMA Remapping device",
        properties: &[IOMMU],
        add: Some(iommu::add),
    },
    DeviceType {
        name: "isa-debug-exit",
        alias: "",
        category: Category::Misc,
        bus: "ISA",
        description: "",
        properties: &[DEBUG_EXIT],
        add: Some(|stage, option, _| {
            let base = option.number("iobase", 0x501)?;
            let size = option.number("iosize", 2)?;
            let device = DebugExit::new(stage.core.control.clone());
            stage.at_ports(Box::new(device), &[(0, port(base)?, size.clamp(1, 8))]);
            Ok(())
        }),
    },
    DeviceType {
        name: "isa-debugcon",
        alias: "",
        category: Category::Misc,
        bus: "ISA",
        description: "",
        properties: &[FRONT, DEBUGCON],
        add: None,
    },
    DeviceType {
        name: "isa-serial",
        alias: "",
        category: Category::Input,
        bus: "ISA",
        description: "",
        properties: &[FRONT, SERIAL],
        add: None,
    },
    DeviceType {
        name: "ide-cd",
        alias: "",
        category: Category::Storage,
        bus: "IDE",
        description: "virtual IDE CD-ROM",
        properties: &[DRIVE, IDE],
        add: None,
    },
    DeviceType {
        name: "ide-hd",
        alias: "",
        category: Category::Storage,
        bus: "IDE",
        description: "virtual IDE disk",
        properties: &[DRIVE, IDE],
        add: None,
    },
    DeviceType {
        name: "pc-testdev",
        alias: "",
        category: Category::Misc,
        bus: "ISA",
        description: "",
        properties: &[],
        add: Some(|stage, _, _| {
            let core = &mut stage.core;
            let number = core.next_number();
            let device = PcTestDevice::new(number, &core.memory, &core.ports, &core.lines);
            core.add(Box::new(device));
            Ok(())
        }),
    },
    DeviceType {
        name: "pci-testdev",
        alias: "",
        category: Category::Misc,
        bus: "PCI",
        description: "PCI Test Device",
        properties: &[PCI],
        add: Some(|stage, option, _| plug(stage, option, Box::new(PciTestDevice::default()))),
    },
    DeviceType {
        name: "pvpanic",
        alias: "",
        category: Category::Misc,
        bus: "ISA",
        description: "",
        properties: &[PANIC],
        add: Some(|stage, option, _| {
            let base = option.number("ioport", 0x505)?;
            let events = option.number("events", 7)?;
            let events = u8::try_from(events).unwrap_or(u8::MAX);
            let device = PvPanic::new(events, stage.core.control.clone());
            stage.at_ports(Box::new(device), &[(0, port(base)?, 1)]);
            Ok(())
        }),
    },
    DeviceType {
        name: "virtio-blk-device",
        alias: "",
        category: Category::Storage,
        bus: "virtio-bus",
        description: "",
        properties: &[DRIVE, RINGS, VIRTIO_DISK],
        add: None,
    },
    DeviceType {
        name: "virtio-blk-pci",
        alias: "virtio-blk",
        category: Category::Storage,
        bus: "PCI",
        description: "",
        properties: &[PCI, DRIVE, RINGS, VIRTIO_DISK],
        add: None,
    },
    DeviceType {
        name: "virtio-net-pci",
        alias: "virtio-net",
        category: Category::Network,
        bus: "PCI",
        description: "",
        properties: &[PCI, CARD, RINGS],
        add: Some(|stage, option, south| {
            let model = card(stage, option)?;
            add_virtio(stage, option, south, ("virtio-net-pci", net::PCI), model)
        }),
    },
    DeviceType {
        name: "virtio-rng-pci",
        alias: "virtio-rng",
        category: Category::Misc,
        bus: "PCI",
        description: "",
        properties: &[PCI, RANDOMNESS, RINGS],
        add: Some(|stage, option, south| {
            let model = Box::new(rng::Rng::new(stage.wake()));
            add_virtio(stage, option, south, ("virtio-rng-pci", rng::PCI), model)
        }),
    },
];

/// A random number device or a network card in a slot of the bus.
fn add_virtio(
    stage: &mut Stage,
    option: &DeviceOption,
    south: South,
    (name, who): (&'static str, PciIdentity),
    model: Box<dyn Model>,
) -> Result<(), String> {
    let at = slot(stage, option)?;
    let wiring = virtio_wiring(&stage.core, south, at >> 3);
    let function = VirtioPci::new(name, who, model, wiring).with_rings(option.rings());
    stage.core.pci.plug(at, Box::new(function));
    Ok(())
}

/// The card that a `-device` asks for, on the network that it names.
fn card(stage: &mut Stage, option: &DeviceOption) -> Result<Box<dyn Model>, String> {
    let Some(id) = option.properties.get("netdev") else {
        // GAP: a card without a network, as the reference has it.
        return Err("netdev property not set".to_owned());
    };
    let make = stage.networks.remove(id).ok_or_else(|| {
        format!(
            "Property '{}.netdev' can't find value '{id}'",
            option.driver
        )
    })?;
    let mut mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    mac[5] = u8::wrapping_add(mac[5], stage.cards);
    stage.cards = stage.cards.wrapping_add(1);
    if let Some(text) = option.properties.get("mac") {
        mac = ethernet_address(text)?;
    }
    let network = make(stage.wake()).map_err(|error| format!("netdev {id}: {error}"))?;
    Ok(Box::new(net::Net::new(network, mac)))
}

/// Six bytes, hexadecimal, with colons or dashes.
fn ethernet_address(text: &str) -> Result<[u8; 6], String> {
    let mut mac = [0; 6];
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let bytes: Option<Vec<u8>> = parts
        .iter()
        .map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    match bytes {
        Some(bytes) if bytes.len() == mac.len() => mac.copy_from_slice(&bytes),
        _ => return Err("invalid syntax for ethernet address".to_owned()),
    }
    if mac[0] & 1 != 0 {
        return Err("NIC cannot have multicast MAC address".to_owned());
    }
    Ok(mac)
}

fn port(number: u64) -> Result<u16, String> {
    u16::try_from(number).map_err(|_| format!("port 0x{number:x} does not exist"))
}

/// Puts a function into the slot of `addr`, or the next free one.
fn plug(
    stage: &mut Stage,
    option: &DeviceOption,
    function: Box<dyn Function>,
) -> Result<(), String> {
    let at = slot(stage, option)?;
    stage.core.pci.plug(at, function);
    Ok(())
}

fn slot(stage: &mut Stage, option: &DeviceOption) -> Result<u8, String> {
    let at = match option.properties.get("addr") {
        None => stage.core.pci.free_device(3).map(|device| devfn(device, 0)),
        Some(text) => address(text),
    };
    let at = at.ok_or("PCI: no slot/function available")?;
    if stage.core.pci.function(at).is_some() {
        return Err(format!(
            "PCI: slot {} function {} not available",
            at >> 3,
            at & 7
        ));
    }
    Ok(at)
}
