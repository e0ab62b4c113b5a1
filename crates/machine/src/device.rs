//! The devices `-device` knows: what they are called and take, and what the help says of them.

mod disk;
mod iommu;
mod property;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use dev_virtio::RingOptions;
use firmware::acpi::South;
use hw_core::pci::devfn;

use crate::board::Stage;
pub use disk::DiskOptions;
pub use property::{Kind, Property};
pub use table::DEVICES;

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

/// What a device is for, in the order of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Disks.
    Storage,
    /// Network cards.
    Network,
    /// Ports that somebody types at.
    Input,
    /// All else.
    Misc,
}

impl Category {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Storage, "Storage"),
        (Self::Network, "Network"),
        (Self::Input, "Input"),
        (Self::Misc, "Misc"),
    ];
}

/// Puts a device on a board that is being built.
type Add = fn(&mut Stage, &DeviceOption, South) -> Result<(), String>;

/// A kind of device.
pub struct DeviceType {
    /// The name `-device` has for it.
    pub name: &'static str,
    /// Another one; may be empty.
    pub alias: &'static str,
    /// Where the help lists it.
    pub category: Category,
    /// The bus it is on.
    pub bus: &'static str,
    /// What the help says; may be empty.
    pub description: &'static str,
    /// Properties, beside `id` and `bus`.
    pub properties: &'static [&'static [Property]],
    /// How it is added; drives and fronts of character devices are part of the board's configuration instead.
    add: Option<Add>,
}

impl DeviceType {
    /// Whether the board adds it by the option alone.
    pub fn stands_alone(&self) -> bool {
        self.add.is_some()
    }

    /// The line of `-device help`.
    fn line(&self) -> String {
        let mut line = format!("name \"{}\", bus {}", self.name, self.bus);
        for (word, text) in [("alias", self.alias), ("desc", self.description)] {
            if !text.is_empty() {
                line.push_str(&format!(", {word} \"{text}\""));
            }
        }
        line.push('\n');
        line
    }

    /// What `-device NAME,help` prints.
    pub fn help(&self) -> String {
        property::help(self.name, self.properties)
    }
}

/// What `-device help` prints.
pub fn help() -> String {
    let of = |(category, title): (Category, &str)| {
        let mut rows: Vec<&DeviceType> = DEVICES.iter().collect();
        rows.retain(|device| device.category == category);
        rows.sort_by_key(|device| device.name.to_ascii_lowercase());
        let lines: String = rows.into_iter().map(DeviceType::line).collect();
        format!("{title} devices:\n{lines}")
    };
    Category::ALL.map(of).join("\n")
}

impl DeviceOption {
    /// A property that is on or off; it was checked before.
    fn switch(&self, name: &str, default: bool) -> bool {
        let text = self.properties.get(name);
        text.and_then(|text| property::switch(text))
            .unwrap_or(default)
    }

    /// How a virtio device's rings are made.
    fn rings(&self) -> RingOptions {
        let usual = RingOptions::default();
        RingOptions {
            packed: self.switch("packed", usual.packed),
            event_idx: self.switch("event_idx", usual.event_idx),
            indirect_desc: self.switch("indirect_desc", usual.indirect_desc),
        }
    }

    /// A property that is a number; it was checked before.
    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        let Some(text) = self.properties.get(name) else {
            return Ok(default);
        };
        let number = property::number(text).and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| format!("Parameter '{name}' expects integer"))
    }
}

/// `slot` or `slot.function`, hexadecimal.
fn address(text: &str) -> Option<u8> {
    let (slot, function) = text.split_once('.').unwrap_or((text, "0"));
    let parse = |part: &str| u8::from_str_radix(part.trim_start_matches("0x"), 16).ok();
    let (slot, function) = (parse(slot)?, parse(function)?);
    (slot < 32 && function < 8).then(|| devfn(slot, function))
}

/// A device type by its name or its other name.
pub fn find(name: &str) -> Option<&'static DeviceType> {
    let named = |device: &&DeviceType| device.name == name || device.alias == name;
    DEVICES.iter().filter(|_| !name.is_empty()).find(named)
}

/// Whether a device is one that there is, and takes what is given.
///
/// # Errors
/// The reference's words for what is wrong first.
pub fn check(option: &DeviceOption) -> Result<&'static DeviceType, String> {
    let kind = find(&option.driver)
        .ok_or_else(|| format!("'{}' is not a valid device model name", option.driver))?;
    property::check(option, kind.properties)?;
    Ok(kind)
}

/// Adds a device to a machine that is being built.
pub(crate) fn add(stage: &mut Stage, option: &DeviceOption, south: South) -> Result<(), String> {
    match check(option)?.add {
        Some(add) => add(stage, option, south),
        None => Err(format!("'{}' needs a backend", option.driver)),
    }
}
