//! Kernels, firmware, boot order.

use std::path::Path;

use qapi::{Error, Result};

use super::values::{pairs, switch};
use super::{Action, OptionEntry};
use crate::files;
use crate::plan::{OptionRom, Plan};

pub(super) const OPTIONS: &[OptionEntry] = &[
    OptionEntry {
        name: "kernel",
        argument: "bzImage",
        help: "use 'bzImage' as kernel image",
        action: Action::Value(|plan, value| {
            plan.kernel = Some(value.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "append",
        argument: "cmdline",
        help: "use 'cmdline' as kernel command line",
        action: Action::Value(|plan, value| {
            plan.append = Some(value.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "initrd",
        argument: "file",
        help: "use 'file' as initial ram disk",
        action: Action::Value(|plan, value| {
            plan.initrd = Some(value.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "bios",
        argument: "file",
        help: "set the filename for the BIOS",
        action: Action::Value(|plan, value| {
            plan.bios = Some(value.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "L",
        argument: "path",
        help: "set the directory for the BIOS and VGA BIOS",
        action: Action::Value(|plan, value| {
            plan.firmware_dirs.push(value.into());
            Ok(())
        }),
    },
    OptionEntry {
        name: "boot",
        argument: "[order=drives][,menu=on|off][,strict=on|off]",
        help: "'drives': floppy (a), hard disk (c), CD-ROM (d), network (n)",
        action: Action::Value(boot),
    },
    OptionEntry {
        name: "fw_cfg",
        argument: "[name=]<name>,file=<file> or string=<string>",
        help: "add named fw_cfg entry",
        action: Action::Value(fw_cfg),
    },
    OptionEntry {
        name: "option-rom",
        argument: "[file=]rom[,bootindex=n]",
        help: "load a file, rom, into the option ROM space",
        action: Action::Value(option_rom),
    },
    OptionEntry {
        name: "acpitable",
        argument: "[sig=str][,rev=n][,oem_id=str][,oem_table_id=str][,oem_rev=n][,asl_compiler_id=str][,asl_compiler_rev=n][,{data|file}=file1[:file2]...]",
        help: "ACPI table description",
        action: Action::Value(super::acpitable::acpitable),
    },
    OptionEntry {
        name: "smbios",
        argument: "file=binary | type=0|1|2|3|4|8|11|17|41[,field=value][,...]",
        help: "load an SMBIOS structure from a file, or describe one",
        action: Action::Value(super::smbios::smbios),
    },
];

fn boot(plan: &mut Plan, value: &str) -> Result<()> {
    for (key, value) in pairs(value, "order") {
        match key.as_str() {
            "order" => {
                if let Some(wrong) = value.chars().find(|letter| !letter.is_ascii_lowercase()) {
                    return Err(Error::new(format!("Invalid boot device '{wrong}'")));
                }
                plan.boot_order = value;
            }
            "menu" => plan.boot_menu = switch("menu", &value)?,
            "strict" => plan.boot_strict = switch("strict", &value)?,
            "once" | "splash" | "splash-time" | "reboot-timeout" => {
                let text = format!("'{key}' is not supported yet");
                return Err(Error::new(text));
            }
            _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
    }
    Ok(())
}

fn option_rom(plan: &mut Plan, value: &str) -> Result<()> {
    let mut rom = OptionRom::default();
    for (key, value) in pairs(value, "romfile") {
        match key.as_str() {
            "romfile" | "file" => rom.file = value,
            "bootindex" => {
                rom.boot_index = Some(super::values::number("bootindex", &value)?);
            }
            _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
    }
    if rom.file.is_empty() {
        return Err(Error::new("Option ROM file is not specified"));
    }
    plan.option_roms.push(rom);
    Ok(())
}

fn fw_cfg(plan: &mut Plan, value: &str) -> Result<()> {
    let (mut name, mut content) = (None, None);
    for (key, value) in pairs(value, "name") {
        match key.as_str() {
            "name" => name = Some(value),
            "string" => content = Some(value.into_bytes()),
            "file" => {
                let bytes = files::content(Path::new(&value), files::MOST)
                    .map_err(|error| Error::from_io(format!("can't load {value}"), &error))?;
                content = Some(bytes);
            }
            _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
    }
    let (Some(name), Some(content)) = (name, content) else {
        return Err(Error::new("invalid argument(s)"));
    };
    if !name.starts_with("opt/") {
        qapi::warn(&format!(
            "externally provided fw_cfg item names should be prefixed with \"opt/\": {name}"
        ));
    }
    plan.fw_cfg.push((name, content));
    Ok(())
}
