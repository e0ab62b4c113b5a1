//! The devices `-device` knows: a list.

use std::collections::BTreeMap;

use dev_chipset::small::{DebugExit, PvPanic};
use dev_chipset::test_devices::{PcTestDevice, PciTestDevice};
use dev_virtio::pci::{PciIdentity, VirtioPci};
use dev_virtio::{Model, net, rng};
use firmware::acpi::South;
use hw_core::pci::{Function, devfn};

use crate::board::{Stage, virtio_wiring};

/// A `-device` option, split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceOption {
    /// The whole text, for messages.
    pub text: String,
    /// Which device.
    pub driver: String,
    /// The properties.
    pub properties: BTreeMap<String, String>,
}

/// A kind of device.
pub struct DeviceType {
    /// The name `-device` has for it.
    pub name: &'static str,
    /// The bus it is on.
    pub bus: &'static str,
    /// What the help says.
    pub description: &'static str,
    /// Properties, beside `id`, `bus` and `addr`.
    pub properties: &'static [&'static str],
    add: fn(&mut Stage, &DeviceOption, South) -> Result<(), String>,
}

/// All of them, by name.
pub const DEVICES: &[DeviceType] = &[
    DeviceType {
        name: "isa-debug-exit",
        bus: "ISA",
        description: "",
        properties: &["iobase", "iosize"],
        add: |stage, option, _| {
            let base = option.number("iobase", 0x501)?;
            let size = option.number("iosize", 2)?;
            let device = DebugExit::new(stage.core.control.clone());
            stage.at_ports(Box::new(device), &[(0, port(base)?, size.clamp(1, 8))]);
            Ok(())
        },
    },
    DeviceType {
        name: "pc-testdev",
        bus: "ISA",
        description: "",
        properties: &[],
        add: |stage, _, _| {
            let core = &mut stage.core;
            let number = core.next_number();
            let device = PcTestDevice::new(number, &core.memory, &core.ports, &core.lines);
            core.add(Box::new(device));
            Ok(())
        },
    },
    DeviceType {
        name: "pci-testdev",
        bus: "PCI",
        description: "PCI Test Device",
        properties: &[],
        add: |stage, option, _| plug(stage, option, Box::new(PciTestDevice::default())),
    },
    DeviceType {
        name: "pvpanic",
        bus: "ISA",
        description: "",
        properties: &["ioport", "events"],
        add: |stage, option, _| {
            let base = option.number("ioport", 0x505)?;
            let events = option.number("events", 7)?;
            let events = u8::try_from(events).map_err(|_| option.wrong("events"))?;
            let device = PvPanic::new(events, stage.core.control.clone());
            stage.at_ports(Box::new(device), &[(0, port(base)?, 1)]);
            Ok(())
        },
    },
    DeviceType {
        name: "virtio-rng-pci",
        bus: "PCI",
        description: "",
        properties: &[],
        add: |stage, option, south| {
            let model = Box::new(rng::Rng::new(stage.wake()));
            add_virtio(stage, option, south, ("virtio-rng-pci", rng::PCI), model)
        },
    },
    DeviceType {
        name: "virtio-net-pci",
        bus: "PCI",
        description: "",
        properties: &["netdev", "mac"],
        add: |stage, option, south| {
            let model = card(stage, option)?;
            add_virtio(stage, option, south, ("virtio-net-pci", net::PCI), model)
        },
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
    let function = VirtioPci::new(name, who, model, wiring);
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

impl DeviceOption {
    fn wrong(&self, property: &str) -> String {
        format!("Parameter '{property}' expects a number in its range")
    }

    /// A property that is a number, decimal or hexadecimal.
    fn number(&self, property: &str, default: u64) -> Result<u64, String> {
        let Some(text) = self.properties.get(property) else {
            return Ok(default);
        };
        let number = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        number.map_err(|_| format!("Parameter '{property}' expects a uint64 value"))
    }
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

/// `slot` or `slot.function`, hexadecimal.
fn address(text: &str) -> Option<u8> {
    let (slot, function) = text.split_once('.').unwrap_or((text, "0"));
    let parse = |part: &str| u8::from_str_radix(part.trim_start_matches("0x"), 16).ok();
    let (slot, function) = (parse(slot)?, parse(function)?);
    (slot < 32 && function < 8).then(|| devfn(slot, function))
}

/// A device type by its name.
pub fn find(name: &str) -> Option<&'static DeviceType> {
    DEVICES.iter().find(|device| device.name == name)
}

/// Adds a device to a machine that is being built.
pub(crate) fn add(stage: &mut Stage, option: &DeviceOption, south: South) -> Result<(), String> {
    let kind = find(&option.driver)
        .ok_or_else(|| format!("'{}' is not a valid device model name", option.driver))?;
    for property in option.properties.keys() {
        let everyone = matches!(property.as_str(), "id" | "bus" | "addr");
        if !everyone && !kind.properties.contains(&property.as_str()) {
            return Err(format!("Property '{}.{property}' not found", kind.name));
        }
    }
    (kind.add)(stage, option, south)
}
