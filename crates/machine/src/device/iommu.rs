//! The I/O memory management unit, on the board that has a place for it.

use dev_chipset::vtd::{self, Vtd};
use firmware::acpi::South;
use hw_core::memory::{Backing, change};

use super::DeviceOption;
use crate::board::Stage;

/// Adds it.
pub(super) fn add(stage: &mut Stage, option: &DeviceOption, south: South) -> Result<(), String> {
    if south != South::Ich9 {
        let text = "Parameter 'driver' expects a dynamic sysbus device type for the machine";
        return Err(text.to_owned());
    }
    if option.properties.get("eim").is_some_and(|eim| eim == "on") {
        // GAP: destinations of 32 bits.
        return Err("eim=on is not supported yet".to_owned());
    }
    let address_bits = match option.number("aw-bits", 48)? {
        39 => 39,
        48 => 48,
        _ => return Err("Supported values for aw-bits are: 39, 48".to_owned()),
    };
    let interrupts = option.properties.get("intremap").map(String::as_str);
    let choices = vtd::Choices {
        interrupts: interrupts != Some("off"),
        address_bits,
    };
    let core = &mut stage.core;
    let unit = Vtd::new(choices, &core.memory, &core.lines);
    if choices.interrupts {
        core.interrupts.set_remap(Box::new(unit.clone()));
    }
    let number = core.add(Box::new(unit));
    change(&core.memory).map(vtd::BASE, vtd::SIZE, 1, Backing::device(number, 0));
    stage.iommu = Some(choices);
    Ok(())
}
